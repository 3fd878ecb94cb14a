"""The equations of a cell model, from what Myokit reads to what every solver is written from: pure functions."""

from cardioemu.simulation.equations.jacobian import Entries, jacobian
from cardioemu.simulation.equations.recorded_variables import recorded_variables
from cardioemu.simulation.equations.right_hand_side import (
    Assignment,
    CWriter,
    Equations,
    Input,
    NumPyWriter,
    build_equations,
)

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
