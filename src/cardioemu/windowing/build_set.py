"""Cutting the windows of a whole trace store, shard by shard, on all cores."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from cardioemu.common.arrays import CellWindows
from cardioemu.common.errors import UserError
from cardioemu.runtime.files import atomic_write, content_key
from cardioemu.runtime.locks import disk_errors_as_user_error, folder_lock, permission_errors_as_user_error
from cardioemu.runtime.machine import available_cores, format_bytes, free_disk
from cardioemu.runtime.progress import progress_bar
from cardioemu.simulation import TraceStore
from cardioemu.windowing import shards
from cardioemu.windowing.cycle import CycleRule
from cardioemu.windowing.extract import extract_windows
from cardioemu.windowing.positions import WindowPositions
from cardioemu.windowing.rule import WindowRule
from cardioemu.windowing.window_set import CELLS, WINDOWS, WindowSet

# Raise it when the same traces and rule give other windows.
VERSION = 6
Rule = WindowRule | CycleRule
COLUMNS = {
    "cell": "int64",
    "outcome": "str",
    "shard": "str",
    "row": "Int64",
    **dict.fromkeys(WindowPositions._fields, "object"),
}
NOWHERE = WindowPositions(
    *[np.empty(0)] * len(WindowPositions._fields)
)  # with a type, so that shards without windows have their columns


def build_window_set(store: TraceStore, rule: Rule, folder: Path) -> WindowSet:
    """Cuts the windows of every cell of a trace store, or opens the set cut before by the same rule.

    Shards that an interrupted cut has finished are kept; those that are torn or gone are cut again. Memory holds the
    traces of about 1 MB of a shard, and the windows of one cell, for each core.

    Args:
        store: the traces.
        rule: how windows are cut, or cycles registered.
        folder: where window sets are kept; this one is in a folder named by its key.

    Raises:
        UserError: the disk is too small or refuses, or a shard of the traces is damaged.
    """
    kind = "cycles" if isinstance(rule, CycleRule) else "windows"
    key = content_key(f"{kind} {VERSION}", traces=store.key, rule=asdict(rule))
    here = folder / key
    with permission_errors_as_user_error(here):
        missing = _missing(store, here)
    if missing:
        with disk_errors_as_user_error(here), folder_lock(here, "cut"):
            if missing := _missing(store, here):  # the one who held it may have cut them
                _check_room(store, rule, here, missing)
                _cut_all(store, rule, here, missing)
    return WindowSet(here, store.scaled, key)


def _missing(store: TraceStore, here: Path) -> list[Path]:
    return [shard for shard in store.shards if not _finished(here, shard.stem)]


def _finished(here: Path, name: str) -> bool:
    cells, windows = _files(here, name)
    return cells.exists() and shards.is_complete(windows)


def _check_room(store: TraceStore, rule: Rule, here: Path, missing: Sequence[Path]) -> None:
    fire = int(store.cells(missing)["label"].eq("fires").sum())
    needed, free = fire * shards.size_of(rule.count, rule.output_samples), free_disk(here)
    if needed > free:
        raise UserError(
            f"data_dir: the windows will take {format_bytes(needed)}, but {here} has {format_bytes(free)} free; make room, "
            "give another data_dir, or cut fewer windows (windowing.count) of fewer points (windowing.samples)"
        )


def _cut_all(store: TraceStore, rule: Rule, here: Path, missing: Sequence[Path]) -> None:
    tasks = (delayed(_cut_shard)(store, shard, rule, here) for shard in missing)
    cells = sum(store.entries[shard.name].rows for shard in missing)
    with progress_bar(cells, "window", "cell") as bar:
        for done in Parallel(min(available_cores(), len(missing)), return_as="generator_unordered")(tasks):
            bar.update(done)


def _cut_shard(store: TraceStore, shard: Path, rule: Rule, here: Path) -> int:
    cells, windows = _files(here, shard.stem)
    outcomes: list[dict[str, object]] = []

    def windowed() -> Iterator[CellWindows]:
        row = 0
        for cell, trace in store.traces(shard):
            found = extract_windows(trace, rule, cell)
            outcomes.append({"cell": cell, "outcome": found.outcome, **(found.places or NOWHERE)._asdict()})
            if found.windows is not None:
                outcomes[-1] |= {"shard": shard.stem, "row": row}
                row += 1
                yield found.windows

    shards.write(windows, windowed(), rule.count, rule.output_samples)
    table = pd.DataFrame(outcomes, columns=list(COLUMNS)).astype(COLUMNS)
    # The table comes last: windows without it are those of an interrupted cut.
    with atomic_write(cells) as temporary:
        store.cells([shard]).merge(table, on="cell", validate="one_to_one").to_parquet(temporary)
    return len(table)


def _files(here: Path, name: str) -> tuple[Path, Path]:
    return here / CELLS / f"{name}.parquet", here / WINDOWS / f"{name}.npy"
