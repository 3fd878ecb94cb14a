"""Runs whose process was killed: MLflow still calls them running, and nobody else would end them."""

import socket

from mlflow import MlflowClient
from mlflow.entities import Run

from cardioemu.runtime.machine import process_exists, process_identity

HOST, PROCESS = "process.host", "process"
HEARTBEAT = "system/system_memory_usage_megabytes"


def process_tags() -> dict[str, str]:
    """Returns tags by which this process can be found again."""
    return {HOST: socket.gethostname(), PROCESS: process_identity()}


def close_stale_runs(client: MlflowClient, experiment_id: str) -> None:
    """Ends the runs of this machine that are said to run and whose process is gone, as killed when last heard of."""
    running = f"attributes.status = 'RUNNING' and tags.`{HOST}` = '{socket.gethostname()}'"
    for run in client.search_runs([experiment_id], running):
        if not process_exists(run.data.tags[PROCESS]):
            client.set_terminated(run.info.run_id, "KILLED", _last_heard_ms(client, run))


def _last_heard_ms(client: MlflowClient, run: Run) -> int:
    key = HEARTBEAT if HEARTBEAT in run.data.metrics else next(iter(run.data.metrics), None)
    history = client.get_metric_history(run.info.run_id, key) if key else []
    return max([run.info.start_time, *(metric.timestamp for metric in history)])
