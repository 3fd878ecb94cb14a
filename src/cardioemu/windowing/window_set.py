"""The windows of a trace store on disk: memory-mapped shards and a table of what became of every cell."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cardioemu.common.arrays import CellWindows, PerCell, Predicted, Scales, Windows
from cardioemu.common.errors import UserError
from cardioemu.runtime.machine import raise_open_file_limit
from cardioemu.runtime.progress import progress_bar
from cardioemu.windowing.extract import WINDOWED
from cardioemu.windowing.shards import WindowShard

CELLS, WINDOWS = "cells", "windows"  # folders with one file per shard of the traces
CELLS_AT_ONCE = 64


class WindowSet:
    """The windows cut from one trace store by one rule, opened from its folder.

    `cells` has one row per row of the design: `cell`, the scales, `status`, `label`, the `outcome` ("windowed", or why
    the cell gives no windows), `begin_ms`, `length_ms` and `cycle_length_ms` of each window (`Places`), and the `shard`
    and `row` where the windows of a windowed cell lie.

    Raises:
        UserError: the table is damaged.
    """

    def __init__(self, folder: Path, scaled: tuple[str, ...], key: str) -> None:
        self.folder, self.scaled, self.key = folder, scaled, key
        try:
            self.cells = pd.read_parquet(folder / CELLS).sort_values("cell", ignore_index=True)
        except (OSError, ValueError) as error:  # pyarrow's errors among them
            raise UserError(
                f"{folder / CELLS} is damaged ({error}); delete {folder} and run the same command again"
            ) from error

    @property
    def scales(self) -> Scales:
        """Scale vectors of all cells (cells, scaled)."""
        return np.ascontiguousarray(self.cells[list(self.scaled)].to_numpy(dtype=float))

    @cached_property
    def count(self) -> int:
        """Windows of each windowed cell."""
        return next(iter(self._shards.values())).windows.shape[1]

    @property
    def bytes_per_cell(self) -> int:
        """Bytes of the windows of one cell."""
        return next(iter(self._shards.values())).windows[0].nbytes

    @property
    def windowed(self) -> np.ndarray:
        """Whether a cell gave its windows (cells,)."""
        return (self.cells["outcome"] == WINDOWED).to_numpy()

    def count_outcomes(self) -> dict[str, int]:
        """Counts what became of the cells, most frequent first; the counts add up to the design."""
        return {str(name): int(count) for name, count in self.cells["outcome"].value_counts().items()}

    def cycle_lengths_ms(self, rows: np.ndarray) -> PerCell:
        """Returns the mean cycle length of the windows' own APs (cells,); NaN where no AP start follows any of them."""
        lengths = self.cells["cycle_length_ms"].to_numpy()[rows]
        return np.array([pd.Series(each).mean() for each in lengths], dtype=np.float64)

    def windows(self, rows: np.ndarray) -> Windows:
        """Reads all windows of some windowed cells: (cells, windows, points) float32 in mV."""
        return np.stack([self._shards[shard].windows[row] for shard, row in self._where(rows)])

    def batches(self, rows: np.ndarray) -> Iterator[Windows]:
        """Reads the same, a few cells at a time, so that memory never holds more."""
        return (self.batch(rows, number) for number in range(-(-len(rows) // CELLS_AT_ONCE)))

    def batch(self, rows: np.ndarray, number: int) -> Windows:
        """Reads one of these batches, and has the system begin to read the next."""
        begin, end = number * CELLS_AT_ONCE, (number + 1) * CELLS_AT_ONCE
        self.prefetch(rows[end : end + CELLS_AT_ONCE])
        return self.windows(rows[begin:end])

    def iter_with_predictions(
        self, rows: np.ndarray, predict: Mapping[str, Callable[[Scales], Any]], doing: str
    ) -> Iterator[tuple[Windows, dict[str, Predicted]]]:
        """Reads the same, and beside each what is predicted of it, with a progress bar.

        Args:
            rows: some windowed cells.
            predict: by name, from scale vectors (cells, scaled) to windows (cells, points), in mV.
            doing: what the progress bar says.

        Yields:
            Simulated (cells, windows, points), and by name predicted (cells, points), in mV.
        """
        scales = self.scales[rows]
        with progress_bar(len(rows), doing, "cell") as bar:
            for number, simulated in enumerate(self.batches(rows)):
                some = scales[number * CELLS_AT_ONCE :][:CELLS_AT_ONCE]
                yield simulated, {name: voltage_mV(some) for name, voltage_mV in predict.items()}
                bar.update(len(simulated))

    def read_windows(self, rows: np.ndarray, numbers: np.ndarray) -> CellWindows:
        """Reads one window of each of some windowed cells: (rows, points), window `numbers[i]` of cell `rows[i]`."""
        where = zip(self._where(rows), numbers.tolist(), strict=True)
        if len(rows) == 0:  # what is left for one process of a batch smaller than their number
            return next(iter(self._shards.values())).windows[:0, 0]
        return np.stack([self._shards[shard].windows[row, number] for (shard, row), number in where])

    def prefetch(self, rows: np.ndarray, numbers: np.ndarray | None = None) -> None:
        """Has the system begin to read what `windows` or `pick` will ask for soon; returns at once."""
        for i, (shard, row) in enumerate(self._where(rows)):
            of_cell = self._shards[shard].windows[row]
            self._shards[shard].prefetch(of_cell if numbers is None else of_cell[numbers[i]])

    @cached_property
    def _shards(self) -> dict[str, WindowShard]:
        names = self.cells["shard"].dropna().unique()
        raise_open_file_limit(len(names))
        return {str(name): WindowShard(self.folder / WINDOWS / f"{name}.npy") for name in names}

    @cached_property
    def _places(self) -> list[tuple[str, int]]:
        rows = self.cells["row"].fillna(-1).to_numpy(int).tolist()
        return list(zip(self.cells["shard"].fillna(""), rows, strict=True))

    def _where(self, rows: np.ndarray) -> list[tuple[str, int]]:
        return [self._places[row] for row in rows.tolist()]
