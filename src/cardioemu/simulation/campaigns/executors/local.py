"""The shards of a campaign one after another, on the threads of this process."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from cardioemu.simulation.campaigns.settings import Executor
from cardioemu.simulation.campaigns.work import CampaignSpec, ShardTask, WrittenShard


def run(
    work: CampaignSpec,
    shards: Iterable[ShardTask],
    engine: Executor,
    finished: Callable[[WrittenShard], None],
    progress: Callable[[int], None],
) -> dict[str, str]:
    """Simulates shards; while one is written, the next is simulated already.

    Args:
        work: what all of them share.
        shards: the shards to simulate.
        engine: nothing of it matters here.
        finished: called with every shard that is written.
        progress: called now and then with the number of distinct cells simulated so far.

    Returns:
        An empty mapping: an error that stops a shard is raised.
    """
    done = 0
    writing: list[Future[WrittenShard]] = []

    def of_shard(cells: int) -> None:
        progress(done + cells)

    with ThreadPoolExecutor(1) as writer:
        try:
            for shard in shards:
                traces = work.traces(shard.scales, work.solver.threads, of_shard)
                done += len(traces)
                _settle(writing, finished)
                writing.append(writer.submit(work.write, shard, traces))
        finally:  # a stop, too, keeps what is simulated
            _settle(writing, finished)
    return {}


def _settle(writing: list[Future[WrittenShard]], finished: Callable[[WrittenShard], None]) -> None:
    while writing:
        finished(writing.pop().result())
