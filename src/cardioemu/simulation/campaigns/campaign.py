"""A campaign: one run of a design to a trace store, kept under a key of everything that determines it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError
from cardioemu.runtime.locks import disk_errors_as_user_error, folder_lock, permission_errors_as_user_error
from cardioemu.runtime.progress import log_message, progress_bar
from cardioemu.simulation.campaigns import folder as folders
from cardioemu.simulation.campaigns.executors import EXECUTORS
from cardioemu.simulation.campaigns.forecast import Forecast, check_room, forecast
from cardioemu.simulation.campaigns.plan import plan
from cardioemu.simulation.campaigns.reuse import find_reusable
from cardioemu.simulation.campaigns.settings import Executor, SolverSettings
from cardioemu.simulation.campaigns.work import CampaignSpec, ShardTask, WrittenShard
from cardioemu.simulation.cell import Cell
from cardioemu.simulation.store import TraceStore
from cardioemu.simulation.store.manifest import MISSING
from cardioemu.simulation.store.store import FACTS


def campaign(
    cell: Cell,
    scales: Scales,
    duration_ms: float | int,
    solver: SolverSettings,
    folder: Path,
    engine: Executor | None = None,
    record: Sequence[str] = (),
    transient_ms: float | int = 0.0,
) -> TraceStore:
    """Simulates a design shard by shard, or opens the trace store of the same campaign.

    Finished shards of an interrupted campaign are kept if they still have their checksum; those that are torn, altered
    or gone are simulated again. Cells that fail are stored with their status. Cells that another campaign of the folder
    has under the same conditions are copied from its store. Another process that asks for the same campaign waits until
    this one has ended.

    Args:
        cell: the cell model.
        scales: the design (cells, scaled); equal rows are simulated once.
        duration_ms: length of every trace.
        solver: which solver, how accurately.
        folder: where trace stores are kept; this one is in `NAME-KEY` below it.
        engine: where the work is done; None: in this process.
        record: states and variables to keep beside V.
        transient_ms: how long each cell is simulated before its trace begins; nothing is kept of it.

    Raises:
        UserError: something foreign lies in the folder, the disk is too small or refuses, or shards have failed.
    """
    work, shards, facts = plan(cell, scales, duration_ms, solver, record, folder, transient_ms)
    with permission_errors_as_user_error(work.folder):
        folders.check_foreign_files(work.folder, shards)
        faults = folders.check_integrity(work.folder, work.key, [FACTS, *shards])
    if faults:
        with disk_errors_as_user_error(work.folder), folder_lock(work.folder, "simulated"):
            faults = folders.check_integrity(work.folder, work.key, faults)  # the one who held it may have mended them
            for name in (name for name, fault in faults.items() if fault != MISSING):
                log_message(f"{work.folder / name} {faults[name]}; making it again")
            if faults.pop(FACTS, None):
                folders.write_metadata(work.folder, facts)
            if faults:
                missing = [shards[name] for name in faults]
                _run(_with_known(work, missing, facts), missing, engine or Executor())
    return TraceStore(work.folder)


def forecast_campaign(
    cell: Cell,
    scales: Scales,
    duration_ms: float | int,
    solver: SolverSettings,
    folder: Path,
    engine: Executor,
    record: Sequence[str] = (),
    transient_ms: float | int = 0.0,
) -> Forecast | None:
    """Reckons what a campaign would take, from here on if it was begun before; None if it is finished.

    Writes nothing; see `campaign` for the arguments.
    """
    work, shards, facts = plan(cell, scales, duration_ms, solver, record, folder, transient_ms)
    with permission_errors_as_user_error(work.folder):
        folders.check_foreign_files(work.folder, shards)
        missing = [shards[name] for name in folders.check_integrity(work.folder, work.key, shards)]
    return forecast(_with_known(work, missing, facts), missing, engine) if missing else None


def _with_known(work: CampaignSpec, missing: list[ShardTask], facts: dict[str, Any]) -> CampaignSpec:
    scales = [shard.scales for shard in missing]
    return (
        replace(work, known=find_reusable(np.concatenate(scales), facts["conditions"], work.folder))
        if missing
        else work
    )


def _run(work: CampaignSpec, shards: list[ShardTask], engine: Executor) -> None:
    ahead = forecast(work, shards, engine)
    log_message(str(ahead))
    check_room(ahead, work.folder)
    failed = 0
    with progress_bar(ahead.distinct, "simulate", "cell") as bar:

        def finished(written: WrittenShard) -> None:
            nonlocal failed
            folders.commit(work.folder, written)
            failed += written.failed
            if failed:
                bar.set_postfix(failed=failed)

        def progress(done: int) -> None:
            bar.update(done - bar.n)

        lost = EXECUTORS[engine.executor](work, shards, engine, finished, progress)
    if lost:
        name, reason = next(iter(lost.items()))
        raise UserError(
            f"{len(lost)} of {len(shards)} shards could not be simulated, the first is {name} ({reason}); "
            "the others are kept: run the same command again"
        )
