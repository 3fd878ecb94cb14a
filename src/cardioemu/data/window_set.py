"""The windows of a trace store on disk: memory-mapped shards and a table of what became of every cell."""

from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from cardioemu.progress import progress_bar
from cardioemu.simulation import TraceStore
from cardioemu.storage import atomic, stage_key
from cardioemu.types import Scales, Windows
from cardioemu.windowing import WINDOWED, WindowRule, cut

# Raise it when the same traces and rule give other windows.
VERSION = 1
TABLE = "cells.parquet"


class WindowSet:
    """The windows cut from one trace store by one rule, opened from its folder.

    `cells` has one row per row of the design: `cell`, the scales, `status`, `label`, the `outcome` ("windowed", or why
    the cell gives no windows), and for windowed cells the `shard` and `row` where their windows lie.
    """

    def __init__(self, folder: Path, scaled: tuple[str, ...], key: str) -> None:
        self.folder, self.scaled, self.key = folder, scaled, key
        self.cells = pd.read_parquet(folder / TABLE)

    @property
    def scales(self) -> Scales:
        """Scale vectors of all cells (cells, scaled)."""
        return np.ascontiguousarray(self.cells[list(self.scaled)].to_numpy(dtype=float))

    @property
    def windowed(self) -> np.ndarray:
        """Whether a cell gave its windows (cells,)."""
        return (self.cells["outcome"] == WINDOWED).to_numpy()

    def outcomes(self) -> dict[str, int]:
        """Counts what became of the cells, most frequent first; the counts add up to the design."""
        return {str(name): int(count) for name, count in self.cells["outcome"].value_counts().items()}

    @cached_property
    def _shards(self) -> dict[int, np.ndarray]:
        numbers = self.cells["shard"].dropna().unique()
        return {int(number): np.load(_shard(self.folder, int(number)), mmap_mode="r") for number in numbers}

    def windows(self, rows: np.ndarray) -> Windows:
        """Reads the windows of some windowed cells: (cells, windows, samples) float32 in mV."""
        where = self.cells.iloc[rows]
        return np.stack([self._shards[int(s)][int(r)] for s, r in zip(where["shard"], where["row"], strict=True)])


def window_set(store: TraceStore, rule: WindowRule, folder: Path) -> WindowSet:
    """Cuts the windows of every cell of a trace store, or opens the set cut before by the same rule."""
    key = stage_key(f"windows {VERSION}", traces=store.key, rule=asdict(rule))
    here = folder / key
    if not (here / TABLE).exists():
        outcomes: list[tuple[object, ...]] = []
        with progress_bar(len(store.shards), "window", "shard") as bar:
            for number, shard in enumerate(store.shards):
                outcomes += _cut_shard(store, shard, rule, number, _shard(here, number))
                bar.update()
        table = pd.DataFrame(outcomes, columns=["cell", "outcome", "shard", "row"]).astype(
            {"shard": "Int64", "row": "Int64"}
        )
        # The table comes last: a folder without it is an interrupted cut and is cut again.
        with atomic(here / TABLE) as temporary:
            store.cells().merge(table, on="cell", validate="one_to_one").to_parquet(temporary)
    return WindowSet(here, store.scaled, key)


def _cut_shard(store: TraceStore, shard: Path, rule: WindowRule, number: int, path: Path) -> list[tuple[object, ...]]:
    """Writes the windows of one trace shard and tells of each cell its outcome, and the place of its windows."""
    windows: list[np.ndarray] = []
    outcomes: list[tuple[object, ...]] = []
    for cell, trace in store.traces(shard):
        cell_windows, outcome = cut(trace, rule)
        if cell_windows is None:
            outcomes.append((cell, outcome, None, None))
        else:
            outcomes.append((cell, outcome, number, len(windows)))
            windows.append(cell_windows)
    if windows:
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.save(file, np.stack(windows))
    return outcomes


def _shard(folder: Path, number: int) -> Path:
    return folder / f"windows-{number:05d}.npy"
