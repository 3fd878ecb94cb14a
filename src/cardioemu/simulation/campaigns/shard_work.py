"""The work of a campaign: simulate and write one shard, in this process or on another machine."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from cardioemu.common.arrays import Scales
from cardioemu.runtime.files import fsync_file, temporary_path
from cardioemu.simulation.campaigns.campaign_folder import TraceLocations, read_reusable
from cardioemu.simulation.cell import Cell
from cardioemu.simulation.settings import SolverSettings
from cardioemu.simulation.simulate import simulate
from cardioemu.simulation.store.manifest import Entry, checksum
from cardioemu.simulation.store.shards import to_rows, write_shard
from cardioemu.traces import Trace


class ShardTask(NamedTuple):
    """One shard to simulate.

    Attributes:
        name: file name.
        cells: cell numbers (rows,), ascending.
        scales: distinct scale vectors (distinct, scaled).
        scale_indices: index of each cell's scale vector (rows,).
    """

    name: str
    cells: np.ndarray
    scales: Scales
    scale_indices: np.ndarray


class WrittenShard(NamedTuple):
    """A shard on the disk under a temporary name, with its manifest entry and its number of failed cells."""

    entry: Entry
    temporary: Path
    failed: int


@dataclass(frozen=True)
class ShardWork:
    """What a worker needs for every shard of a campaign: fields as in `CampaignSpec`, and these.

    Attributes:
        folder: folder of the trace store.
        key: key of the campaign.
        schema: schema of the shards.
        reusable: locations of traces of other campaigns, by the bytes of the scale vector.
    """

    folder: Path
    key: str
    cell: Cell
    duration_ms: float
    transient_ms: float
    solver: SolverSettings
    record: tuple[str, ...]
    schema: pa.Schema = field(repr=False)
    reusable: TraceLocations = field(default_factory=dict, repr=False)

    def traces(
        self, scales: Scales, threads: int | None, progress: Callable[[int], None] = lambda done: None
    ) -> list[Trace]:
        """Simulate cells, or copy their traces from other campaigns; a failed cell has its reason in `status`."""
        traces = read_reusable(self.reusable, scales, self.record, self.duration_ms)
        copied, solver = len(traces), self.solver
        if missing := [row for row in range(len(scales)) if row not in traces]:
            simulated = simulate(
                self.cell,
                scales[missing],
                self.duration_ms,
                solver.name,
                solver.rtol,
                threads,
                self.record,
                atol=solver.atol,
                progress=lambda done: progress(copied + done),
                transient_ms=self.transient_ms,
            )
            traces |= dict(zip(missing, simulated, strict=True))
        return [traces[row] for row in range(len(scales))]

    def write(self, task: ShardTask, traces: list[Trace]) -> WrittenShard:
        """Write a shard under a temporary name."""
        temporary = temporary_path(self.folder / task.name)
        scales = task.scales[task.scale_indices]
        try:
            write_shard(to_rows(self.schema, task.cells, scales, traces, task.scale_indices), temporary)
            fsync_file(temporary)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        entry = Entry(
            campaign=self.key,
            shard=task.name,
            rows=len(task.cells),
            first=int(task.cells[0]),
            last=int(task.cells[-1]),
            bytes=temporary.stat().st_size,
            sha256=checksum(temporary),
        )
        return WrittenShard(entry, temporary, failed=sum(traces[i].status != "ok" for i in task.scale_indices))
