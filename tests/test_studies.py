"""Every study in miniature: the commands of its README, with the small numbers of its `tiny.yaml`."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from manual import BLOCK
from small_cells import skip_without_cvodes
from tiny_job import ROOT, client, environment, metrics_of, runs
from tiny_study import of_commands, set_constants

pytestmark = pytest.mark.study
STUDIES = sorted(readme.parent.name for readme in (ROOT / "experiments").glob("*/README.md"))
COPIED = ("train.py", "evaluate.py", "benchmarks", "experiments")


def blocks_of(name):
    """The commands of a study, as they stand in its README; those for a GPU are left out."""
    text = (ROOT / "experiments" / name / "README.md").read_text(encoding="utf-8")
    blocks = [found[3] for found in BLOCK.finditer(text) if not found[2] and not found[3].startswith("# on a GPU\n")]
    return "".join(blocks).replace("\\\n", " ")


def commands_of(name):
    """The words of each command that starts a program, without `python`; variables of the shell stay."""
    commands = [shlex.split(line, comments=True) for line in blocks_of(name).splitlines()]
    return [words[1:] for words in commands if words[0] == "python"]


def do(name, tree):
    """Does a study in a copy of its programs, and returns what it prints."""
    for each in COPIED:
        copy = shutil.copytree if (ROOT / each).is_dir() else shutil.copy
        copy(ROOT / each, tree / each)
    file = tree / "experiments" / name / "tiny.yaml"
    tiny = yaml.safe_load(file.read_text(encoding="utf-8"))
    for script, values in tiny.items():
        if isinstance(values, dict):
            set_constants(tree / script, values)
    for words in of_commands(tiny):
        assert all(word in blocks_of(name) for word in words), f"{file}: no command has {' '.join(words)}"
    python = tree / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/tiny_study.py {file} "$@"\n')
    python.chmod(0o755)
    env = environment() | {"PATH": f"{python.parent}:{os.environ['PATH']}"}
    asked = [sys.executable, "experiments/study.py", name]
    done = subprocess.run(asked, cwd=tree, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("name", STUDIES)
def test_in_miniature(tmp_path, name):
    if name == "solver":
        skip_without_cvodes()
    out = do(name, tmp_path)
    evaluations = [*tmp_path.glob("evaluations/*/*")]
    assert len(evaluations) == sum(command[0] == "evaluate.py" for command in commands_of(name))
    for folder in evaluations:
        assert (folder / "report.html").exists()
        # Beside the published LSTM there is no other, and beside others none was wanted.
        assert not [metric for metric in metrics_of(folder) if metric.startswith("published_lstm/")]
    for command in commands_of(name):
        for folder in (word.partition("=")[2] for word in command if word.startswith("hydra.run.dir=")):
            assert np.isfinite([*metrics_of(tmp_path / folder).values()]).all()
            assert (tmp_path / folder / "figures" / "test.png").exists()
    CHECKS[name](tmp_path, out)


def check_ap_start(tree, out):
    for sweep, count in (("offsets", 10), ("every_ms", 3)):
        assert sorted(path.parent.name for path in tree.glob(f"runs/ap_start/{sweep}/*/best.ckpt")) == [
            str(number) for number in range(count)
        ]


def check_data_volume(tree, out):
    rows = [line.strip("| ").split(" | ") for line in out.splitlines() if re.match(r"\| \d", line)]
    assert [(row[0], row[1]) for row in rows] == [("48", "2"), ("64", "2")]
    assert all(float(number) > 0 for row in rows for cell in row[2:] for number in cell.split(", "))
    assert (tree / "learning_curve.png").exists()


def check_emulators(tree, out):
    folder = tree / "runs" / "emulators"
    table = pd.read_csv(folder / "networks" / "networks.csv")
    assert sorted(table["network"]) == ["coordinate", "decoder", "lstm", "registered"]
    assert np.isfinite(table["windows, median (mV)"]).all()
    assert (folder / "networks" / "networks.png").exists()
    assert len(pd.read_parquet(folder / "active" / "design.parquet")) == 48
    for printed in ("cycle length", "first answer of a new process", "otherwise at 100 s"):
        assert printed in out


def check_epoch_sweep(tree, out):
    """What the study found: one run gives the errors of a run for each number of epochs."""
    (one,) = [run for run in runs(tree) if "milestone/rmse_mV_mean" in run.data.metrics and not is_child(run)]
    children = {run.data.params["trainer.max_epochs"]: run.data.metrics for run in runs(tree) if is_child(run)}
    assert children.keys() == {"1", "2"}
    history = client(tree).get_metric_history(one.info.run_id, "milestone/rmse_mV_mean")
    assert {str(metric.step): metric.value for metric in history} == {
        epochs: metrics["test/rmse_mV_mean"] for epochs, metrics in children.items()
    }
    assert [*tree.glob("runs/sweeps/*/errors.png")]


def is_child(run):
    return "mlflow.parentRunId" in run.data.tags


def check_published(tree, out):
    """What the study found: dead weights change nothing."""
    hold, drop = (metrics_of(tree / "runs" / "published" / name) for name in ("hold", "drop"))
    assert hold == pytest.approx(drop, rel=1e-5)
    assert {"Keras", "hold", "drop"} <= set(re.findall(r"\w+", out))


def check_published_biomarkers(tree, out):
    """Our own rows of the README are printed again."""
    readme = (ROOT / "experiments" / "published_biomarkers" / "README.md").read_text(encoding="utf-8")
    own = re.findall(r"^\| \d\. (ours, from [^|]+?) \| (.*) \|$", readme, re.MULTILINE)
    assert len(own) == 3
    for name, row in own:
        (printed,) = re.findall(rf"^{name} +(\d.*)$", out, re.MULTILINE)
        assert numbers_in(printed) == pytest.approx(numbers_in(row), abs=0.02)


def numbers_in(text):
    return [float(number) for number in re.findall(r"-?\d+\.\d+", text)]


def check_published_literal(tree, out):
    (folder,) = tree.glob("runs/*/*")
    assert np.isfinite([*metrics_of(folder).values()]).all()
    assert (folder / "figures" / "test.png").exists()


def check_quickstart(tree, out):
    normalised, bare = (metrics_of(tree / "runs" / "quickstart" / name) for name in ("normalised", "bare"))
    assert normalised["test/rmse_floor_mV"] == bare["test/rmse_floor_mV"]
    assert normalised["test/rmse_mV_mean"] != bare["test/rmse_mV_mean"]


def check_solver(tree, out):
    ratios = re.findall(r"^ratio: (\S+) with one thread, (\S+) with", out, re.MULTILINE)
    assert len(ratios) == 3  # models
    assert all(float(ratio) > 0 for pair in ratios for ratio in pair)
    assert len(re.findall(r"^\| 1e-\d+ \|", out, re.MULTILINE)) == 6  # tolerances


CHECKS = {name: globals()[f"check_{name}"] for name in STUDIES}


def test_a_study_that_is_none():
    asked = [sys.executable, "experiments/study.py", "seeds"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"NAME: got 'seeds'; allowed: {', '.join(STUDIES)}\n"
