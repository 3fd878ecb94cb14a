"""Faults of Dask workers: replacements of the executor's `_simulate_shard`, which workers import by name."""

import os
import resource
import signal
import sys
import time
from pathlib import Path
from unittest.mock import patch

from small_campaign import DURATION, MANY, files_of, oscillator, run

from cardioemu.simulation import Executor
from cardioemu.simulation.campaigns import plan, shard_work
from cardioemu.simulation.campaigns.executors import dask

SIMULATE_SHARD = dask._simulate_shard
BAD = "shard-00001.parquet"
LOG = "CARDIOEMU_TEST_LOG"
CELLS = MANY[::2]  # 20 shards of 2


def assert_same(store, other):
    """Two stores of one campaign have the same bytes, except for the order of the manifest's lines."""
    assert files_of(store.folder.parent) == files_of(other.folder.parent)
    assert store.metadata == other.metadata
    assert store.entries == other.entries
    assert store.verify() == {}
    assert not list(store.folder.glob(".*.tmp"))


def logged(pickled, version, task):
    """Simulate slowly; log the shard and the process."""
    own = Path(os.environ[LOG]).with_suffix(f".{os.getpid()}")
    own.write_text(str(os.getpid()))
    own.replace(own.with_suffix(".pid"))  # readers must not see half of it
    time.sleep(0.05)
    written = SIMULATE_SHARD(pickled, version, task)
    with Path(os.environ[LOG]).open("a") as file:
        file.write(f"{task.name}\n")
    return written


def counted(pickled, version, task):
    """Log the number of simulated cells."""
    simulate = shard_work.simulate

    def counting(cell, scales, *args, **kwargs):
        with Path(os.environ[LOG]).open("a") as file:
            file.write(f"{len(scales)}\n")
        return simulate(cell, scales, *args, **kwargs)

    with patch.object(shard_work, "simulate", counting):
        return SIMULATE_SHARD(pickled, version, task)


def dies(pickled, version, task):
    if task.name == BAD:
        os.kill(os.getpid(), signal.SIGKILL)
    return SIMULATE_SHARD(pickled, version, task)


def raises(pickled, version, task):
    if task.name == BAD:
        raise RuntimeError("no\nluck")
    return SIMULATE_SHARD(pickled, version, task)


def finds_a_full_disk(pickled, version, task):
    """Limit files of this worker to 1000 bytes; the system refuses more, as on a full disk."""
    if task.name == BAD:
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
    return SIMULATE_SHARD(pickled, version, task)


def is_slow(pickled, version, task):
    Path(os.environ[LOG]).touch()
    time.sleep(0.5)
    return SIMULATE_SHARD(pickled, version, task)


def main(folder, fault):
    """Run a campaign of 20 shards on two workers with a fault; exit as `simulate.py` would."""
    plan.CELL_MS_PER_SHARD = 2 * DURATION
    dask._simulate_shard = globals()[fault]
    try:
        run(oscillator(Path(folder)), Path(folder), CELLS, executor=Executor(executor="dask", workers=2))
    except KeyboardInterrupt:
        sys.exit(130)
