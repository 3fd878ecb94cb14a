"""The equations of a cell model: from Myokit expressions to the input of every code generator, in pure functions."""

from cardioemu.simulation.equations.jacobian import Entries, jacobian
from cardioemu.simulation.equations.right_hand_side import Assignment, Equations, build_equations, recorded_variables
from cardioemu.simulation.equations.writers import CWriter, compile_numpy, numpy_source

__all__ = [
    "Assignment",
    "CWriter",
    "Entries",
    "Equations",
    "build_equations",
    "compile_numpy",
    "jacobian",
    "numpy_source",
    "recorded_variables",
]
