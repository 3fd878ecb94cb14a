"""Cell models, designs, solvers, campaigns and the trace store."""

from cardioemu.simulation.campaign import Simulator, Solver, campaign
from cardioemu.simulation.cell import Cell, load_cell
from cardioemu.simulation.designs import checked_scales, design
from cardioemu.simulation.pacing import Pacing
from cardioemu.simulation.simulate import simulate
from cardioemu.simulation.store import TraceStore

__all__ = [
    "Cell",
    "Pacing",
    "Simulator",
    "Solver",
    "TraceStore",
    "campaign",
    "checked_scales",
    "design",
    "load_cell",
    "simulate",
]
