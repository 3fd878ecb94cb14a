"""Solver `rodas`, the population solver: generated C, Rodas4, one cell per SIMD lane, lanes refilled from a queue."""

from cardioemu.simulation.solvers.rodas.solve import VERSION, generate, solve

__all__ = ["VERSION", "generate", "solve"]
