"""Runs that are killed or stopped, and what resuming makes of them."""

import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from tiny_job import ROOT, client, command, metrics_of, run_inside, run_of, runs, share_data

pytestmark = pytest.mark.xdist_group("resume")  # one undisturbed run for all


def wait_for(condition, process, seconds=300):
    """Waits until `condition()` gives something, and returns it; the process must live until then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        assert process.poll() is None, "the job ended too early"
        time.sleep(0.01)
    raise TimeoutError


def epochs_done(cwd):
    """The run folder and how many epochs its newest checkpoint holds, or None."""
    for folder in cwd.glob("runs/*/*"):
        for name in ("last.ckpt", "previous.ckpt"):  # the last is not there while its successor takes its place
            with suppress(FileNotFoundError):
                return folder, torch.load(folder / name, weights_only=True)["epoch"] + 1
    return None


@pytest.fixture(scope="module")
def long(job, tmp_path_factory):
    """A run of 200 epochs that nothing disturbs."""
    cwd = tmp_path_factory.mktemp("long")
    run_inside(*share_data(job, cwd), "trainer.max_epochs=200", cwd=cwd)
    (folder,) = cwd.glob("runs/*/*")
    return folder


def test_a_killed_run_resumes_as_if_nothing_had_been(job, long, begin, tmp_path):
    process = begin(command(*share_data(job, tmp_path), "trainer.max_epochs=200"), tmp_path)
    folder, _ = wait_for(lambda: (found := epochs_done(tmp_path)) and found[1] >= 3 and found, process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    done = epochs_done(tmp_path)[1]
    assert 3 <= done < 200
    assert not (folder / "metrics.json").exists()
    assert run_of(folder, tmp_path).info.status == "RUNNING"
    # Nobody could say that it was killed, but the next run that begins does.
    run_inside(*share_data(job, tmp_path), "trainer.max_epochs=1", "runs_dir=others", cwd=tmp_path)
    killed = run_of(folder, tmp_path).info
    assert killed.status == "KILLED"
    assert killed.start_time < killed.end_time < time.time() * 1000

    run_inside(f"resume={folder.relative_to(tmp_path)}", cwd=tmp_path)
    assert metrics_of(folder) == metrics_of(long)
    run = run_of(folder, tmp_path)
    assert run.info.status == "FINISHED"
    resumed = f"python {ROOT / 'train.py'} resume={folder.relative_to(tmp_path)}"
    assert run.data.tags["command"] != run.data.tags["resumed.command"] == resumed
    assert run.info.run_id == (folder / "mlflow_run_id").read_text()
    assert_went_on(tmp_path, run, epochs=200)
    assert list(tmp_path.glob("runs/*/*")) == [folder]


def assert_went_on(cwd, run, epochs):
    """All epochs are recorded; one that was, but not yet in last.ckpt, stands twice, with the same value."""
    history = client(cwd).get_metric_history(run.info.run_id, "train/loss")
    assert {m.step for m in history} == set(range(epochs))
    assert len({(m.step, m.value) for m in history}) == epochs
    assert len(history) <= epochs + 1


def test_a_stopped_run_resumes_to_more_epochs(job, long, begin, tmp_path):
    process = begin(command(*share_data(job, tmp_path), "trainer.max_epochs=50000"), tmp_path)
    folder, _ = wait_for(lambda: (found := epochs_done(tmp_path)) and found[1] >= 3 and found, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == f"stopped; resume={folder} resumes from the last whole epoch"
    assert "Traceback" not in errors
    (run,) = runs(tmp_path)
    assert run.info.status == "KILLED"
    done = epochs_done(tmp_path)[1]
    assert done < 200, "the machine was too fast for this test"
    run_inside(f"resume={folder}", "trainer.max_epochs=200", cwd=tmp_path)
    assert metrics_of(folder) == metrics_of(long)
    (run,) = runs(tmp_path)
    assert run.info.status == "FINISHED"
    assert_went_on(tmp_path, run, epochs=200)


def test_fewer_epochs_than_are_done_change_nothing(job, tmp_path):
    folder = Path(shutil.copytree(job.folder, tmp_path / "run"))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    refused = run_inside(f"resume={folder}", "trainer.max_epochs=3", cwd=tmp_path, check=False)
    message = "trainer.max_epochs: got 3, but the run has already finished 4 epochs; give at least 4\n"
    assert (refused.returncode, refused.stderr) == (2, message)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_terminated_run_is_killed(job, begin, tmp_path):
    process = begin(command(*share_data(job, tmp_path), "trainer.max_epochs=50000"), tmp_path)
    wait_for(lambda: epochs_done(tmp_path), process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    assert process.returncode == 130
    assert [run.info.status for run in runs(tmp_path)] == ["KILLED"]
