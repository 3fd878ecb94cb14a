"""The Dask executor: one task per shard; workers write their shards themselves (docs/decisions/0010)."""

import errno
import pickle
import socket
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any, NamedTuple

from cardioemu.common.errors import UserError
from cardioemu.runtime.files import content_key
from cardioemu.simulation.campaigns.executor_settings import Executor
from cardioemu.simulation.campaigns.executors.workers import POLL_S, Workers, connect_workers, workers_lost_error
from cardioemu.simulation.campaigns.shard_work import ShardTask, ShardWork, WrittenShard
from cardioemu.simulation.solvers import SOLVERS

if TYPE_CHECKING:
    from distributed import Client, Future

FETCH_S = 5.0
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # every other worker would get the same error


class Assignment(NamedTuple):
    """A shard that a worker simulates."""

    task: ShardTask
    worker: str
    future: "Future"


def run(
    work: ShardWork,
    tasks: Collection[ShardTask],
    executor: Executor,
    commit: Callable[[WrittenShard], None],
    show_progress: Callable[[int], None],
) -> None:
    """Simulate shards on workers that can access the folder of the campaign.

    `commit` is called in this process with every written shard, `show_progress` with the number of distinct cells
    simulated so far.

    Raises:
        UserError: there are no workers, all workers are lost, or a shard has failed more than `executor.retries` times.
        OSError: the disk is full.
    """
    done, pending, attempts, failures = 0, deque(tasks), Counter[str](), dict[str, str]()
    with connect_workers(executor, work.solver.threads or 1) as client:
        assignments = _Assignments(client, executor, work)
        while pending or assignments.running:
            assignments.assign(pending)
            for task, result in assignments.finished():
                attempts[task.name] += 1
                if isinstance(result, WrittenShard):
                    commit(result)
                    done += len(task.scales)
                    show_progress(done)
                elif attempts[task.name] <= executor.retries:
                    pending.append(task)
                else:
                    failures[task.name] = result
    if failures:
        name, reason = next(iter(failures.items()))
        raise UserError(
            f"campaign: {len(failures)} of {len(tasks)} shards failed on each of {executor.retries + 1} attempts, for "
            f"example {name} ({reason}); the other shards are kept; re-run the command to try again"
        )


class _Assignments:
    """The shards that workers simulate, one per worker thread."""

    def __init__(self, client: "Client", executor: Executor, work: ShardWork) -> None:
        self.client, self.cluster, self.workers = client, executor.cluster, Workers(client, executor)
        self.running, self.done = dict[Any, Assignment](), Queue["Future"]()
        # A task of its own: every worker fetches its result once, and it is repeated if all workers that have it die.
        self.pickled = client.submit(bytes, pickle.dumps(replace(work, folder=work.folder.absolute())), pure=False)
        self.version = _code_version(work)

    def assign(self, pending: deque[ShardTask]) -> None:
        """Assign shards to idle threads."""
        for worker in self.workers.idle(Counter(assignment.worker for assignment in self.running.values())):
            if not pending:
                return
            task = pending.popleft()
            future = self.client.submit(_simulate_shard, self.pickled, self.version, task, workers=[worker], pure=False)
            self.running[future.key] = Assignment(task, worker, future)
            future.add_done_callback(self.done.put)

    def finished(self) -> Iterator[tuple[ShardTask, WrittenShard | str]]:
        """Yield shards that have finished or whose worker is lost, with the written shard or the reason of the failure.

        Raises:
            UserError: the scheduler is lost.
            OSError: the disk is full.
        """
        with suppress(Empty):
            key = self.done.get(timeout=POLL_S).key
            if key in self.running:  # otherwise its worker was lost before, and another has the shard
                assignment = self.running.pop(key)
                yield assignment.task, _fetch(assignment, self.cluster)
        for key in [key for key, assignment in self.running.items() if assignment.worker not in self.workers.alive]:
            assignment = self.running.pop(key)
            assignment.future.cancel()
            yield assignment.task, _worker_died(assignment)


def _fetch(assignment: Assignment, cluster: str) -> WrittenShard | str:
    if assignment.future.status == "error":
        error = assignment.future.exception()
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    try:
        result: WrittenShard | OSError = assignment.future.result(timeout=FETCH_S)
    except CancelledError as error:
        raise workers_lost_error(cluster) from error
    except TimeoutError:  # the worker died after it had written the shard
        return _worker_died(assignment)
    if isinstance(result, OSError):
        raise result
    return result


def _worker_died(assignment: Assignment) -> str:
    return f"its worker {assignment.worker} died"


def _simulate_shard(pickled: bytes, version: str, task: ShardTask) -> WrittenShard | OSError:
    """Simulate and write a shard on a worker; an error that is returned, not raised, stops the campaign."""
    work = _unpickle(pickled, version)
    traces = work.traces(task.scales, work.solver.threads or 1)
    try:
        return work.write(task, traces)
    except OSError as error:
        if error.errno in DISK_FULL:
            return error
        raise


@lru_cache(maxsize=1)
def _unpickle(pickled: bytes, version: str) -> ShardWork:
    work: ShardWork = pickle.loads(pickled)
    if _code_version(work) != version:
        raise UserError(f"{socket.gethostname()} has another version of cardioemu or Myokit than this machine")
    return work


def _code_version(work: ShardWork) -> str:
    """Return a hash of the generated solver, which must be the same on all machines."""
    solver = SOLVERS[work.solver.name]
    return content_key("worker", solver=solver.VERSION, source=solver.generate(work.cell))
