"""Use of cores, memory, disk, network and GPUs by a run."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

from cardioemu.tracking.run import Run

INTERVAL_S = 10.0


@contextmanager
def system_metrics(run: Run) -> Iterator[None]:
    """Record the use of the machine while the block runs: every ten seconds, and once at its end.

    The monitors are MLflow's. MLflow's own thread is not used: it asks the server in each cycle whether the run is
    active, and stops when it gets no answer.
    """
    monitors: list[BaseMetricsMonitor] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    with suppress(ImportError, RuntimeError):  # no GPU
        monitors.append(GPUMonitor())
    is_over = threading.Event()

    def record() -> None:
        is_last = False
        while not is_last:
            is_last = is_over.wait(INTERVAL_S)
            values: dict[str, float] = {}
            for monitor in monitors:
                monitor.collect_metrics()
                values.update({f"system/{name}": value for name, value in monitor.aggregate_metrics().items()})
                monitor.clear_metrics()
            run.metrics(values, step=int(time.time()))  # seconds of the clock as steps continue in a resumed run

    thread = threading.Thread(target=record, name="system metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
