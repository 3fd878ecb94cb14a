"""Extraction of the windows of a whole trace store, shard by shard, on all cores."""

from collections.abc import Collection, Iterator, Sequence
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
from cardioemu.windowing.cycle import CycleRule
from cardioemu.windowing.extract import extract_windows
from cardioemu.windowing.positions import WindowPositions
from cardioemu.windowing.rule import WindowRule
from cardioemu.windowing.shards import DTYPE, is_complete, write_shard
from cardioemu.windowing.window_set import CELLS, WINDOWS, WindowSet

# Increase it when the same traces and rule give other windows.
VERSION = 6
Rule = WindowRule | CycleRule
COLUMNS = {
    "cell": "int64",
    "outcome": "str",
    "shard": "str",
    "row": "Int64",
    **dict.fromkeys(WindowPositions._fields, "object"),
}
# Typed, so that the table of a shard without windows has the columns of the others.
NO_POSITIONS = WindowPositions(*[np.empty(0)] * len(WindowPositions._fields))


def build_window_set(store: TraceStore, rule: Rule, folder: Path) -> WindowSet:
    """Extract the windows of every cell of a trace store, or open the set extracted earlier by the same rule.

    After an interruption, complete shards are kept; incomplete and missing ones are extracted again. Each core holds
    about 1 MB of traces and the windows of one cell in memory.

    Args:
        store: the traces.
        rule: how windows are extracted, or cycles registered.
        folder: of all window sets; each set is in a folder named by its key.

    Raises:
        UserError: a conductance has the name of a column, the disk is full or not writable, or a shard of the traces is
            damaged.
    """
    check_column_names(store.scaled)
    kind = "cycles" if isinstance(rule, CycleRule) else "windows"
    key = content_key(f"{kind} {VERSION}", traces=store.key, rule=asdict(rule))
    set_folder = folder / key
    with permission_errors_as_user_error(set_folder):
        missing = _missing_shards(store, set_folder)
    if missing:
        with disk_errors_as_user_error(set_folder), folder_lock(set_folder, "written"):
            if missing := _missing_shards(store, set_folder):  # another process may have extracted them meanwhile
                _check_disk_space(store, rule, set_folder, missing)
                _extract_all(store, rule, set_folder, missing)
    return WindowSet(set_folder, store.scaled, key)


def check_column_names(scaled: Sequence[str], columns: Collection[str] = COLUMNS) -> None:
    """Check that no scaled conductance has the name of another column of a table.

    Raises:
        UserError: one has.
    """
    if taken := [name for name in scaled if name in columns]:
        raise UserError(
            f"simulator.scaled: got the name {taken[0]!r}, which is another column of the tables of windows or errors; "
            "rename the conductance"
        )


def _missing_shards(store: TraceStore, set_folder: Path) -> list[Path]:
    files = {shard: _files(set_folder, shard.stem) for shard in store.shards}
    return [shard for shard, (cells, windows) in files.items() if not (cells.exists() and is_complete(windows))]


def _check_disk_space(store: TraceStore, rule: Rule, set_folder: Path, missing: Sequence[Path]) -> None:
    fire = int(store.cells(missing)["label"].eq("fires").sum())
    needed, free = fire * rule.count * rule.output_samples * DTYPE.itemsize, free_disk(set_folder)
    if needed > free:
        raise UserError(
            f"data_dir: the windows need {format_bytes(needed)}, but {set_folder} has {format_bytes(free)} free; free "
            "disk space, set another data_dir, or extract fewer windows (windowing.count) of fewer samples "
            "(windowing.samples)"
        )


def _extract_all(store: TraceStore, rule: Rule, set_folder: Path, missing: Sequence[Path]) -> None:
    tasks = (delayed(_extract_shard)(store, shard, rule, set_folder) for shard in missing)
    cells = sum(store.entries[shard.name].rows for shard in missing)
    with progress_bar(cells, "window", "cell") as bar:
        for done in Parallel(min(available_cores(), len(missing)), return_as="generator_unordered")(tasks):
            bar.update(done)


def _extract_shard(store: TraceStore, shard: Path, rule: Rule, set_folder: Path) -> int:
    """Extract the windows of one shard; return its number of cells."""
    cells, windows = _files(set_folder, shard.stem)
    outcomes: list[dict[str, object]] = []

    def windowed_cells() -> Iterator[CellWindows]:
        row = 0
        for cell, trace in store.traces(shard):
            extracted = extract_windows(trace, rule, cell)
            positions = extracted.positions or NO_POSITIONS
            outcomes.append({"cell": cell, "outcome": extracted.outcome, **positions._asdict()})
            if extracted.windows is not None:
                outcomes[-1] |= {"shard": shard.stem, "row": row}
                row += 1
                yield extracted.windows

    write_shard(windows, windowed_cells(), rule.count, rule.output_samples)
    table = pd.DataFrame(outcomes, columns=list(COLUMNS)).astype(COLUMNS)
    # The table is written last: windows without a table are those of an interrupted extraction.
    with atomic_write(cells) as temporary:
        store.cells([shard]).merge(table, on="cell", validate="one_to_one").to_parquet(temporary)
    return len(table)


def _files(set_folder: Path, name: str) -> tuple[Path, Path]:
    return set_folder / CELLS / f"{name}.parquet", set_folder / WINDOWS / f"{name}.npy"
