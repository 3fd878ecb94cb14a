"""What cannot work is refused before anything runs, wherever it would have come to light."""

import inspect
import re
import subprocess
from typing import get_type_hints

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError
from small_campaign import run
from small_cells import small_cell
from tiny_job import JOBS, TINY, run_inside

from cardioemu import UserError
from cardioemu.config.build import build
from cardioemu.config.compose import compose_config, validate_command_line
from cardioemu.jobs.train import train
from cardioemu.models import LSTMNetwork
from cardioemu.settings.train import TrainSettings
from cardioemu.simulation import Executor, Pacing, design, load_cell, simulate
from cardioemu.simulation.campaigns import campaign_folder
from cardioemu.simulation.solvers.rodas import compiler
from cardioemu.tracking import job_key, provenance
from cardioemu.training import SOAP, KerasRMSprop

DDP = ["trainer.devices=2", "trainer.strategy=ddp"]
WITH_PASSWORD = "tracking.uri: got an address with a user or a password in it"
TRAIN = [
    (["schedule=step", "schedule.step_size=0"], "schedule: torch refuses these settings ("),
    (["schedule=cosine", "schedule.T_max=0"], "schedule: torch refuses these settings ("),
    (["schedule=plateau", "schedule.factor=1.5"], "schedule: torch refuses these settings ("),
    (["schedule=constant", "schedule.factor=2"], "schedule: torch refuses these settings ("),
    (["trainer.devices=2"], "trainer.strategy: got single for 2 processes"),
    (
        ["experiment=active", *DDP],
        "active.rounds: got 1, but active learning runs in one process, not in 2 (trainer.devices times",
    ),
    (["experiment=steady", "trainer.max_epochs=5"], "trainer.max_epochs: got 5; allowed are multiples of trainer.val"),
    (
        ["experiment=steady", "windowing.start=upstroke"],
        "windowing: got align=interpolated and start=upstroke, but a registered cycle begins at an interpolated AP",
    ),
    (["model=registered", "windowing.align=none"], "windowing: got align=none and start=threshold, but a registered"),
    (["active.rounds=1"], "model: active learning needs an ensemble that predicts which cells fire; "),
    (["experiment=active", "model.members=1"], "model: active learning needs an ensemble that predicts which"),
    (["seed=4294967296"], "seed: got 4294967296; it must be less than 4294967296"),
    (["smoothing=true", "milestones=[200]"], "milestones: got [200] with smoothing=true, but only a finished run"),
    (["+model=mlp"], "config: "),
    (["model._target_=cardioemu.models"], "model._target_: got 'cardioemu.models', which is no class and no function"),
    (["tracking.database=postgresql://me:hidden@host/db"], "tracking.database: got an address; allowed is"),
    (["tracking=server", "tracking.uri=''"], "tracking.uri: got ''; allowed is http://HOST:PORT"),
    (["tracking=server", "tracking.uri=localhost:5000"], "tracking.uri: got 'localhost:5000'; allowed is http://HOST"),
    (["tracking=server", "tracking.uri='http://me:hidden@example.org'"], WITH_PASSWORD),
    (["tracking=server", "tracking.uri='ftp://me:hidden@example.org'"], WITH_PASSWORD),
    (["tracking=server", "tracking.uri='http://hidden@:5000'"], WITH_PASSWORD),
]
TUNE = [
    (DDP, "trainer.devices: a search trains each run in one process; set trainer.devices=1 and trainer.nodes=1"),
    (["dry_run=true"], "dry_run: a search has none; "),
    (["resume=somewhere"], "resume: leave it out; the same command resumes a search"),
]
REFUSED = [("train", *each) for each in TRAIN]
REFUSED += [("tune", ["sweep=lstm", "trials=2", *arguments], sentence) for arguments, sentence in TUNE]


@pytest.mark.parametrize(("program", "arguments", "sentence"), REFUSED)
def test_settings(program, arguments, sentence):
    with pytest.raises(UserError) as error:
        validate_command_line(program, arguments, False, JOBS[program])
    assert str(error.value).startswith(sentence)
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize(
    ("script", "arguments", "sentence"),
    [
        ("evaluate.py", [], "checkpoint: got null; set checkpoint=RUN_FOLDER/best.ckpt or compare=[A,B]"),
        ("train.py", ["simulator.duration_ms=1000"], "simulator.duration_ms: got 1000, but a window of 500 ms after "
         "windowing.settle_ms=1000 needs at least 1449.95; increase it, or shorten the windows"),
        ("train.py", ["resume=nowhere"], "resume: got nowhere, which is not a run folder (it has no config.yaml)"),
        ("train.py", ["resume="], "resume: got nothing, which is not a run folder (it has no config.yaml)"),
        ("train.py", ["-m", "resume=nowhere"], "resume: a sweep cannot be resumed; resume its runs one "
         "by one, or repeat the sweep's command"),
        ("train.py", ["experiment=active", "active.max_epochs=3", "trainer.validate_every=2"], "active.max_epochs: got "
         "3; allowed are multiples of trainer.validate_every=2, so that the last epoch is validated"),
        ("train.py", ["-m", "model.hidden=4,8", *DDP], "trainer.devices: a sweep trains each run in one process; set "
         "trainer.devices=1 and trainer.nodes=1, or leave out -m"),
        ("evaluate.py", ["checkpoint=no.ckpt"], "checkpoint: there is no file no.ckpt; give the best.ckpt or last.ckpt "
         "of a run folder"),
        ("tune.py", ["-m", "seed=1,2"], "tune: a search takes no -m; describe what it varies by sweep=NAME, a file "
         "in conf/sweep/"),
        ("simulate.py", ["solver.rtol=1"], "solver.rtol: got 1; it must be less than or equal to 0.1"),
    ],
)  # fmt: skip
def test_mistakes_of_every_program(script, arguments, sentence, tmp_path):
    result = run_inside(*arguments, cwd=tmp_path, check=False, script=script)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", sentence + "\n")
    assert not list(tmp_path.iterdir())


OUTSIDE = {
    LSTMNetwork: {"samples": [0], "inputs": [0], "hidden": [0]},
    KerasRMSprop: {"lr": [0.0], "rho": [1.0, -0.1], "epsilon": [0.0]},
    SOAP: {"lr": [0.0], "beta1": [1.0], "beta2": [-0.1], "every": [0], "warmup": [-1]},
}


@pytest.mark.parametrize("owner", OUTSIDE)
def test_annotations_of_a_constructor_are_the_schema(owner):
    hints = get_type_hints(owner.__init__, include_extras=True)
    for name, values in OUTSIDE[owner].items():
        schema, default = TypeAdapter(hints[name]), inspect.signature(owner).parameters[name].default
        assert default is inspect.Parameter.empty or schema.validate_python(default) == default
        for value in values:
            with pytest.raises(ValidationError):
                schema.validate_python(value)


def test_a_config_that_is_only_shown(tmp_path):
    shown = run_inside("--cfg", "job", "model=typo", cwd=tmp_path, check=False)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert re.fullmatch(r"config: .*model/typo.*\n", shown.stderr)


def test_pacing_without_a_period_in_a_mapping(tmp_path):
    cell = small_cell(tmp_path, {"V": 0}, {"V": "pace - V"}, "pace = 0 bind pace")
    with pytest.raises(UserError, match=r"^protocol: the Pacing of 'pace' has no period_ms; set it"):
        simulate(cell, [], 100.0, protocol={"pace": Pacing()})


def test_a_compiler_that_is_none(monkeypatch):
    monkeypatch.setenv("CC", "false --any")
    with pytest.raises(UserError, match=r"^solver: 'rodas' got the C compiler \S+false --any, which fails; set CC to"):
        compiler.load("int answer(void) { return 45; }")


def test_a_temporary_folder_without_room(monkeypatch, tmp_path):
    monkeypatch.setattr(compiler.tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(UserError, match=rf"^solver: 'rodas' cannot be compiled in {tmp_path}/gone \(No such file"):
        compiler.load("int answer(void) { return 46; }")


def test_more_threads_than_there_can_be():
    (trace,) = simulate(load_cell("akwaboah2021"), [1.0] * 5, 10.0, threads=10**9)
    assert trace.status == "ok"


def test_traces_that_may_not_be_read(monkeypatch, tmp_path):
    def forbidden(*_):
        raise PermissionError(13, "Permission denied", str(tmp_path / "traces"))

    monkeypatch.setattr(campaign_folder, "check_foreign_files", forbidden)
    with pytest.raises(UserError, match=rf"^data_dir: {tmp_path}/traces cannot be read \(Permission denied\); "):
        run(load_cell("akwaboah2021"), tmp_path / "traces", np.ones((1, 5)))


def test_a_scheduler_that_wants_certificates(tmp_path):
    executor = Executor(executor="dask", cluster="tls://127.0.0.1:9")
    with pytest.raises(UserError, match=r"^campaign.cluster: there is no Dask scheduler at tls://127.0.0.1:9"):
        run(load_cell("akwaboah2021"), tmp_path / "traces", np.ones((1, 5)), executor=executor)


def test_a_table_whose_names_are_not_utf_8(tmp_path):
    path = tmp_path / "design.csv"
    path.write_bytes("INa,concentration (µM)\n1,2\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"^design.path: \S+ cannot be read as csv"):
        design("file", path=path, scaled=("INa",))


def test_a_diff_that_is_not_utf_8(monkeypatch, tmp_path):
    def git(*words):
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)

    path = tmp_path / "file.txt"
    path.write_text("a\n")
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "a")):
        git(*words)
    path.write_bytes(b"caf\xe9\n")
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    assert "+caf\N{REPLACEMENT CHARACTER}" in provenance._git("diff", "HEAD")


def test_a_design_that_changes_below_a_run(monkeypatch, tmp_path):
    """Neither is its result taken for that of the new one, nor does the old training go on with other cells."""
    table = pd.DataFrame(design("sobol", n=24), columns=load_cell("akwaboah2021").scaled)
    table.to_csv(tmp_path / "cells.csv", index=False)
    monkeypatch.chdir(tmp_path)
    own = ["design=file", "design.path=cells.csv", *(o for o in TINY if not o.startswith("design"))]
    config, _ = compose_config("train", [*own, "trainer.max_epochs=1"])
    keys = [job_key({}, scales=table.to_numpy())]
    train(build(config, TrainSettings), config, tmp_path / "run")
    table.iloc[0, 0] += 0.01
    table.to_csv(tmp_path / "cells.csv", index=False)
    keys.append(job_key({}, scales=table.to_numpy()))
    assert len(set(keys)) == 2
    with pytest.raises(UserError, match=r"^resume: \S+/run was trained on other windows; its design"):
        train(build(config, TrainSettings), config, tmp_path / "run")
