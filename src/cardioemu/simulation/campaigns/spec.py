"""The specification of a campaign."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cardioemu.common.arrays import Scales
from cardioemu.simulation.campaigns.executor_settings import Executor
from cardioemu.simulation.cell import Cell
from cardioemu.simulation.solver_settings import SolverSettings


@dataclass(frozen=True, eq=False)
class CampaignSpec:
    """Specification of a campaign: what is simulated, where, and where the traces are stored.

    Attributes:
        cell: the cell model.
        scales: the design (cells, scaled); equal rows are simulated once.
        duration_ms: length of every trace.
        solver: solver and tolerances.
        folder: folder of trace stores; the store of this campaign is its subfolder `NAME-KEY`.
        executor: where the shards are simulated.
        record: states and variables to record in addition to V.
        transient_ms: time simulated before the traces begin; it is not stored.
    """

    cell: Cell
    scales: Scales
    duration_ms: float | int
    solver: SolverSettings
    folder: Path
    executor: Executor = field(default_factory=Executor)
    record: Sequence[str] = ()
    transient_ms: float | int = 0.0
