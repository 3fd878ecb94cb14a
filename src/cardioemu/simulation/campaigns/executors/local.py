"""The local executor: shards one after another, on the threads of this process."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from cardioemu.simulation.campaigns.shard_work import ShardTask, ShardWork, WrittenShard


def run(
    work: ShardWork,
    tasks: Iterable[ShardTask],
    commit: Callable[[WrittenShard], None],
    show_progress: Callable[[int], None],
) -> None:
    """Simulate shards as `dask.run` does; each is written while the next is simulated."""
    done = 0
    writing: list[Future[WrittenShard]] = []

    def show_shard_progress(cells: int) -> None:
        show_progress(done + cells)

    with ThreadPoolExecutor(1) as writer:
        try:
            for task in tasks:
                traces = work.traces(task.scales, work.solver.threads, show_shard_progress)
                done += len(traces)
                _commit_all(writing, commit)
                writing.append(writer.submit(work.write, task, traces))
        finally:  # Ctrl-C must not lose a simulated shard
            _commit_all(writing, commit)


def _commit_all(writing: list[Future[WrittenShard]], commit: Callable[[WrittenShard], None]) -> None:
    while writing:
        commit(writing.pop().result())
