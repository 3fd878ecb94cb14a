"""Searches: trials by several workers, killed and taken up again, given up, failed; and the study beneath them."""

import re
import shlex
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from optuna.storages.journal import JournalFileSymlinkLock
from optuna.trial import TrialState
from pydantic import ValidationError
from tiny_job import TINY, client, command, run_cli, run_inside, runs, share_data

from cardioemu.common.errors import TrialPruned, UserError
from cardioemu.runtime.machine import process_identity
from cardioemu.sweeps.search import Dimension, Search, report_epoch, trial_overrides

SPACE = {
    "lr": Dimension(low=1e-4, high=1e-2, log=True),
    "n": Dimension(low=2, high=9),
    "kind": Dimension(choices=["a", "b"]),
}


def search(folder, seed=0):
    return Search(folder, SPACE, seed=seed, warmup_epochs=2)


def test_one_process_tries_the_same_whether_it_is_interrupted_or_not(tmp_path):
    tried, count = [], 14  # of which the sampler draws ten, and chooses the others by them
    for name, interruptions in (("straight", ()), ("interrupted", (3, 12))):
        (tmp_path / name).mkdir()
        study, found = search(tmp_path / name), []
        for number in range(count):
            if number in interruptions:
                study = search(tmp_path / name)
            trial, values = study.next_trial(count)
            found.append(values)
            with study.record_trial(trial) as result:
                result["val/rmse_mV"] = values["lr"]
        assert study.next_trial(count) is None
        assert study.best().value == min(values["lr"] for values in found)
        tried.append(found)
    assert tried[0] == tried[1]
    assert len({tuple(values.values()) for values in tried[0]}) == count
    assert all(1e-4 <= v["lr"] <= 1e-2 and v["n"] in range(2, 10) and v["kind"] in "ab" for v in tried[0])


def test_what_a_dead_process_left_is_taken_up(tmp_path):
    study = search(tmp_path)
    trial, values = study.next_trial(2)
    assert study.next_trial(2)[0].number == 1  # another one: the first has a living owner
    assert study.next_trial(2) is None
    host, pid, began_s = process_identity().split()
    for left, owner in enumerate((f"{host} {pid} {int(began_s) - 100}", f"elsewhere {pid} 0")):
        study.storage.set_trial_user_attr(study.trials()[left]._trial_id, "process", owner)
    # The first was of a process that had the same number before; of another machine's nothing is known.
    again, same = search(tmp_path).next_trial(2)
    assert (again.number, same) == (trial.number, values)
    assert search(tmp_path).next_trial(2) is None


def test_a_lock_that_a_kill_has_left(tmp_path, monkeypatch):
    monkeypatch.setattr(JournalFileSymlinkLock.__init__, "__defaults__", (3,))  # the seconds that it is respected
    monkeypatch.chdir(tmp_path)  # folders of sweeps are given from where the user is
    Path("sweep").mkdir()
    search(Path("sweep")).storage._backend._lock.acquire()
    assert search(Path("sweep")).next_trial(1)[0].number == 0


def test_how_trials_end(tmp_path):
    study = search(tmp_path)
    for error in (1.0, 2.0, 3.0, 4.0, 5.0):
        trial, _ = study.next_trial(9)
        with study.record_trial(trial) as found:
            for epoch in range(4):
                report_epoch(trial, error, epoch)
            found["val/rmse_mV"] = error
    trial, _ = study.next_trial(9)
    with study.record_trial(trial):
        for epoch in range(4):
            if epoch == 2:  # the warm-up is over, and more than half did better by then
                with pytest.raises(TrialPruned, match="pruned after epoch 3"):
                    report_epoch(trial, 4.5, epoch)
                raise TrialPruned
            report_epoch(trial, 4.5, epoch)
    trial, _ = study.next_trial(9)
    with study.record_trial(trial):
        raise UserError("it cannot be")
    states = [trial.state for trial in study.trials()]
    assert states == [TrialState.COMPLETE] * 5 + [TrialState.PRUNED, TrialState.FAIL]
    assert study.trials()[-1].user_attrs["failure"] == "it cannot be"
    assert study.best().value == 1.0


@pytest.mark.parametrize(
    "part",
    [
        {},
        {"choices": []},
        {"low": 1},
        {"low": 2, "high": 2},
        {"choices": [1], "low": 1, "high": 2},
        {"low": 0, "high": 1, "log": True},
    ],
    ids=str,
)
def test_parts_that_are_none(part):
    with pytest.raises(ValidationError, match=r"sweep: got "):
        Dimension(**part)


def test_settings_are_overrides():
    assert trial_overrides({"a.b": True, "c": 1e-05, "d": "x"}) == ["a.b=true", "c=1e-05", "d=x"]


def search_arguments(job, cwd):
    arguments = [o for o in share_data(job, cwd) if not o.startswith("model.hidden")]
    return (*arguments, "sweep=lstm", "trials=8", "workers=2", "trainer.max_epochs=6", "warmup_epochs=2")


def test_a_search_that_is_killed_and_resumed(job, begin, tmp_path):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}  # nobody reads it
    process = begin(command(*search_arguments(job, tmp_path), script="tune.py"), tmp_path, **quiet)
    until = time.monotonic() + 300
    while len([*tmp_path.glob("runs/sweeps/*/trial-*/metrics.json")]) < 4:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    family = [process, *psutil.Process(process.pid).children(recursive=True)]
    for one in family:
        one.kill()
    process.wait()

    result = run_cli(*search_arguments(job, tmp_path), cwd=tmp_path, script="tune.py")
    (folder,) = tmp_path.glob("runs/sweeps/*")
    assert {path.name for path in folder.glob("trial-*")} == {f"trial-{number}" for number in range(8)}
    parent, *children = runs(tmp_path)
    assert parent.info.status == "FINISHED"
    assert len(children) == len({child.info.run_name for child in children}) == 8
    assert {child.info.status for child in children} <= {"FINISHED", "KILLED"}
    for child in children:
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert (child.info.status == "KILLED") == ("pruned after epoch" in child.data.tags.get("stopped", ""))
    best = min((c for c in children if c.info.status == "FINISHED"), key=lambda c: c.data.metrics["val/rmse_mV_best"])
    line = result.stdout.splitlines()[-1]
    assert f"best of 8 trials: trial {number(folder, best)}, val/rmse_mV " in result.stdout
    assert shlex.split(line)[-3:] == best.info.run_name.split(",")
    assert shlex.split(line)[:2] == ["cardioemu", "train"]
    assert {"runs.csv", "best.txt"} <= {file.path for file in client(tmp_path).list_artifacts(parent.info.run_id)}

    # Nothing is left to do: the same command prints the same.
    again = run_cli(*search_arguments(job, tmp_path), cwd=tmp_path, script="tune.py")
    assert again.stdout.splitlines()[-1] == line
    assert len(runs(tmp_path)) == 9


def test_a_search_that_is_stopped(job, begin, tmp_path):
    process = begin(command(*search_arguments(job, tmp_path), "trainer.patience=5000", script="tune.py"), tmp_path)
    until = time.monotonic() + 300
    while not [*tmp_path.glob("runs/sweeps/*/trial-*/metrics.json")]:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "best of " in out
    assert psutil.wait_procs(family, timeout=300)[1] == []
    assert {run.info.status for run in runs(tmp_path)} <= {"FINISHED", "KILLED"}
    assert runs(tmp_path)[0].info.status == "KILLED"


def number(folder, run):
    (found,) = (p.parent.name for p in folder.glob("trial-*/mlflow_run_id") if p.read_text() == run.info.run_id)
    return found.removeprefix("trial-")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("sweep=none",), "sweep: got 'none'; it must be one of lstm, networks"),
        (("trials=0",), r"trials: got 0"),
        (("model=lstm2", "optimizer=adam"), "optimizer: got 'adam'"),
        (("workers=0",), "workers: got 0"),
    ],
)
def test_searches_that_are_none(arguments, sentence, tmp_path):
    result = run_inside(*TINY[:-1], *arguments, cwd=tmp_path, check=False, script="tune.py")
    assert result.returncode == 2
    assert re.match(sentence, result.stderr.strip().splitlines()[-1])
    assert list(tmp_path.iterdir()) == []
