"""What `simulate.py` is told."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from cardioemu.common.arrays import Scales
from cardioemu.simulation import (
    Cell,
    CellSettings,
    Executor,
    Forecast,
    SolverSettings,
    TraceStore,
    campaign,
    forecast_campaign,
)

PARTS = ConfigDict(arbitrary_types_allowed=True)


@dataclass(frozen=True, config=PARTS)
class SimulateSettings:
    """What `simulate.py` is told; `design` still wants the names of the scaled conductances."""

    simulator: CellSettings
    design: Callable[..., Any]
    solver: SolverSettings
    campaign: Executor
    data_dir: Path
    dry_run: bool

    def __post_init__(self) -> None:
        _ = self.scales  # what is wrong with the design is told before anything runs

    @property
    def cell(self) -> Cell:
        """The cell model."""
        return self.simulator.cell()

    @cached_property
    def scales(self) -> Scales:
        """The design (cells, scaled)."""
        return self.design(scaled=self.cell.scaled)

    def traces(self) -> TraceStore:
        """Simulates the design, or opens the traces of the same campaign."""
        return campaign(*self._of_campaign, engine=self.campaign, **self._kept)

    def forecast(self) -> Forecast | None:
        """Reckons what that would take; None where the traces are there."""
        return forecast_campaign(*self._of_campaign, engine=self.campaign, **self._kept)

    @property
    def _of_campaign(self) -> tuple[Cell, Scales, float, SolverSettings, Path]:
        return self.cell, self.scales, self.simulator.duration_ms, self.solver, self.data_dir / "traces"

    @property
    def _kept(self) -> dict[str, Any]:
        return {"record": self.simulator.record, "transient_ms": self.simulator.transient_ms}
