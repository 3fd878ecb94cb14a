"""Cell models, designs, solvers, campaigns and the trace store."""

from cardioemu.simulation.campaigns import CampaignSpec, Executor, Forecast, campaign, forecast_campaign
from cardioemu.simulation.cell import Cell, load_cell
from cardioemu.simulation.designs import design
from cardioemu.simulation.pacing import Pacing
from cardioemu.simulation.scales import first_occurrence, validate_scales
from cardioemu.simulation.settings import CellSettings, SolverSettings
from cardioemu.simulation.simulate import simulate
from cardioemu.simulation.store import TraceStore

__all__ = [
    "CampaignSpec",
    "Cell",
    "CellSettings",
    "Executor",
    "Forecast",
    "Pacing",
    "SolverSettings",
    "TraceStore",
    "campaign",
    "design",
    "first_occurrence",
    "forecast_campaign",
    "load_cell",
    "simulate",
    "validate_scales",
]
