"""Cell models, designs, solvers, campaigns and the trace store."""

from cardioemu.simulation.cell import Cell, load_cell
from cardioemu.simulation.designs import checked_scales, design
from cardioemu.simulation.simulate import simulate

__all__ = ["Cell", "checked_scales", "design", "load_cell", "simulate"]
