"""The work of a campaign: one shard after another is simulated and written, here or on another machine."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from cardioemu.common.arrays import Scales
from cardioemu.runtime.files import fsync_file, temporary_path
from cardioemu.simulation.campaigns.reuse import TraceLocations, read_reusable
from cardioemu.simulation.campaigns.settings import SolverSettings
from cardioemu.simulation.cell import Cell
from cardioemu.simulation.simulate import simulate
from cardioemu.simulation.store.columns import to_rows
from cardioemu.simulation.store.manifest import Entry, checksum
from cardioemu.simulation.store.shards import write
from cardioemu.traces import Trace


class ShardTask(NamedTuple):
    """One piece of work, and the file it becomes.

    Attributes:
        name: of the file.
        cells: rows of the design (rows,), ascending.
        scales: the distinct scale vectors among them (distinct, scaled).
        of: which of those each row has (rows,).
    """

    name: str
    cells: np.ndarray
    scales: Scales
    of: np.ndarray


class WrittenShard(NamedTuple):
    """A shard that lies on the disk under a temporary name, and its line for the manifest."""

    entry: Entry
    temporary: Path
    failed: int


@dataclass(frozen=True)
class CampaignSpec:
    """What is the same for every shard of a campaign.

    Attributes:
        folder: where the shards belong.
        key: of the campaign.
        cell: the cell model.
        duration_ms: length of every trace.
        transient_ms: what is simulated before it.
        solver: which solver, how accurately.
        record: states and variables kept beside V.
        schema: of every shard.
        known: cells that need not be simulated, and where their traces lie.
    """

    folder: Path
    key: str
    cell: Cell
    duration_ms: float
    transient_ms: float
    solver: SolverSettings
    record: tuple[str, ...]
    schema: pa.Schema = field(repr=False)
    known: TraceLocations = field(default_factory=dict, repr=False)

    def traces(
        self, scales: Scales, threads: int | None, progress: Callable[[int], None] = lambda done: None
    ) -> list[Trace]:
        """Simulates some cells, or copies what is known; one that fails says so in its status."""
        traces = read_reusable(self.known, scales, self.record, self.duration_ms)
        copied, s = len(traces), self.solver
        if missing := [number for number in range(len(scales)) if number not in traces]:
            simulated = simulate(
                self.cell,
                scales[missing],
                self.duration_ms,
                s.name,
                s.rtol,
                threads,
                self.record,
                atol=s.atol,
                progress=lambda done: progress(copied + done),
                transient_ms=self.transient_ms,
            )
            traces |= dict(zip(missing, simulated, strict=True))
        return [traces[number] for number in range(len(scales))]

    def write(self, shard: ShardTask, traces: list[Trace]) -> WrittenShard:
        """Writes a shard under a temporary name."""
        temporary = temporary_path(self.folder / shard.name)
        try:
            write(to_rows(self.schema, shard.cells, shard.scales[shard.of], traces, shard.of), temporary)
            fsync_file(temporary)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        entry = Entry(
            campaign=self.key,
            shard=shard.name,
            rows=len(shard.cells),
            first=int(shard.cells[0]),
            last=int(shard.cells[-1]),
            bytes=temporary.stat().st_size,
            sha256=checksum(temporary),
        )
        failed = np.array([trace.status != "ok" for trace in traces])
        return WrittenShard(entry, temporary, int(failed[shard.of].sum()))
