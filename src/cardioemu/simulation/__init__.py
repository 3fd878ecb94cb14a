"""Cell models, designs, solvers, campaigns and the trace store."""

from cardioemu.simulation.campaigns import (
    Engine,
    Forecast,
    Simulator,
    Solver,
    campaign,
    expected,
)
from cardioemu.simulation.cell import Cell, load_cell
from cardioemu.simulation.designs import design
from cardioemu.simulation.pacing import Pacing
from cardioemu.simulation.scales import checked_scales, distinct, is_first
from cardioemu.simulation.simulate import simulate
from cardioemu.simulation.store import TraceStore

__all__ = [
    "Cell",
    "Engine",
    "Forecast",
    "Pacing",
    "Simulator",
    "Solver",
    "TraceStore",
    "campaign",
    "checked_scales",
    "design",
    "distinct",
    "expected",
    "is_first",
    "load_cell",
    "simulate",
]
