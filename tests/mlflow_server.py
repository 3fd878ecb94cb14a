"""A real MLflow server of a team: PostgreSQL behind it, artifacts through it. Both are found on a Debian machine."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

BINARIES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
NOBODY = ["runuser", "-u", "nobody", "--"] if os.getuid() == 0 else []  # PostgreSQL does not run as root
ENVIRONMENT = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def postgresql(folder):
    """Yields the address of an empty database."""
    if BINARIES is None or (NOBODY and not shutil.which("runuser")):
        pytest.skip("PostgreSQL is not installed")
    data, port = folder / "postgresql", free_port()
    data.mkdir()
    if NOBODY:
        shutil.chown(data, "nobody")
        for outer in [folder, *folder.parents][:-2]:  # pytest's folders are for their owner alone
            outer.chmod(outer.stat().st_mode | 0o011)
    control = [*NOBODY, str(BINARIES / "pg_ctl"), "-D", str(data), "-w", "-s", "-l", str(data / "log")]
    run([*NOBODY, str(BINARIES / "initdb"), "-D", str(data), "-U", "mlflow", "-A", "trust", "--no-sync"])
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1 -c fsync=off"
    run([*control, "-o", options, "start"])
    try:
        yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
    finally:
        run([*control, "-m", "immediate", "stop"])


def run(command):
    result = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert result.returncode == 0, result.stdout + result.stderr


def wait_until_up(url, process, log, seconds=120):
    """Waits until a server of MLflow answers; it must live until then."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)
    raise AssertionError(log.read_text())


class Server:
    """An MLflow server that can be killed and started again."""

    def __init__(self, store, folder):
        self.port, self.folder = free_port(), folder
        self.uri = f"http://127.0.0.1:{self.port}"
        self.command = [
            *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--workers", "1"),
            *("--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(self.port)),
        ]

    def start(self):
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=ENVIRONMENT, cwd=self.folder, start_new_session=True
            )
        wait_until_up(f"{self.uri}/health", self.process, self.folder / "server.log")

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
