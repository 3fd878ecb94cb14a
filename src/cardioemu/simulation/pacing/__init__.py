"""Pacing: what drives a cell from outside, and when it changes."""

from cardioemu.simulation.pacing.protocols import AnyProtocol, OneProtocol, Pacing

__all__ = ["AnyProtocol", "OneProtocol", "Pacing"]
