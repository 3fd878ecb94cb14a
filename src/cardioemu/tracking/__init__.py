"""Tracking: everything that knows MLflow."""

from cardioemu.tracking.tracking import Run, Tracking, flat

__all__ = ["Run", "Tracking", "flat"]
