"""A campaign: one run of a design to a trace store, kept under a key of everything that determines it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError
from cardioemu.runtime.locks import held, readable, writable
from cardioemu.runtime.progress import progress_bar, tell
from cardioemu.simulation.campaigns import folder as folders
from cardioemu.simulation.campaigns.executors import ENGINES
from cardioemu.simulation.campaigns.forecast import Forecast, check_room, forecast
from cardioemu.simulation.campaigns.plan import plan
from cardioemu.simulation.campaigns.reuse import find
from cardioemu.simulation.campaigns.settings import Engine, Solver
from cardioemu.simulation.campaigns.work import Shard, Work, Written
from cardioemu.simulation.cell import Cell
from cardioemu.simulation.store import TraceStore
from cardioemu.simulation.store.manifest import MISSING
from cardioemu.simulation.store.store import FACTS


def campaign(
    cell: Cell,
    scales: Scales,
    duration_ms: float | int,
    solver: Solver,
    folder: Path,
    engine: Engine | None = None,
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
    with readable(work.folder):
        folders.refuse_foreign(work.folder, shards)
        faults = folders.faults(work.folder, work.key, [FACTS, *shards])
    if faults:
        with writable(work.folder), held(work.folder, "simulated"):
            faults = folders.faults(work.folder, work.key, faults)  # the one who held it may have mended them
            for name in (name for name, fault in faults.items() if fault != MISSING):
                tell(f"{work.folder / name} {faults[name]}; making it again")
            if faults.pop(FACTS, None):
                folders.write_facts(work.folder, facts)
            if faults:
                missing = [shards[name] for name in faults]
                _run(_with_known(work, missing, facts), missing, engine or Engine())
    return TraceStore(work.folder)


def expected(
    cell: Cell,
    scales: Scales,
    duration_ms: float | int,
    solver: Solver,
    folder: Path,
    engine: Engine,
    record: Sequence[str] = (),
    transient_ms: float | int = 0.0,
) -> Forecast | None:
    """Reckons what a campaign would take, from here on if it was begun before; None if it is finished.

    Writes nothing; see `campaign` for the arguments.
    """
    work, shards, facts = plan(cell, scales, duration_ms, solver, record, folder, transient_ms)
    with readable(work.folder):
        folders.refuse_foreign(work.folder, shards)
        missing = [shards[name] for name in folders.faults(work.folder, work.key, shards)]
    return forecast(_with_known(work, missing, facts), missing, engine) if missing else None


def _with_known(work: Work, missing: list[Shard], facts: dict[str, Any]) -> Work:
    scales = [shard.scales for shard in missing]
    return replace(work, known=find(np.concatenate(scales), facts["conditions"], work.folder)) if missing else work


def _run(work: Work, shards: list[Shard], engine: Engine) -> None:
    ahead = forecast(work, shards, engine)
    tell(str(ahead))
    check_room(ahead, work.folder)
    failed = 0
    with progress_bar(ahead.distinct, "simulate", "cell") as bar:

        def finished(written: Written) -> None:
            nonlocal failed
            folders.commit(work.folder, written)
            failed += written.failed
            if failed:
                bar.set_postfix(failed=failed)

        def progress(done: int) -> None:
            bar.update(done - bar.n)

        lost = ENGINES[engine.engine](work, shards, engine, finished, progress)
    if lost:
        name, reason = next(iter(lost.items()))
        raise UserError(
            f"{len(lost)} of {len(shards)} shards could not be simulated, the first is {name} ({reason}); "
            "the others are kept: run the same command again"
        )
