"""Runs whose process was killed: MLflow shows them as running, and no process is left to end them."""

import socket

from mlflow import MlflowClient
from mlflow.entities import Run

from cardioemu.runtime.machine import process_exists, process_identity

HOST, PROCESS = "process.host", "process"
HEARTBEAT = "system/system_memory_usage_megabytes"


def process_tags() -> dict[str, str]:
    """Return tags that identify this process."""
    return {HOST: socket.gethostname(), PROCESS: process_identity()}


def close_stale_runs(client: MlflowClient, experiment_id: str) -> None:
    """End the running runs of this host whose process no longer exists, as killed at the time of their last metric."""
    running = f"attributes.status = 'RUNNING' and tags.`{HOST}` = '{socket.gethostname()}'"
    for run in client.search_runs([experiment_id], running):
        if not process_exists(run.data.tags[PROCESS]):
            client.set_terminated(run.info.run_id, "KILLED", _last_metric_ms(client, run))


def _last_metric_ms(client: MlflowClient, run: Run) -> int:
    key = HEARTBEAT if HEARTBEAT in run.data.metrics else next(iter(run.data.metrics), None)
    history = client.get_metric_history(run.info.run_id, key) if key else []
    return max([run.info.start_time, *(metric.timestamp for metric in history)])
