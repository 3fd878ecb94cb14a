"""Campaigns: simulate a design to a trace store, whose key is a hash of all inputs."""

import json
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from cardioemu.common.errors import UserError
from cardioemu.runtime.files import atomic_write, commit_file
from cardioemu.runtime.locks import disk_errors_as_user_error, folder_lock, permission_errors_as_user_error
from cardioemu.runtime.machine import format_bytes
from cardioemu.runtime.progress import log_message, progress_bar
from cardioemu.simulation.campaigns import campaign_folder
from cardioemu.simulation.campaigns.executor_settings import Executor
from cardioemu.simulation.campaigns.executors import dask
from cardioemu.simulation.campaigns.forecast import Forecast, make_forecast
from cardioemu.simulation.campaigns.plan import CampaignSpec, Plan, plan
from cardioemu.simulation.campaigns.shard_work import ShardTask, ShardWork, WrittenShard
from cardioemu.simulation.store import METADATA_FILE, TraceStore
from cardioemu.simulation.store.manifest import MISSING, append_entry

DISK_MARGIN = 1.1


def campaign(spec: CampaignSpec) -> TraceStore:
    """Simulate a design shard by shard, or open the trace store of the same campaign.

    Intact shards of an interrupted campaign are kept; missing, truncated or altered ones are simulated again. Failed
    cells are stored with their status. Traces that another campaign of the folder has under the same conditions are
    copied. A process that runs a campaign of another process waits until that has ended.

    Raises:
        UserError: the folder holds a foreign file, the disk is too small or not writable, or shards have failed.
    """
    planned = plan(spec)
    work, tasks = planned.work, planned.tasks
    with permission_errors_as_user_error(work.folder):
        campaign_folder.check_foreign_files(work.folder, tasks)
        faults = campaign_folder.find_faults(work.folder, work.key, [METADATA_FILE, *tasks])
    if faults:
        with disk_errors_as_user_error(work.folder), folder_lock(work.folder, "simulated"):
            # Another process may have repaired some before this one got the lock.
            faults = campaign_folder.find_faults(work.folder, work.key, faults)
            for name, fault in faults.items():
                if fault != MISSING:
                    log_message(f"{work.folder / name} {fault}; writing it again")
            if faults.pop(METADATA_FILE, None):
                with atomic_write(work.folder / METADATA_FILE) as file:
                    file.write_text(json.dumps(planned.metadata, indent=1), encoding="utf-8")
            if faults:
                _run(_with_reusable(planned, faults), [tasks[name] for name in faults], spec.executor)
    return TraceStore(work.folder)


def forecast_campaign(spec: CampaignSpec) -> Forecast | None:
    """Forecast time, disk and memory of the missing shards of a campaign; None if it is finished. Writes nothing."""
    planned = plan(spec)
    folder = planned.work.folder
    with permission_errors_as_user_error(folder):
        campaign_folder.check_foreign_files(folder, planned.tasks)
        missing = campaign_folder.find_faults(folder, planned.work.key, planned.tasks)
    if not missing:
        return None
    return make_forecast(_with_reusable(planned, missing), [planned.tasks[name] for name in missing], spec.executor)


def _with_reusable(planned: Plan, missing: Collection[str]) -> ShardWork:
    scales = np.concatenate([planned.tasks[name].scales for name in missing])
    reusable = campaign_folder.find_reusable(scales, planned.metadata["conditions"], planned.work.folder)
    return replace(planned.work, reusable=reusable)


def _run(work: ShardWork, tasks: list[ShardTask], executor: Executor) -> None:
    forecast = make_forecast(work, tasks, executor)
    log_message(str(forecast))
    if DISK_MARGIN * forecast.disk_bytes > forecast.free_bytes:
        raise UserError(
            f"data_dir: the traces need {format_bytes(forecast.disk_bytes)}, but {work.folder} has "
            f"{format_bytes(forecast.free_bytes)} free; free disk space, set another data_dir, "
            "or simulate fewer cells or a shorter time"
        )
    failed = 0
    with progress_bar(forecast.distinct, "simulate", "cell") as bar:

        def commit(written: WrittenShard) -> None:
            nonlocal failed
            append_entry(work.folder, written.entry)  # first: so every shard with its final name is in the manifest
            commit_file(written.temporary, work.folder / written.entry.shard)
            failed += written.failed
            if failed:
                bar.set_postfix(failed=failed)

        def show_progress(done: int) -> None:
            bar.update(done - bar.n)

        if executor.executor == "dask":
            dask.run(work, tasks, executor, commit, show_progress)
        else:
            _run_here(work, tasks, commit, show_progress)


def _run_here(
    work: ShardWork,
    tasks: Iterable[ShardTask],
    commit: Callable[[WrittenShard], None],
    show_progress: Callable[[int], None],
) -> None:
    """Simulate shards on the threads of this process; each is written while the next is simulated."""
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
