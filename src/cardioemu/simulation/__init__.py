"""Cell models, designs, solvers, campaigns and the trace store."""

from cardioemu.simulation.campaigns import CampaignSpec, Executor, Forecast, campaign, forecast_campaign
from cardioemu.simulation.cell import Cell, load_cell
from cardioemu.simulation.cell_settings import CellSettings
from cardioemu.simulation.designs import design
from cardioemu.simulation.pacing import Pacing
from cardioemu.simulation.scales import first_occurrence, unique_rows, validate_scales
from cardioemu.simulation.simulate import simulate
from cardioemu.simulation.solver_settings import SolverSettings
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
    "unique_rows",
    "validate_scales",
]
