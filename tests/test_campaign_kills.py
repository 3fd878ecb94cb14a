"""A campaign that is killed, and two processes at one campaign."""

import signal
import time
from functools import partial

import numpy as np
import pytest
from small_campaign import MANY, files_of, finish, logged, start, wait_for

from cardioemu.simulation import TraceStore

pytestmark = pytest.mark.program


def test_ten_kills(uninterrupted, tmp_path):
    """A campaign killed at ten random moments resumes to the same store, and simulates no finished shard again."""
    rng, folder, log, hits = np.random.default_rng(0), tmp_path / "traces", tmp_path / "log", 0
    for more in rng.permutation([0, 0, 0, 1, 1, 2, 2, 3, 3, 4]):  # shards that are simulated before
        finished, before = files_of(folder), len(logged(log))
        process = start(folder, log)
        wait_for(partial(simulated_or_over, process, log, before + more))
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        hits += process.returncode == -signal.SIGKILL and len(logged(log)) > before
        assert not set(logged(log)[before:]) & {scales_of(name) for name in finished}
        assert finished.items() <= files_of(folder).items()
    assert hits >= 5, "kills must have hit the simulation for this test to say anything"
    finished, before = files_of(folder), len(logged(log))
    assert finish(start(folder, log))[0] == 0
    assert files_of(folder) == uninterrupted
    assert sorted(logged(log)[before:]) == sorted(scales_of(name) for name in uninterrupted.keys() - finished.keys())
    (store,) = (TraceStore(path) for path in folder.iterdir())
    assert store.verify() == {}
    assert not list(store.folder.glob(".*.tmp"))


def simulated_or_over(process, log, count):
    return len(logged(log)) >= count or process.poll() is not None


def scales_of(shard):
    """The scales of the two cells in a shard of the program's campaign."""
    first = 2 * int(shard.removeprefix("shard-").removesuffix(".parquet"))
    return tuple(MANY[first : first + 2, 0].tolist())


@pytest.fixture
def two(tmp_path):
    """Two processes with the same campaign: the first is stopped during it, the second has reported that it waits."""
    folder, log = tmp_path / "traces", tmp_path / "log"
    first = start(folder, log)
    wait_for(lambda: len(logged(log)) > 2)
    first.send_signal(signal.SIGSTOP)
    second = start(folder, log)
    message = second.stderr.readline()
    assert message.startswith(f"{next(folder.iterdir())} is being simulated by process {first.pid} on ")
    assert message.endswith("; waiting for that process to end\n")
    yield first, second
    for process in (first, second):
        process.kill()
        process.communicate()


def test_the_second_of_two_processes_waits(uninterrupted, two, tmp_path):
    first, second = two
    first.send_signal(signal.SIGCONT)
    assert finish(first)[0] == finish(second)[0] == 0
    assert files_of(tmp_path / "traces") == uninterrupted
    assert len(logged(tmp_path / "log")) == 40


def test_the_second_goes_on_where_the_first_was_killed(uninterrupted, two, tmp_path):
    first, second = two
    first.send_signal(signal.SIGKILL)
    assert finish(second)[0] == 0
    assert files_of(tmp_path / "traces") == uninterrupted
    assert len(logged(tmp_path / "log")) <= 42
