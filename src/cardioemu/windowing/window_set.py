"""The windows of a trace store on disk: memory-mapped shards and a table with the outcome of every cell."""

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

CELLS, WINDOWS = "cells", "windows"  # folders with one file per shard of the trace store
CELLS_AT_ONCE = 64


class WindowSet:
    """The windows extracted from one trace store by one rule, opened from their folder.

    Methods take `cell_indices`, positions of cells in `cells`; the cells must be windowed.

    Attributes:
        cells: table with one row per cell of the design: `cell` (its number), the scales, `status`, `label`; the
            `outcome`, "windowed" or the reason why the cell has no windows; `begin_ms`, `length_ms` and
            `cycle_length_ms` of each window (see `WindowPositions`); and the `shard` and `row` of its windows on disk.

    Raises:
        UserError: the table is damaged.
    """

    def __init__(self, folder: Path, scaled: tuple[str, ...], key: str) -> None:
        self.folder, self.scaled, self.key = folder, scaled, key
        try:
            self.cells = pd.read_parquet(folder / CELLS).sort_values("cell", ignore_index=True)
        except (OSError, ValueError) as error:  # includes the errors of pyarrow
            raise UserError(f"{folder / CELLS} is damaged ({error}); delete {folder} and re-run the command") from error

    @property
    def scales(self) -> Scales:
        """Scale vectors of all cells (cells, scaled)."""
        return np.ascontiguousarray(self.cells[list(self.scaled)].to_numpy(dtype=float))

    @cached_property
    def count(self) -> int:
        """Windows per windowed cell."""
        return self._any_shard.windows.shape[1]

    @property
    def bytes_per_cell(self) -> int:
        """Bytes of the windows of one cell."""
        return self._any_shard.windows[0].nbytes

    @property
    def windowed(self) -> np.ndarray:
        """Whether each cell has windows (cells,)."""
        return (self.cells["outcome"] == WINDOWED).to_numpy()

    def count_outcomes(self) -> dict[str, int]:
        """Count the cells by outcome, most frequent first."""
        return {str(name): int(count) for name, count in self.cells["outcome"].value_counts().items()}

    def cycle_lengths_ms(self, cell_indices: np.ndarray) -> PerCell:
        """Return each cell's mean cycle length over its windows (cells,); NaN if no window has a next AP start."""
        lengths = self.cells["cycle_length_ms"].to_numpy()[cell_indices]
        return np.array([pd.Series(each).mean() for each in lengths], dtype=np.float64)

    def windows(self, cell_indices: np.ndarray) -> Windows:
        """Read all windows of some cells: (cells, windows, samples), float32, in mV."""
        return np.stack([self._shards[shard].windows[row] for shard, row in self._locate(cell_indices)])

    def batches(self, cell_indices: np.ndarray) -> Iterator[Windows]:
        """Read all windows of some cells, a few cells at a time."""
        return (self.batch(cell_indices, number) for number in range(-(-len(cell_indices) // CELLS_AT_ONCE)))

    def batch(self, cell_indices: np.ndarray, number: int) -> Windows:
        """Read one batch of `batches`, and start prefetching the next."""
        begin, end = number * CELLS_AT_ONCE, (number + 1) * CELLS_AT_ONCE
        self.prefetch(cell_indices[end : end + CELLS_AT_ONCE])
        return self.windows(cell_indices[begin:end])

    def iter_with_predictions(
        self, cell_indices: np.ndarray, predict: Mapping[str, Callable[[Scales], Any]], description: str
    ) -> Iterator[tuple[Windows, dict[str, Predicted]]]:
        """Read all windows of some cells with their predictions, a few cells at a time, with a progress bar.

        Args:
            cell_indices: the cells.
            predict: by name, functions from scale vectors (cells, scaled) to windows (cells, samples), in mV.
            description: label of the progress bar.

        Yields:
            Simulated windows (cells, windows, samples) and, by name, predicted windows (cells, samples), in mV.
        """
        scales = self.scales[cell_indices]
        with progress_bar(len(cell_indices), description, "cell") as bar:
            for number, simulated in enumerate(self.batches(cell_indices)):
                batch = scales[number * CELLS_AT_ONCE :][:CELLS_AT_ONCE]
                yield simulated, {name: voltage_mV(batch) for name, voltage_mV in predict.items()}
                bar.update(len(simulated))

    def read_windows(self, cell_indices: np.ndarray, numbers: np.ndarray) -> CellWindows:
        """Read one window per cell, window `numbers[i]` of cell `cell_indices[i]`: (cells, samples)."""
        if len(cell_indices) == 0:  # a process gets no windows if a batch has fewer windows than there are processes
            return self._any_shard.windows[:0, 0]
        located = zip(self._locate(cell_indices), numbers.tolist(), strict=True)
        return np.stack([self._shards[shard].windows[row, number] for (shard, row), number in located])

    def prefetch(self, cell_indices: np.ndarray, numbers: np.ndarray | None = None) -> None:
        """Start reading what `windows`, or `read_windows` with these numbers, will need; return immediately."""
        for i, (shard, row) in enumerate(self._locate(cell_indices)):
            of_cell = self._shards[shard].windows[row]
            self._shards[shard].prefetch(of_cell if numbers is None else of_cell[numbers[i]])

    @cached_property
    def _shards(self) -> dict[str, WindowShard]:
        names = self.cells["shard"].dropna().unique()
        raise_open_file_limit(len(names))
        return {str(name): WindowShard(self.folder / WINDOWS / f"{name}.npy") for name in names}

    @property
    def _any_shard(self) -> WindowShard:
        return next(iter(self._shards.values()))

    @cached_property
    def _locations(self) -> list[tuple[str, int]]:
        """The shard of each cell, and its row there."""
        rows = self.cells["row"].fillna(-1).to_numpy(int).tolist()
        return list(zip(self.cells["shard"].fillna(""), rows, strict=True))

    def _locate(self, cell_indices: np.ndarray) -> list[tuple[str, int]]:
        return [self._locations[index] for index in cell_indices.tolist()]
