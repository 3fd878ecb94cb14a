"""Runs that are killed, stopped or fail, and what resuming makes of them."""

import signal
import subprocess
import time
from contextlib import suppress

import pytest
import torch
from tiny_job import ROOT, client, command, environment, metrics_of, run_cli, run_of, runs, share_data


def start(*arguments, cwd):
    """Starts train.py and returns its process; what it says goes to files in `cwd`."""
    with (cwd / "out").open("w") as out, (cwd / "err").open("w") as err:
        return subprocess.Popen(command(*arguments), cwd=cwd, env=environment(), stdout=out, stderr=err)


def wait_for(condition, process, seconds=120):
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
    run_cli(*share_data(job, cwd), "trainer.max_epochs=200", cwd=cwd)
    (folder,) = cwd.glob("runs/*/*")
    return folder


def test_a_killed_run_resumes_as_if_nothing_had_been(job, long, tmp_path):
    process = start(*share_data(job, tmp_path), "trainer.max_epochs=200", cwd=tmp_path)
    folder, _ = wait_for(lambda: (found := epochs_done(tmp_path)) and found[1] >= 3 and found, process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    done = epochs_done(tmp_path)[1]
    assert 3 <= done < 200
    assert not (folder / "metrics.json").exists()
    assert run_of(folder, tmp_path).info.status == "RUNNING"
    # Nobody could say that it was killed, but the next run that begins does.
    run_cli(*share_data(job, tmp_path), "trainer.max_epochs=1", "runs_dir=others", cwd=tmp_path)
    killed = run_of(folder, tmp_path).info
    assert killed.status == "KILLED"
    assert killed.start_time < killed.end_time < time.time() * 1000

    run_cli(f"resume={folder.relative_to(tmp_path)}", cwd=tmp_path)
    assert metrics_of(folder) == metrics_of(long)
    run = run_of(folder, tmp_path)
    assert run.info.status == "FINISHED"
    assert (
        run.data.tags["command"]
        != run.data.tags["resumed.command"]
        == f"python {ROOT / 'train.py'} resume={folder.relative_to(tmp_path)}"
    )
    assert run.info.run_id == (folder / "mlflow_run_id").read_text()
    # An epoch that was recorded but not yet in last.ckpt stands twice, with the same value.
    history = client(tmp_path).get_metric_history(run.info.run_id, "train/loss")
    assert {m.step for m in history} == set(range(200))
    assert len({(m.step, m.value) for m in history}) == 200
    assert list(tmp_path.glob("runs/*/*")) == [folder]


def test_a_stopped_run_resumes_to_more_epochs(job, long, tmp_path):
    process = start(*share_data(job, tmp_path), "trainer.max_epochs=50000", cwd=tmp_path)
    folder, _ = wait_for(lambda: epochs_done(tmp_path), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    errors = (tmp_path / "err").read_text()
    assert errors.splitlines()[-1] == f"stopped; resume={folder} goes on from the last whole epoch"
    assert "Traceback" not in errors
    (run,) = runs(tmp_path)
    assert run.info.status == "KILLED"
    done = epochs_done(tmp_path)[1]
    assert done < 200, "the machine was too fast for this test"
    run_cli(f"resume={folder}", "trainer.max_epochs=200", cwd=tmp_path)
    assert metrics_of(folder) == metrics_of(long)
    assert [run.info.status for run in runs(tmp_path)] == ["FINISHED"]


def test_a_terminated_run_is_killed(job, tmp_path):
    process = start(*share_data(job, tmp_path), "trainer.max_epochs=50000", cwd=tmp_path)
    wait_for(lambda: epochs_done(tmp_path), process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 130
    assert [run.info.status for run in runs(tmp_path)] == ["KILLED"]


def test_a_run_that_raises_is_failed(job, tmp_path):
    result = run_cli(*share_data(job, tmp_path), "trainer.max_epochs=2", "optimizer.lr=1e30", cwd=tmp_path, check=False)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("optimizer.lr: training diverged in epoch 0")
    assert "Traceback" not in result.stderr
    assert [run.info.status for run in runs(tmp_path)] == ["FAILED"]
