"""Training by several processes, and in several parts: the same numbers as in one process and one part."""

import numpy as np
import pytest
import torch
from mlflow_server import free_port
from tiny_job import client, command, environment, error_message, metrics_of, run_cli, run_inside, runs, share_data

pytestmark = pytest.mark.xdist_group("processes")  # one run by one process for all

# 24 training windows: batches of 7, 7, 7 and 3, which divide evenly by none of the numbers of shares below.
RUN = ("data.batch_size=7", "trainer.max_epochs=4", "model=lstm2", "model.hidden=8", "optimizer.lr=0.003")
DDP = ("trainer.strategy=ddp", "trainer.devices=2")
TOGETHER = {
    "fsdp": ("trainer.strategy=fsdp", "trainer.devices=2"),
    "four parts": ("trainer.accumulate=4",),
    "ddp in two parts": (*DDP, "trainer.accumulate=2"),
}
SRUN = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "study", "SLURM_NODEID": "0"}
SRUN |= {"SLURM_NNODES": "1", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}


def weights(folder):
    return torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]


def assert_alike(folder, other):
    """The same to the rounding of float32, which adds up in another order."""
    for name, value in weights(other).items():
        torch.testing.assert_close(weights(folder)[name], value, rtol=1e-4, atol=1e-5)
    ours, theirs = metrics_of(folder), metrics_of(other)
    assert ours.keys() == theirs.keys()
    for name in ("train/loss", "val/rmse_mV", "val/rmse_mV_best", "test/rmse_mV_mean"):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-4)


@pytest.fixture(scope="module")
def alone(job, tmp_path_factory):
    """The run folder of the training by one process."""
    cwd = tmp_path_factory.mktemp("alone")
    run_inside(*share_data(job, cwd), *RUN, "hydra.run.dir=run", cwd=cwd)
    return cwd / "run"


@pytest.mark.program
@pytest.mark.parametrize("how", TOGETHER)
def test_together_as_alone(job, alone, tmp_path, how):
    result = run_cli(*share_data(job, tmp_path), *RUN, *TOGETHER[how], "hydra.run.dir=run", cwd=tmp_path)
    assert_alike(tmp_path / "run", alone)
    # One of the processes speaks, and records one run.
    assert result.stdout.count("window RMSE (mV)") == 1
    assert [run.info.status for run in runs(tmp_path)] == ["FINISHED"]


def assert_no_epoch_twice(cwd):
    """There is one run, and what was trained in it is not trained again."""
    (run,) = runs(cwd)
    history = client(cwd).get_metric_history(run.info.run_id, "val/rmse_mV")
    assert [metric.step for metric in history] == [0, 1, 2, 3]


@pytest.mark.program
def test_what_one_way_began_another_ends(job, alone, tmp_path):
    begun = (*share_data(job, tmp_path), *RUN, "trainer.max_epochs=2", "hydra.run.dir=run")
    run_cli(*begun, *TOGETHER["fsdp"], cwd=tmp_path)
    run_cli("resume=run", "trainer.max_epochs=3", "trainer.strategy=ddp", cwd=tmp_path)
    run_cli("resume=run", "trainer.max_epochs=4", "trainer.strategy=single", "trainer.devices=1", cwd=tmp_path)
    assert_alike(tmp_path / "run", alone)
    assert_no_epoch_twice(tmp_path)


def srun(begin, *arguments, cwd):
    """Starts a program as srun does: all processes at once, which differ in their environment."""
    env = environment() | SRUN | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [{"SLURM_PROCID": rank, "SLURM_LOCALID": rank} for rank in ("0", "1")]
    return [begin(command(*arguments), cwd, env=env | rank) for rank in ranks]


def test_a_job_of_slurm_that_is_requeued_goes_on(job, alone, begin, tmp_path):
    arguments = (*share_data(job, tmp_path), *RUN, *DDP, "hydra.run.dir=slurm-7")
    for epochs in (2, 4):  # a requeued job runs the same script; here it is given more to do
        processes = srun(begin, *arguments, f"trainer.max_epochs={epochs}", cwd=tmp_path)
        outputs = [process.communicate(timeout=300) for process in processes]
        assert [process.returncode for process in processes] == [0, 0], outputs
    assert_alike(tmp_path / "slurm-7", alone)
    assert_no_epoch_twice(tmp_path)
    assert not list((tmp_path / "slurm-7").glob("hpc_ckpt*"))


def test_a_run_folder_is_not_used_for_another_run(job, alone):
    cwd = alone.parent
    before = np.array([path.stat().st_mtime for path in sorted(alone.iterdir())])
    other = (*share_data(job, cwd), *RUN, "hydra.run.dir=run", "optimizer.rho=0.5")
    message = error_message(run_inside(*other, cwd=cwd, check=False))
    assert message.startswith("optimizer.rho: got 0.5, but the run in ")
    assert " has 0.9; choose another folder" in message
    assert before.tolist() == [path.stat().st_mtime for path in sorted(alone.iterdir())]


def test_a_job_script_that_lightning_refuses_is_a_sentence(job, tmp_path, monkeypatch):
    for name, value in (SRUN | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    result = run_inside(*share_data(job, tmp_path), "trainer.max_epochs=1", cwd=tmp_path, check=False)
    assert error_message(result).startswith("trainer: the variables of SLURM cannot be used (")
    assert "--ntasks-per-node" in result.stderr
