"""Dask workers: those of this machine, of a scheduler that runs, or of jobs; they come and go."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from cardioemu.common.errors import UserError
from cardioemu.runtime.progress import log_message
from cardioemu.simulation.campaigns import jobs
from cardioemu.simulation.campaigns.settings import LOCAL, Executor

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

CONNECT_S, GONE_S, POLL_S = 10.0, 300.0, 1.0
# Ctrl-C reaches every process of a terminal; workers end when they are told to.
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


@contextmanager
def connect_workers(engine: Executor, threads: int) -> "Iterator[Client]":
    """Starts workers, or finds those that run, and ends what was started.

    Raises:
        UserError: workers do not start, no scheduler at that address, or the batch system refuses a job.
    """
    from distributed import Client

    # Of workers that are lost this program tells by itself; not restored, since messages of the end come late.
    for name in ("distributed", "distributed.client", "tornado", "tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        target: object = engine.cluster
        if engine.cluster in jobs.SYSTEMS:
            target = stack.enter_context(jobs.submit(engine.cluster, engine.job or {}, engine.workers or 1))
        elif engine.cluster == LOCAL:
            target = stack.enter_context(_on_this_machine(engine.processes(threads)))
        try:
            client = stack.enter_context(Client(target, timeout=CONNECT_S, set_as_default=False))
        except (OSError, ValueError, TypeError) as error:  # the last of tls:// without certificates
            raise UserError(
                f"campaign.cluster: there is no Dask scheduler at {engine.cluster} ({type(error).__name__}); "
                "start one with dask scheduler, or give another address"
            ) from error
        yield client


def _on_this_machine(workers: int) -> "LocalCluster":
    from distributed import LocalCluster

    try:
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=0,  # no pause: the forecast has told what it takes, and a worker that dies is replaced
            silence_logs=logging.CRITICAL,
            preload=[DEAF],
        )
    except RuntimeError as error:
        raise UserError(f"campaign.workers: {workers} workers could not be started here ({error})") from error


class Workers:
    """The workers of a cluster, looked for once in a while.

    Attributes:
        alive: address of each worker -> how many threads of it take work now.
    """

    def __init__(self, client: "Client", engine: Executor) -> None:
        self.client, self.cluster = client, engine.cluster
        # Where jobs have not begun yet, the end of all others is not the end.
        self.to_come = engine.processes(1) if engine.submits_jobs else 1
        self.names, self.alive, self.told = set[object](), dict[str, int](), False
        self.looked_s = self.seen_s = float("-inf")

    def free(self, busy: Mapping[str, int]) -> Iterator[str]:
        """Yields the address of a worker for each of its threads that is not busy.

        Raises:
            UserError: the scheduler has gone, or all workers for longer than GONE_S.
        """
        if time.monotonic() - self.looked_s >= POLL_S:
            self._look()
        for address, threads in self.alive.items():
            yield from [address] * (threads - busy.get(address, 0))

    def _look(self) -> None:
        try:
            found = self.client.sync(self.client.scheduler.identity, n_workers=-1)["workers"]
        except (OSError, RuntimeError) as error:
            raise workers_lost_error(self.cluster) from error
        self.alive = {address: w["nthreads"] * (w["status"] == "running") for address, w in found.items()}
        self.names |= {w["name"] for w in found.values()}
        self.looked_s = time.monotonic()
        if self.alive:
            self.seen_s, self.told = self.looked_s, False
        elif len(self.names) >= self.to_come and self.looked_s - self.seen_s > GONE_S:
            raise workers_lost_error(self.cluster)
        elif not self.told:
            log_message(f"waiting for the workers of {self.cluster}")
            self.told = True


def workers_lost_error(cluster: str) -> UserError:
    """Returns what is said where nobody works any more."""
    return UserError(
        f"campaign.cluster: the workers of {cluster} are gone; what is finished is kept: run the same command again"
    )
