"""Tracking: everything that knows MLflow."""

import os

# A run sends nothing to anyone; MLflow reads this when it is first imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from cardioemu.tracking.tracking import Run, Tracking, flat

__all__ = ["Run", "Tracking", "flat"]
