"""MLflow's user interface on a database file."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from mlflow import MlflowClient

from cardioemu.common.errors import UserError
from cardioemu.tracking.failures import FAILURES
from cardioemu.tracking.views import page, save_views

HOST = "127.0.0.1"


def serve_ui(database: Path, port: int) -> None:
    """Serve MLflow's user interface to this machine only, until Ctrl-C.

    Raises:
        UserError: the database does not exist, or the port is in use.
    """
    if not database.is_file():
        raise UserError(
            f"database: got {database}, which does not exist; run cardioemu train first, change to the folder of the "
            "runs, or set database=FILE"
        )
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise UserError(f"port: got {port}, which is in use; set another, as in port={port + 1}")
    store = f"sqlite:///{database.resolve()}"
    print(f"runs: http://{HOST}:{port}/{_runs_page(store)}", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store, "--host", HOST, "--port", str(port)]
    subprocess.run(command, env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}, check=False)


def _runs_page(store: str) -> str:
    """Return the table of runs of the experiment that was used last."""
    try:
        client = MlflowClient(store)
        (experiment,) = client.search_experiments(order_by=["last_update_time DESC"], max_results=1)
        save_views(client, experiment)
        return page(experiment.experiment_id)
    except (*FAILURES, ValueError):  # MLflow itself prints what is wrong with the database
        return ""
