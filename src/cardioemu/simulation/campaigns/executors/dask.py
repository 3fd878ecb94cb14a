"""The shards of a campaign on Dask workers, one shard per task: traces are written where they are made."""

import errno
import pickle
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any, NamedTuple

from cardioemu.common.errors import UserError
from cardioemu.runtime.files import content_key
from cardioemu.simulation.campaigns.executors.workers import POLL_S, Workers, connect_workers, workers_lost_error
from cardioemu.simulation.campaigns.settings import Executor
from cardioemu.simulation.campaigns.work import CampaignSpec, ShardTask, WrittenShard
from cardioemu.simulation.solvers import SOLVERS

if TYPE_CHECKING:
    from distributed import Client, Future

FETCH_S = 5.0
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # what every other worker would find as well


class Task(NamedTuple):
    """A shard that a worker was given."""

    shard: ShardTask
    worker: str
    future: "Future"


def run(
    work: CampaignSpec,
    shards: Iterable[ShardTask],
    engine: Executor,
    finished: Callable[[WrittenShard], None],
    progress: Callable[[int], None],
) -> dict[str, str]:
    """Simulates shards on workers that see the campaign's folder.

    Args:
        work: what all of them share.
        shards: the shards to simulate.
        engine: which workers, and how often a shard is tried again.
        finished: called in this process with every shard that is written.
        progress: called with the number of distinct cells simulated so far.

    Returns:
        Name of each shard that could not be simulated -> why.

    Raises:
        UserError: no workers, or none any more.
        OSError: the disk is full.
    """
    done, waiting, failures, lost = 0, deque(shards), Counter[str](), dict[str, str]()
    with connect_workers(engine, work.solver.threads or 1) as client:
        tasks = _Tasks(client, engine, work)
        while waiting or tasks.out:
            tasks.hand_out(waiting)
            for shard, outcome in tasks.ended():
                if isinstance(outcome, WrittenShard):
                    finished(outcome)
                    done += len(shard.scales)
                    progress(done)
                elif failures[shard.name] < engine.retries:
                    failures[shard.name] += 1
                    waiting.append(shard)
                else:
                    lost[shard.name] = f"{outcome}, the last of {engine.retries + 1} times"
    return lost


class _Tasks:
    """The shards that workers have: one for each of their threads.

    Each is given to a worker by name. The scheduler would place it behind others, and a worker that dies would be
    blamed on those that only waited there.
    """

    def __init__(self, client: "Client", engine: Executor, work: CampaignSpec) -> None:
        self.client, self.cluster, self.workers = client, engine.cluster, Workers(client, engine)
        self.out, self.over = dict[Any, Task](), Queue["Future"]()
        # A task of its own, whose result every worker fetches once, and which is made again if all who have it die.
        self.sent = client.submit(bytes, pickle.dumps(replace(work, folder=work.folder.absolute())), pure=False)
        self.version = _version(work)

    def hand_out(self, waiting: deque[ShardTask]) -> None:
        """Gives shards to the threads that have none."""
        for worker in self.workers.free(Counter(task.worker for task in self.out.values())):
            if not waiting:
                return
            shard = waiting.popleft()
            future = self.client.submit(_simulated, self.sent, self.version, shard, workers=[worker], pure=False)
            self.out[future.key] = Task(shard, worker, future)
            future.add_done_callback(self.over.put)

    def ended(self) -> Iterator[tuple[ShardTask, WrittenShard | str]]:
        """Yields shards that are over, or whose worker is, each with what was written or why nothing was.

        Raises:
            UserError: the scheduler has gone.
            OSError: the disk is full.
        """
        with suppress(Empty):
            key = self.over.get(timeout=POLL_S).key
            if key in self.out:  # or else its worker was lost before, and another has the shard
                task = self.out.pop(key)
                yield task.shard, _outcome(task, self.cluster)
        for key in [key for key, task in self.out.items() if task.worker not in self.workers.alive]:
            task = self.out.pop(key)
            task.future.cancel()
            yield task.shard, _died(task)


def _outcome(task: Task, cluster: str) -> WrittenShard | str:
    if task.future.status == "error":
        error = task.future.exception()
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    try:
        result: WrittenShard | OSError = task.future.result(timeout=FETCH_S)
    except CancelledError as error:
        raise workers_lost_error(cluster) from error
    except TimeoutError:  # between writing the shard and telling of it
        return _died(task)
    if isinstance(result, OSError):
        raise result
    return result


def _died(task: Task) -> str:
    return f"its worker {task.worker} died"


def _simulated(sent: bytes, version: str, shard: ShardTask) -> WrittenShard | OSError:
    """What a worker does; an error that is returned, not raised, stops the campaign."""
    work = _received(sent, version)
    traces = work.traces(shard.scales, work.solver.threads or 1)
    try:
        return work.write(shard, traces)
    except OSError as error:
        if error.errno in FULL:
            return error
        raise


@lru_cache(maxsize=1)
def _received(sent: bytes, version: str) -> CampaignSpec:
    work = pickle.loads(sent)
    assert isinstance(work, CampaignSpec)
    if _version(work) != version:
        raise UserError(f"{socket.gethostname()} has another version of cardioemu or Myokit than this machine")
    return work


def _version(work: CampaignSpec) -> str:
    """Returns a hash of what another version of the code would change: all machines must give the same traces."""
    solver = SOLVERS[work.solver.name]
    return content_key("worker", solver=solver.VERSION, source=solver.generate(work.cell))
