"""Pacing: external inputs of a cell and the times at which they change."""

from cardioemu.simulation.pacing.protocols import AnyProtocol, OneProtocol, Pacing

__all__ = ["AnyProtocol", "OneProtocol", "Pacing"]
