"""Forecast of a campaign: time, disk and memory, measured on some of its cells before it begins."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
import psutil
import pyarrow as pa

from cardioemu.runtime.machine import available_cores, format_bytes, free_disk
from cardioemu.simulation.campaigns.executor_settings import Executor
from cardioemu.simulation.campaigns.shard_work import ShardTask, ShardWork
from cardioemu.simulation.store.shards import to_rows, write_shard

# The pilot: 1 cell and a tenth of the others, at most 256, for 2 s.
PILOT_CELLS, PILOT_FRACTION, PILOT_MS = 256, 10, 2000.0
# Copies of a shard's steps in memory: two shards of traces, the table of one, and the arrays it is made of.
COPIES = 6


@dataclass(frozen=True)
class Forecast:
    """Forecast for the missing shards of a campaign.

    Attributes:
        cells: number of cells.
        distinct: number of distinct scale vectors; each is simulated once.
        reused: number of those whose traces are copied from another campaign.
        cell_s: simulated time of the others, in s.
        seconds: wall time.
        disk_bytes: size of the shards.
        free_bytes: free bytes of the disk.
        memory_bytes: resident memory of one process.
    """

    cells: int
    distinct: int
    reused: int
    cell_s: float
    seconds: float
    disk_bytes: float
    free_bytes: int
    memory_bytes: float

    def __str__(self) -> str:
        counts = (self.cells, self.distinct, self.reused, self.cell_s)
        cells, distinct, reused, cell_s = (f"{count:,.0f}".replace(",", " ") for count in counts)
        copied = f", {reused} of them copied from another campaign" if self.reused else ""
        return (
            f"{cells} {'cell' if self.cells == 1 else 'cells'}, {distinct} distinct{copied}; {cell_s} s of simulated "
            f"time: about {_format_time(self.seconds)}, {format_bytes(self.disk_bytes)} of disk "
            f"({format_bytes(self.free_bytes)} free), {format_bytes(self.memory_bytes)} of memory"
        )


def _format_time(seconds: float | int) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.2g} {unit}"
    return f"{max(seconds, 1):.0f} s"


def make_forecast(work: ShardWork, tasks: Sequence[ShardTask], executor: Executor) -> Forecast:
    """Simulate a pilot, some cells for a short time, and extrapolate."""
    scales = np.concatenate([task.scales for task in tasks])
    new = np.array([scale.tobytes() not in work.reusable for scale in scales])
    count = min(PILOT_CELLS, 1 + len(scales) // PILOT_FRACTION)
    # At random: equidistant rows of a factorial design may have the same scale.
    sample = np.random.default_rng(0).choice(scales, count, replace=False)
    pilot = replace(work, duration_ms=min(PILOT_MS, work.duration_ms), transient_ms=0.0, reusable={})
    threads = work.solver.threads or available_cores()
    pilot.traces(sample[:1], threads)  # compiles the solver
    begin = time.perf_counter()
    traces = pilot.traces(sample, threads)
    simulated = time.perf_counter()
    table = to_rows(work.schema, np.arange(count), sample, traces, np.arange(count))
    disk_bytes = _file_size(table) - _file_size(table[:0])
    thread_s = threads * (simulated - begin) + time.perf_counter() - simulated  # one thread makes and writes the rows

    stored_ratio = len(scales) * work.duration_ms / (count * pilot.duration_ms)
    simulated_ms = work.transient_ms + work.duration_ms
    simulated_ratio = stored_ratio * simulated_ms / work.duration_ms
    cells = sum(len(task.cells) for task in tasks)
    # By default Dask workers have one thread each, and this process one per core.
    threads_per_process = threads if executor.executor == "local" else work.solver.threads or 1
    all_threads = threads_per_process * executor.processes(threads_per_process)
    return Forecast(
        cells=cells,
        distinct=len(scales),
        reused=int((~new).sum()),
        cell_s=new.sum() * simulated_ms / 1000,
        seconds=thread_s * simulated_ratio * new.mean() / all_threads,
        disk_bytes=disk_bytes * stored_ratio * cells / len(scales),
        free_bytes=free_disk(work.folder),
        memory_bytes=psutil.Process().memory_info().rss + COPIES * table.nbytes * simulated_ratio / len(tasks),
    )


def _file_size(table: pa.Table) -> int:
    file = BytesIO()
    write_shard(table, file)
    return file.getbuffer().nbytes
