"""Dask workers of this machine, of a running scheduler, or of batch jobs."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from cardioemu.common.errors import UserError
from cardioemu.runtime.progress import log_message
from cardioemu.simulation.campaigns.cluster_jobs import SYSTEMS, submit
from cardioemu.simulation.campaigns.executor_settings import LOCAL, Executor

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

CONNECT_S, LOST_S, POLL_S = 10.0, 300.0, 1.0
# Ctrl-C in a terminal reaches every process; the client stops the workers.
IGNORE_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


@contextmanager
def connect_workers(executor: Executor, threads: int) -> "Iterator[Client]":
    """Start workers or connect to running ones; stop those that were started.

    Raises:
        UserError: workers do not start, there is no scheduler at the address, or the batch system refuses a job.
    """
    from distributed import Client

    # The campaign reports lost workers itself. The levels are not restored because Dask logs after it has closed.
    for name in ("distributed", "distributed.client", "tornado", "tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        target: object = executor.cluster
        if executor.cluster in SYSTEMS:
            target = stack.enter_context(submit(executor.cluster, executor.job or {}, executor.workers or 1))
        elif executor.cluster == LOCAL:
            target = stack.enter_context(_start_local_cluster(executor.processes(threads)))
        try:
            client = stack.enter_context(Client(target, timeout=CONNECT_S, set_as_default=False))
        except (OSError, ValueError, TypeError) as error:  # TypeError: tls:// without certificates
            raise UserError(
                f"campaign.cluster: there is no Dask scheduler at {executor.cluster} ({type(error).__name__}); "
                "start one with `dask scheduler`, or set another address"
            ) from error
        yield client


def _start_local_cluster(workers: int) -> "LocalCluster":
    from distributed import LocalCluster

    try:
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=0,  # workers never pause; the forecast has reported their memory
            silence_logs=logging.CRITICAL,
            preload=[IGNORE_CTRL_C],
        )
    except RuntimeError as error:
        raise UserError(f"campaign.workers: {workers} workers could not be started here ({error})") from error


class Workers:
    """The workers of a cluster, polled every POLL_S: `alive` has the number of threads that accept work by address."""

    def __init__(self, client: "Client", executor: Executor) -> None:
        self.client, self.cluster = client, executor.cluster
        # While batch jobs are queued, the loss of all other workers does not end the campaign.
        self.expected = executor.processes(1) if executor.submits_jobs else 1
        self.names, self.alive, self.wait_logged = set[object](), dict[str, int](), False
        self.polled_s = self.last_alive_s = float("-inf")

    def idle(self, busy: Mapping[str, int]) -> Iterator[str]:
        """Yield the address of a worker for each of its threads that is not busy.

        Raises:
            UserError: the scheduler is lost, or all workers have been lost for more than LOST_S.
        """
        if time.monotonic() - self.polled_s >= POLL_S:
            self._poll()
        for address, threads in self.alive.items():
            yield from [address] * (threads - busy.get(address, 0))

    def _poll(self) -> None:
        try:
            workers = self.client.sync(self.client.scheduler.identity, n_workers=-1)["workers"]
        except (OSError, RuntimeError) as error:
            raise workers_lost_error(self.cluster) from error
        self.alive = {address: w["nthreads"] * (w["status"] == "running") for address, w in workers.items()}
        self.names |= {worker["name"] for worker in workers.values()}
        self.polled_s = time.monotonic()
        if self.alive:
            self.last_alive_s, self.wait_logged = self.polled_s, False
        elif len(self.names) >= self.expected and self.polled_s - self.last_alive_s > LOST_S:
            raise workers_lost_error(self.cluster)
        elif not self.wait_logged:
            log_message(f"waiting for the workers of {self.cluster}")
            self.wait_logged = True


def workers_lost_error(cluster: str) -> UserError:
    """Return the error for a campaign without workers."""
    return UserError(
        f"campaign.cluster: all workers of {cluster} are lost; finished shards are kept; re-run the command to resume"
    )
