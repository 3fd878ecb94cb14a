"""What happens on a Dask worker in the tests, in place of the engine's own `_simulated`; workers import it by name."""

import errno
import os
import signal
import time
from pathlib import Path

from cardioemu.simulation.campaigns.engines import dask

SIMULATED = dask._simulated  # the engine's own
BAD = "shard-00003.parquet"
LOG = "CARDIOEMU_TEST_LOG"


def logged(sent, version, shard):
    """Takes its time, and writes down who has simulated what once that is done."""
    Path(os.environ[LOG]).with_suffix(".pid").write_text(str(os.getpid()))
    time.sleep(0.05)
    written = SIMULATED(sent, version, shard)
    with Path(os.environ[LOG]).open("a") as file:
        file.write(f"{shard.name}\n")
    return written


def dies(sent, version, shard):
    if shard.name == BAD:
        os.kill(os.getpid(), signal.SIGKILL)
    return SIMULATED(sent, version, shard)


def raises(sent, version, shard):
    if shard.name == BAD:
        raise RuntimeError("no\nluck")
    return SIMULATED(sent, version, shard)


def finds_a_full_disk(sent, version, shard):
    if shard.name == BAD:
        return OSError(errno.ENOSPC, "No space left on device")
    return SIMULATED(sent, version, shard)
