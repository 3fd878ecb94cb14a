"""Records of runs in MLflow; the only room that imports it."""

import os

# MLflow reads these when it is first imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# By default MLflow retries for minutes; here records are kept on disk after two short attempts.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

from cardioemu.tracking.backends import Server, Sqlite
from cardioemu.tracking.outbox import SWEEPS, pending_folders
from cardioemu.tracking.provenance import job_key
from cardioemu.tracking.run import Run
from cardioemu.tracking.summary import format_summary, format_table
from cardioemu.tracking.tracking import Tracking, parent_reference

__all__ = [
    "SWEEPS",
    "Run",
    "Server",
    "Sqlite",
    "Tracking",
    "format_summary",
    "format_table",
    "job_key",
    "parent_reference",
    "pending_folders",
]
