"""MLflow's user interface on a database file."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from cardioemu.common.errors import UserError

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
    print(f"runs: http://{HOST}:{port}/#/experiments/1/runs?workflowType=machine_learning", flush=True)
    store = f"sqlite:///{database.resolve()}"
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store, "--host", HOST, "--port", str(port)]
    subprocess.run(command, env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}, check=False)
