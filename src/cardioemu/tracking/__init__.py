"""Tracking: everything that knows MLflow."""

import os

# A run sends nothing to anyone; MLflow reads this when it is first imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# What a server does not take soon waits on disk, and training goes on: by itself MLflow would try for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

from cardioemu.tracking.backends import Server, Sqlite
from cardioemu.tracking.outbox import SWEEPS, pending_folders
from cardioemu.tracking.provenance import job_key
from cardioemu.tracking.run import Run
from cardioemu.tracking.tracking import Tracking, parent_reference

__all__ = ["SWEEPS", "Run", "Server", "Sqlite", "Tracking", "job_key", "parent_reference", "pending_folders"]
