"""Every command and snippet of README and manual, done as it stands there."""

import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from manual import PAGES, blocks, commands, snippets
from mlflow_server import Server
from omegaconf import OmegaConf
from test_served_model import HEADERS, PATH, serve
from tiny_job import JOBS, ROOT, STEADY, TINY, run_inside

import cardioemu.models
from cardioemu import UserError, load_emulator
from cardioemu.config.build import build
from cardioemu.config.compose import compose_config, validate_command_line
from cardioemu.jobs.train import train
from cardioemu.settings.train import TrainSettings

pytestmark = pytest.mark.xdist_group("manual")  # one workshop for all

CHANGES = ROOT / "CHANGELOG.md"
# What is no program of ours.
OTHERS = ("mlflow models serve", "mlflow server", "curl", "python -c", "source", "cardioemu ui", "cardioemu --help")
MODEL = """
[[model]]
membrane.V = -80
[engine]
time = 0 [ms] in [ms] bind time
pace = 0 bind pace
[membrane]
dot(V) = -(ikr.IKr + ina.INa + 10 [mV/ms] * engine.pace)
    in [mV]
    label membrane_potential
[extra]
K_o = 5.4
[ikr]
g_Kr = 0.1 [1/ms]
    in [1/ms]
    label g_Kr
gKr = g_Kr
    in [1/ms]
IKr = g_Kr * (membrane.V + 85 [mV]) * sqrt(extra.K_o / 5.4)
    in [mV/ms]
[ina]
gNa = 0.01 [1/ms]
    in [1/ms]
INa = gNa * (membrane.V - 60 [mV])
    in [mV/ms]
"""
SMALL = ("experiment=steady", *STEADY, "trainer.max_epochs=2", "model.members=2", "tracking.register=hipsc")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A folder where all that the pages name lies under the name that they give it, and an emulator from there."""
    here = tmp_path_factory.mktemp("workshop")
    run_inside(*SMALL, cwd=here)
    (run,) = here.glob("runs/*/*")
    for name in ("DATE/TIME", "A", "B"):
        shutil.copytree(run, here / "runs" / name)
    (traces,), windows = (here / "data" / "traces").iterdir(), [*(here / "data" / "windows").iterdir()]
    (traces.parent / "NAME-KEY").symlink_to(traces)
    (windows[0].parent / "KEY").symlink_to(windows[0])
    for name in ("my_model.mmt", "my.mmt", "ohara-2011.mmt"):
        (here / name).write_text(MODEL)
    return SimpleNamespace(folder=here, emulator=load_emulator(run / "best.ckpt"))


def ours():
    """Command lines of our own programs, without what starts them: `cardioemu JOB` is `python JOB.py`."""
    for name, words in commands():
        words = words[words[0] == "srun" :]
        if words[0] == "cardioemu" and words[1] in JOBS:
            words = ["python", f"{words[1]}.py", *words[2:]]
        if words[0] == "python" and words[1] != "-c" and not name.startswith("docs/write-an-emulator.md"):
            yield pytest.param(words[1], words[2:], id=f"{name} {words[1]}")


@contextmanager
def without_gpu():
    """Lets pass the one sentence that a command for a GPU ends with where there is none."""
    try:
        yield
    except UserError as error:
        if torch.cuda.is_available() or not re.fullmatch(r"\S+: got 'gpu'; no CUDA device is visible; .*", str(error)):
            raise


@pytest.mark.parametrize(("program", "arguments"), ours())
def test_commands_of_ours(workshop, monkeypatch, program, arguments):
    """All but the work itself: settings are composed, checked and built as before the work of any job."""
    monkeypatch.chdir(workshop.folder)
    script = ROOT / program
    assert script.is_file()
    if script.parent == ROOT and "--cfg" not in arguments:
        overrides = [argument for argument in arguments if argument != "-m"]
        with without_gpu():
            jobs = validate_command_line(script.stem, overrides, "-m" in arguments, JOBS[script.stem])
            assert (len(jobs) > 1) == ("-m" in arguments)
            for job in jobs:
                assert isinstance(job.settings, JOBS[script.stem])
                assert_taken(overrides, job.config)


def assert_taken(overrides, config):
    """Single values, of groups or swept ones apart, are in the config."""
    for address, _, value in (override.partition("=") for override in overrides):
        found = None if address.startswith("hydra") else OmegaConf.select(config, address)
        if isinstance(found, str | float | int) and not re.search(r"[][,{]", value):
            assert found == yaml.safe_load(value)


def test_other_commands():
    lines = [" ".join(words) for _, words in commands() if words[0] not in ("srun", "make")]
    ours = rf"python (?!-c)|cardioemu ({'|'.join(JOBS)})( |$)"
    assert [line for line in lines if not re.match(ours, line) and not line.startswith(OTHERS)] == []


def beginning(*start):
    """The words of the one command that begins so."""
    (found,) = [words for _, words in commands() if words[: len(start)] == list(start)]
    return found


def test_serving(tmp_path):
    """As `test_served_model.py` does it, and what is done with the answer."""
    assert beginning("mlflow", "models") == serve("hipsc", 5001)
    _, _, url, _, header, _, body, *_ = beginning("curl")
    assert url == f"http://127.0.0.1:5001{PATH}"
    assert [tuple(header.split(": "))] == [*HEADERS.items()]
    (scales,) = json.loads(body).values()
    answer = {"predictions": np.zeros((len(scales), 7)).tolist()}
    (tmp_path / "answer.json").write_text(json.dumps(answer))
    reading = [sys.executable, *beginning("python", "-c")[1:]]
    assert subprocess.check_output(reading, cwd=tmp_path, text=True) == f"({len(scales)}, 7)\n"


def test_a_server_of_a_team(tmp_path):
    """As the tests on one start it."""
    there = options(beginning("mlflow", "server"))
    here = options(Server("postgresql+psycopg2://USER@HOST/DATABASE", tmp_path).command[2:])
    assert there.keys() <= here.keys()
    for name in ("--backend-store-uri", "--host"):
        assert there[name] == here[name]


def options(words):
    assert words[:2] == ["mlflow", "server"]
    return dict(zip(words[2::2], words[3::2], strict=True))


def test_make():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    asked = {word for _, words in commands() if words[0] == "make" for word in words[1:] if "=" not in word}
    assert {"train", "test", "test-all", "ui"} <= asked <= set(targets)


@pytest.mark.parametrize("block", [b for b in snippets() if b.page.stem != "write-an-emulator"], ids=lambda b: b.name)
def test_snippets(workshop, monkeypatch, block):
    monkeypatch.chdir(workshop.folder)
    exec(compile(block.text, block.name, "exec"), {"emulator": workshop.emulator, "scales": [[1, 1, 1, 1, 1]]})


@pytest.mark.manual
def test_the_emulator_of_the_manual(tmp_path, monkeypatch):
    """The page as its reader would: the class, its config, the training, the loading."""
    page = {block.language: block.text for block in blocks() if block.page.stem == "write-an-emulator"}
    space = {"__name__": "cardioemu.models.polynomial"}
    exec(compile(page["python"], "polynomial.py", "exec"), space)
    monkeypatch.setattr(cardioemu.models, "Polynomial", space["Polynomial"], raising=False)
    monkeypatch.setitem(cardioemu.models.NETWORKS, "Polynomial", space["Polynomial"])
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "polynomial.yaml").write_text(page["yaml"])
    (words,) = [words for name, words in commands() if name.startswith("docs/write-an-emulator.md")]
    monkeypatch.chdir(tmp_path)
    tiny = [setting for setting in TINY if not setting.startswith("model.")]
    own_folder = f"hydra.searchpath=[file://{tmp_path}/conf]"
    config, _ = compose_config("train", [own_folder, *words[2:], *tiny, "trainer.max_epochs=2"])
    train(build(config, TrainSettings), config, tmp_path / "run")
    emulator = load_emulator(tmp_path / "run" / "best.ckpt")
    # A quadratic function has the same second difference everywhere along a line.
    along = np.linspace(0.2, 1.8, 9)[:, None] * np.ones(5)
    second = np.diff(emulator.predict(along).voltage_mV, 2, axis=0)
    np.testing.assert_allclose(second, np.broadcast_to(second[:1], second.shape), atol=2e-3)
    assert np.abs(second).max() > 0.01


def test_links():
    """Those within the repository; the manual's own anchors are looked at as it is built."""
    pages = (*PAGES, *ROOT.glob("experiments/*/README.md"), CHANGES)
    found = {page: re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")) for page in pages}
    links = [(page, link) for page, of_page in found.items() for link in of_page]
    within = [(page, link.partition("#")[0]) for page, link in links if not re.match(r"https://|#", link)]
    assert len(within) > 50
    assert [(page, path) for page, path in within if not (page.parent / path).exists()] == []


@pytest.mark.manual
def test_the_manual_is_built_without_a_warning(tmp_path):
    line = re.search(r"sphinx-build (.*) docs/_build$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    command = [sys.executable, "-m", "sphinx", *line.split(), str(tmp_path / "html")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert "load_emulator" in (tmp_path / "html" / "docs" / "api.html").read_text()
