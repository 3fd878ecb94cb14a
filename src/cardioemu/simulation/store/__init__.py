"""The trace store on disk: shards, manifest."""

from cardioemu.simulation.store.store import TraceStore

__all__ = ["TraceStore"]
