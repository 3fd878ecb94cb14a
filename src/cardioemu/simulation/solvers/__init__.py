"""Solvers by name. Each module has `solve`, and `generate`, whose text and `VERSION` identify the numerical method."""

from types import ModuleType

from cardioemu.simulation.solvers import cvodes, rodas, scipy

SOLVERS: dict[str, ModuleType] = {"rodas": rodas, "cvodes": cvodes, "scipy": scipy}
