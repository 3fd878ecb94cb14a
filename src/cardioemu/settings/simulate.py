"""Settings of the simulate job."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from cardioemu.common.arrays import Scales
from cardioemu.simulation import (
    CampaignSpec,
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
    """Settings of the simulate job; `design` is a function of the names of the scaled conductances."""

    simulator: CellSettings
    design: Callable[..., Any]
    solver: SolverSettings
    campaign: Executor
    data_dir: Path
    dry_run: bool

    def __post_init__(self) -> None:
        _ = self.scales  # an invalid design must be reported before any work starts

    @property
    def cell(self) -> Cell:
        """The cell model."""
        return self.simulator.cell

    @cached_property
    def scales(self) -> Scales:
        """The design (cells, scaled)."""
        return self.design(scaled=self.cell.scaled)

    def traces(self) -> TraceStore:
        """Simulate the design, or open the traces of the same campaign."""
        return campaign(self._campaign_spec)

    def forecast(self) -> Forecast | None:
        """Forecast the campaign; None if its traces exist already."""
        return forecast_campaign(self._campaign_spec)

    @property
    def _campaign_spec(self) -> CampaignSpec:
        return CampaignSpec(
            self.cell,
            self.scales,
            self.simulator.duration_ms,
            self.solver,
            self.data_dir / "traces",
            self.campaign,
            self.simulator.record,
            self.simulator.transient_ms,
        )
