"""What happens on a Dask worker in the tests, in place of the engine's own `_simulated`; workers import it by name."""

import os
import resource
import signal
import sys
import time
from pathlib import Path

from small_campaign import DURATION, MANY, SOLVER, files_of, oscillator

from cardioemu.simulation import Executor, campaign
from cardioemu.simulation.campaigns import plan, work
from cardioemu.simulation.campaigns.executors import dask

SIMULATED = dask._simulated  # the engine's own
BAD = "shard-00001.parquet"
LOG = "CARDIOEMU_TEST_LOG"
CELLS = MANY[::2]  # 20 shards of 2


def assert_same(store, other):
    """Two stores of one campaign are the same to the byte, but for the order of the lines of their manifests."""
    assert files_of(store.folder.parent) == files_of(other.folder.parent)
    assert store.facts == other.facts
    assert store.entries == other.entries
    assert store.damaged() == {}
    assert not list(store.folder.glob(".*.tmp"))


def logged(sent, version, shard):
    """Takes its time, and writes down who has simulated what once that is done."""
    own = Path(os.environ[LOG]).with_suffix(f".{os.getpid()}")
    own.write_text(str(os.getpid()))
    own.replace(own.with_suffix(".pid"))  # whole, whoever reads it
    time.sleep(0.05)
    written = SIMULATED(sent, version, shard)
    with Path(os.environ[LOG]).open("a") as file:
        file.write(f"{shard.name}\n")
    return written


def counted(sent, version, shard):
    """Writes down how many cells are simulated."""
    simulate = work.simulate

    def counting(cell, scales, *args, **kwargs):
        with Path(os.environ[LOG]).open("a") as file:
            file.write(f"{len(scales)}\n")
        return simulate(cell, scales, *args, **kwargs)

    work.simulate = counting
    try:
        return SIMULATED(sent, version, shard)
    finally:
        work.simulate = simulate


def dies(sent, version, shard):
    if shard.name == BAD:
        os.kill(os.getpid(), signal.SIGKILL)
    return SIMULATED(sent, version, shard)


def raises(sent, version, shard):
    if shard.name == BAD:
        raise RuntimeError("no\nluck")
    return SIMULATED(sent, version, shard)


def finds_a_full_disk(sent, version, shard):
    """Files of this worker may have a thousand bytes, which the system refuses to exceed as it does on a full disk."""
    if shard.name == BAD:
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
    return SIMULATED(sent, version, shard)


def is_slow(sent, version, shard):
    Path(os.environ[LOG]).touch()
    time.sleep(0.5)
    return SIMULATED(sent, version, shard)


def main(folder, doing):
    """Runs a campaign of 20 shards on two workers that do that; ends as `simulate.py` would."""
    plan.CELL_MS_PER_SHARD = 2 * DURATION
    dask._simulated = globals()[doing]
    try:
        campaign(oscillator(Path(folder)), CELLS, DURATION, SOLVER, Path(folder), Executor(executor="dask", workers=2))
    except KeyboardInterrupt:
        sys.exit(130)
