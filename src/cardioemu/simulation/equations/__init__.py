"""The equations of a cell model: from Myokit expressions to the input of every code generator, in pure functions."""

from cardioemu.simulation.equations.jacobian import Entries, jacobian
from cardioemu.simulation.equations.recorded_variables import recorded_variables
from cardioemu.simulation.equations.right_hand_side import Assignment, Equations, Input, build_equations
from cardioemu.simulation.equations.writers import CWriter, NumPyWriter

__all__ = [
    "Assignment",
    "CWriter",
    "Entries",
    "Equations",
    "Input",
    "NumPyWriter",
    "build_equations",
    "jacobian",
    "recorded_variables",
]
