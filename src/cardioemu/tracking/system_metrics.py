"""What a run takes of its machine, beside its other curves."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

from cardioemu.tracking.run import Run

INTERVAL_S = 10.0


@contextmanager
def system_metrics(run: Run) -> Iterator[None]:
    """Records cores, memory, disk, network and GPUs while the block runs: every ten seconds, and once at its end.

    The measuring is MLflow's. Its thread, though, asks MLflow at every turn whether the run still runs, and ends when
    it gets no answer; this one hands what it measured to the run, which keeps it.
    """
    monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    with suppress(ImportError, RuntimeError):  # no GPU here
        monitors.append(GPUMonitor())
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(INTERVAL_S):
            _record(run, monitors)

    thread = threading.Thread(target=watch, name="system metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _record(run, monitors)


def _record(run: Run, monitors: list[Any]) -> None:
    found: dict[str, float] = {}
    for monitor in monitors:
        monitor.collect_metrics()
        found |= {f"system/{name}": value for name, value in monitor.aggregate_metrics().items()}
        monitor.clear_metrics()
    # Seconds of the day's clock as steps go on where a resumed run was.
    run.metrics(found, step=int(time.time()))
