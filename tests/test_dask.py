"""Campaigns on Dask workers: the same store as without them, also if workers are lost."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import dask_faults
import psutil
import pytest
import small_campaign
from dask_faults import CELLS, assert_same
from small_campaign import files_of, wait_for
from tiny_job import environment

from cardioemu.common.errors import UserError
from cardioemu.simulation import Executor, TraceStore
from cardioemu.simulation.campaigns.executors import dask, workers

pytestmark = pytest.mark.cluster

TWO, ONE = (Executor(executor="dask", workers=workers) for workers in (2, 1))


@pytest.fixture(autouse=True)
def quick(monkeypatch, small_shards):
    monkeypatch.setattr(workers, "POLL_S", 0.2)


@pytest.fixture(scope="module")
def by_local(cell, tmp_path_factory):
    return small_campaign.run_in_small_shards(cell, tmp_path_factory.mktemp("local"), CELLS)


def run(cell, folder, executor=TWO, scales=CELLS):
    return small_campaign.run(cell, folder, scales, executor=executor)


def test_two_workers_give_the_same_store(cell, by_local, tmp_path, monkeypatch, capfd):
    running, assign = [], dask._Assignments.assign

    def counting(self, pending):
        assign(self, pending)
        running.append(len(self.running))

    monkeypatch.setattr(dask._Assignments, "assign", counting)
    assert_same(run(cell, tmp_path), by_local)
    assert max(running) == 2  # one shard per worker
    err = capfd.readouterr().err
    assert "40/40" in err
    assert "Traceback" not in err
    assert "distributed" not in err


def test_a_killed_worker(cell, by_local, tmp_path, monkeypatch, capfd):
    log, killed = tmp_path / "log", {}
    monkeypatch.setenv(dask_faults.LOG, str(log))
    monkeypatch.setattr(dask, "_simulate_shard", dask_faults.logged)

    def kill():
        wait_for(lambda: log.exists() and len(log.read_text().splitlines()) >= 6)
        worker = int(log.with_suffix(".pid").read_text())
        os.kill(worker, signal.SIGKILL)
        killed[worker] = len(log.read_text().splitlines())

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    store = run(cell, tmp_path / "traces")
    killer.join()
    ((worker, done),) = killed.items()
    assert not psutil.pid_exists(worker)
    assert done < 20
    assert_same(store, by_local)
    simulated = Counter(log.read_text().splitlines())
    assert simulated.keys() == {shard.name for shard in store.shards}
    assert simulated.total() <= 20 + 1  # one may have been written, but not reported, by the lost worker
    assert "Traceback" not in capfd.readouterr().err


def test_a_shard_that_kills_its_workers_is_reported(cell, tmp_path, monkeypatch, capfd):
    """No other shard is assigned to its worker, and blamed for the death of that."""
    few = CELLS[:8]
    with monkeypatch.context() as context:
        context.setattr(dask, "_simulate_shard", dask_faults.dies)
        with pytest.raises(UserError) as raised:
            run(cell, tmp_path / "traces", replace(TWO, retries=1), few)
    bad = f"{dask_faults.BAD} (its worker tcp://127.0.0.1:"
    assert str(raised.value).startswith(f"campaign: 1 of 4 shards failed on each of 2 attempts, for example {bad}")
    assert str(raised.value).endswith(" died); the other shards are kept; re-run the command to try again")
    assert len(files_of(tmp_path / "traces")) == 3
    err = capfd.readouterr().err
    assert "Traceback" not in err
    assert "distributed" not in err
    assert_same(run(cell, tmp_path / "traces", Executor(), few), run(cell, tmp_path / "local", Executor(), few))


def test_a_failing_shard_does_not_stop_others(cell, by_local, tmp_path, monkeypatch):
    reason = rf"1 of 20 shards failed on each of 4 attempts, .* {dask_faults.BAD} \(RuntimeError: no luck\); the other"
    with monkeypatch.context() as context:
        context.setattr(dask, "_simulate_shard", dask_faults.raises)
        with pytest.raises(UserError, match=reason):
            run(cell, tmp_path, ONE)
    assert len(files_of(tmp_path)) == 19
    assert_same(run(cell, tmp_path, Executor()), by_local)


def test_a_full_disk_stops_all(cell, tmp_path, monkeypatch):
    monkeypatch.setattr(dask, "_simulate_shard", dask_faults.finds_a_full_disk)
    with pytest.raises(UserError, match=r"^data_dir: .* cannot be written to \(.*File too large"):
        run(cell, tmp_path, ONE)
    assert len(files_of(tmp_path)) < 19
    assert not list(tmp_path.glob("*/.*.tmp"))


def test_a_worker_with_another_version(cell, tmp_path, monkeypatch):
    monkeypatch.setattr(dask, "_code_version", lambda work: "of this machine")
    with pytest.raises(UserError, match=r"20 of 20 .* has another version of cardioemu or Myokit than this machine"):
        run(cell, tmp_path, replace(ONE, retries=0))
    assert files_of(tmp_path) == {}


def test_ctrl_c(begin, tmp_path):
    program = "import sys, dask_faults; dask_faults.main(*sys.argv[1:])"
    log = tmp_path / "log"
    command = [sys.executable, "-c", program, str(tmp_path), "is_slow"]
    env = environment() | {"PYTHONPATH": str(Path(__file__).parent), dask_faults.LOG: str(log)}
    process = begin(command, tmp_path, env=env, start_new_session=True)
    wait_for(lambda: process.poll() is not None or (log.exists() and files_of(tmp_path)))
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "distributed" not in err
    assert not list(tmp_path.glob("*/.*.tmp"))


def test_workers_of_a_scheduler_that_runs(cell, by_local, tmp_path):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None, host="127.0.0.1") as cluster:
        executor = Executor(executor="dask", cluster=cluster.scheduler_address)
        assert_same(run(cell, tmp_path, executor), by_local)
        assert cluster.scheduler.status.name == "running"  # the campaign did not start it


@pytest.mark.parametrize("end", ["workers", "scheduler"])
def test_workers_are_lost(cell, by_local, tmp_path, monkeypatch, caplog, end):
    from distributed import LocalCluster

    log = tmp_path / "log"
    monkeypatch.setenv(dask_faults.LOG, str(log))
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1")
    executor = Executor(executor="dask", cluster=cluster.scheduler_address)

    def leave():
        wait_for(log.exists)
        cluster.scale(0) if end == "workers" else cluster.close()

    caplog.clear()  # messages of the start of this cluster
    with cluster, monkeypatch.context() as context:
        context.setattr(workers, "LOST_S", 0.5)
        context.setattr(dask, "FETCH_S", 1.0)
        context.setattr(dask, "_simulate_shard", dask_faults.logged)
        leaver = threading.Thread(target=leave, daemon=True)
        leaver.start()
        with pytest.raises(UserError, match=rf"all workers of {executor.cluster} are lost; finished shards are kept"):
            run(cell, tmp_path / "traces", executor)
        leaver.join()
    assert len(files_of(tmp_path / "traces")) < 20
    assert not [record for record in caplog.records if record.name.startswith("distributed")]
    assert_same(run(cell, tmp_path / "traces", Executor()), by_local)


def test_no_scheduler_at_the_address(cell, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "CONNECT_S", 1.0)
    with pytest.raises(UserError, match=r"^campaign.cluster: there is no Dask scheduler at tcp://127.0.0.1:1 \("):
        run(cell, tmp_path, Executor(executor="dask", cluster="tcp://127.0.0.1:1"))


def test_the_cluster_listens_to_this_machine_only(monkeypatch):
    with workers.connect_workers(ONE, 1):
        processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
        listening = {c.laddr.ip for p in processes for c in p.net_connections() if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


def test_dask_is_imported_only_if_it_is_used():
    code = "import sys, cardioemu.simulation; sys.exit(any(n in sys.modules for n in ('distributed', 'dask', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("cluster", [None, "tcp://127.0.0.1:8786"])
def test_a_finished_store_needs_no_workers(cell, by_local, cluster, monkeypatch):
    monkeypatch.setattr(dask, "connect_workers", None)
    executor = TWO if cluster is None else Executor(executor="dask", cluster=cluster)
    assert isinstance(run(cell, by_local.folder.parent, executor), TraceStore)


def test_a_script_without_a_main_guard(tmp_path):
    """A new worker imports the script that started it; the campaign must report this, not wait forever."""
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nfrom small_campaign import oscillator, run\n"
        "from cardioemu.simulation import Executor\n"
        f"cell, folder = oscillator(Path({str(tmp_path)!r})), Path({str(tmp_path / 'traces')!r})\n"
        "run(cell, folder, executor=Executor(executor='dask', workers=1))\n"
    )
    env, pipes = environment() | {"PYTHONPATH": str(Path(__file__).parent)}, {"stderr": subprocess.PIPE, "text": True}
    result = subprocess.run([sys.executable, str(script)], env=env, timeout=300, **pipes)
    assert result.returncode == 1
    assert "put the code of the script below if __name__ == '__main__':" in result.stderr
    assert "UserError: campaign.workers: 1 workers could not be started here (Nanny failed to start" in result.stderr
