"""What a campaign will take, measured on a few of its cells before it begins."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa

from cardioemu.common.errors import UserError
from cardioemu.runtime.machine import available_cores, format_bytes, free_disk
from cardioemu.simulation.campaigns.settings import Executor
from cardioemu.simulation.campaigns.work import CampaignSpec, ShardTask
from cardioemu.simulation.store.columns import to_rows
from cardioemu.simulation.store.shards import write

PILOT_CELLS, PILOT_PART, PILOT_MS = 256, 10, 2000.0
COPIES = 6  # of a shard's steps in memory at once: two shards of traces, the table of one, and what it is made from
SPARE = 1.1  # the forecast of the disk is one


@dataclass(frozen=True)
class Forecast:
    """What the shards that are to be simulated will take.

    Attributes:
        cells: rows of the design.
        distinct: scale vectors among them, each simulated once.
        known: those of them that are only copied.
        cell_s: simulated time of the others, in seconds.
        seconds: of the clock.
        disk_bytes: of the trace store.
        free_bytes: of the disk.
        memory_bytes: of one process, resident.
    """

    cells: int
    distinct: int
    known: int
    cell_s: float
    seconds: float
    disk_bytes: float
    free_bytes: int
    memory_bytes: float

    def __str__(self) -> str:
        numbers = (self.cells, self.distinct, self.known, self.cell_s)
        cells, distinct, known, cell_s = (f"{number:,.0f}".replace(",", " ") for number in numbers)
        before = f", {known} simulated before" if self.known else ""
        return (
            f"{cells} cells, {distinct} of them distinct{before}, {cell_s} s of cell life: "
            f"about {_time(self.seconds)}, {format_bytes(self.disk_bytes)} of disk ({format_bytes(self.free_bytes)} free), "
            f"{format_bytes(self.memory_bytes)} of memory"
        )


def _time(seconds: float | int) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.2g} {unit}"
    return f"{max(seconds, 1):.0f} s"


def forecast(work: CampaignSpec, shards: Sequence[ShardTask], engine: Executor) -> Forecast:
    """Simulates some of the cells for some of the time, and reckons."""
    scales = np.concatenate([shard.scales for shard in shards])
    new = np.array([scale.tobytes() not in work.known for scale in scales])
    count = min(PILOT_CELLS, 1 + len(scales) // PILOT_PART)
    # At random: rows of a design at equal distances may be all of one kind.
    sample = np.random.default_rng(0).choice(scales, count, replace=False)
    short = replace(work, duration_ms=min(PILOT_MS, work.duration_ms), transient_ms=0.0, known={})
    threads = work.solver.threads or available_cores()
    short.traces(sample[:1], threads)  # compiles
    begin = time.perf_counter()
    traces = short.traces(sample, threads)
    ended = time.perf_counter()
    table = to_rows(work.schema, np.arange(count), sample, traces, np.arange(count))
    disk_bytes = _size(table) - _size(table[:0])
    thread_s = threads * (ended - begin) + time.perf_counter() - ended  # one thread makes and writes the rows

    kept = len(scales) * work.duration_ms / (count * short.duration_ms)
    simulated_ms = work.transient_ms + work.duration_ms
    more = kept * simulated_ms / work.duration_ms
    rows = sum(len(shard.cells) for shard in shards)
    # Workers have one thread each if nothing else is said, this process has one per core.
    of_each = threads if engine.executor == "local" else work.solver.threads or 1
    return Forecast(
        cells=rows,
        distinct=len(scales),
        known=int((~new).sum()),
        cell_s=new.sum() * simulated_ms / 1000,
        seconds=thread_s * more * new.mean() / (of_each * engine.processes(of_each)),
        disk_bytes=disk_bytes * kept * rows / len(scales),
        free_bytes=free_disk(work.folder),
        memory_bytes=psutil.Process().memory_info().rss + COPIES * table.nbytes * more / len(shards),
    )


def check_room(expected: Forecast, folder: Path) -> None:
    """Stops a campaign that the disk cannot hold.

    Raises:
        UserError: it cannot.
    """
    if SPARE * expected.disk_bytes > expected.free_bytes:
        raise UserError(
            f"data_dir: the traces will take {format_bytes(expected.disk_bytes)}, but {folder} has "
            f"{format_bytes(expected.free_bytes)} free; make room, give another data_dir, "
            "or simulate fewer cells or a shorter time"
        )


def _size(table: pa.Table) -> int:
    file = BytesIO()
    write(table, file)
    return file.getbuffer().nbytes
