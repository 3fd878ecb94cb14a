"""Solvers by name; each module offers `solve`, and `generate`, the text that with `VERSION` tells how it solves."""

from types import ModuleType

from cardioemu.simulation.solvers import cvodes, rodas, scipy

SOLVERS: dict[str, ModuleType] = {"rodas": rodas, "cvodes": cvodes, "scipy": scipy}
