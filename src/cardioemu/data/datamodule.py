"""The windows of a campaign as training and validation batches."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass
from torch.utils.data import DataLoader, Dataset

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError
from cardioemu.data.training_set import Batch, EpochBatches, TrainingSet
from cardioemu.runtime.progress import progress_bar
from cardioemu.simulation import first_occurrence
from cardioemu.windowing import CELLS_AT_ONCE, WindowSet

TRAIN, VALIDATION, TEST = "train", "validation", "test"
Fraction = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class SplitRule:
    """How the cells of a campaign are split and their windows are batched.

    Attributes:
        validation: fraction of the distinct scale vectors used for validation.
        test: fraction of the distinct scale vectors used for testing.
        duplicates: which of several cells with the same scales train: all ("keep") or only the first ("once").
            Validation and test always use each scale vector once.
        batch_size: windows per training batch.
        seed: seed of the split and of the order of the training windows.
    """

    validation: Fraction
    test: Fraction
    duplicates: Literal["keep", "once"]
    batch_size: PositiveInt
    seed: NonNegativeInt

    def __post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise UserError(
                f"data: got validation={self.validation:g} and test={self.test:g}, which leave no cell to train on; "
                "their sum must be below 1"
            )

    def assign(self, scales: Scales) -> np.ndarray:
        """Return "train", "validation" or "test" for each cell (cells,); identical cells are never in two splits.

        The control (all scales 1) is always in "train". The other distinct scale vectors are shuffled by the seed;
        validation and test each take their fraction of all distinct vectors, rounded to whole vectors. The split does
        not depend on the order or number of the cells.
        """
        distinct, inverse = np.unique(scales, axis=0, return_inverse=True)
        free = np.flatnonzero(~(distinct == 1.0).all(axis=1))
        shuffled = np.random.default_rng(self.seed).permutation(free)
        n_validation, n_test = round(self.validation * len(distinct)), round(self.test * len(distinct))
        names = np.full(len(distinct), TRAIN, dtype="<U10")
        names[shuffled[:n_validation]] = VALIDATION
        names[shuffled[n_validation : n_validation + n_test]] = TEST
        return names[inverse.ravel()]


class WindowDataModule(pl.LightningDataModule):
    """The windows of a campaign, split by cell.

    Args:
        windows: the windows, on which every network is validated and tested.
        rule: how cells are split and windows are batched.
        cycles: the registered cycles of the same campaign, for a network that is trained on them.

    Attributes:
        training_windows: what the network is trained on: the windows, or the registered cycles.
        split: "train", "validation" or "test" for each cell, including cells without windows (cells,).
        cell_indices: for each split, the indices of its cells that have windows.
        memory_budget: bytes that the training windows may take, by memory pool ("GPU", "host"), in order of
            preference. They are cached in the first pool that holds all of them; otherwise they are read from disk.

    Raises:
        UserError: a split has no cell with windows.
    """

    def __init__(self, windows: WindowSet, rule: SplitRule, cycles: WindowSet | None = None) -> None:
        super().__init__()
        self.windows, self.rule, self.training_windows = windows, rule, cycles or windows
        self.memory_budget: Mapping[str, int] = {}
        self.split = rule.assign(windows.scales)
        once = first_occurrence(windows.scales)
        eligible = {
            TRAIN: self.training_windows.windowed & (once | (rule.duplicates == "keep")),
            VALIDATION: windows.windowed & once,
            TEST: windows.windowed & once,
        }
        self.cell_indices = {name: np.flatnonzero((self.split == name) & cells) for name, cells in eligible.items()}
        for name, cells in self.cell_indices.items():
            if len(cells) == 0:
                raise UserError(self._empty_split_message(name))

    def _empty_split_message(self, name: str) -> str:
        has_cycles = self.training_windows is not self.windows
        if name == TRAIN and has_cycles and self.windows.windowed[self.split == TRAIN].any():
            return (
                "model: the train split has no cell whose cycle can be registered "
                f"({self.training_windows.count_outcomes()}); a registered cycle needs three AP starts after "
                "windowing.settle_ms and an APD50 of 10 ms; simulate longer traces or use model=mlp"
            )
        return (
            f"data: the {name} split has no cell with windows ({self.windows.count_outcomes()}); use a larger design, "
            "other fractions or another seed"
        )

    @property
    def unregistered(self) -> int:
        """Number of cells that have windows, but no registered cycle to train on."""
        return int((self.windows.windowed & ~self.training_windows.windowed).sum())

    @property
    def largest_batch(self) -> int:
        """Windows in the largest training batch."""
        return min(self.rule.batch_size, len(self.cell_indices[TRAIN]) * self.training_windows.count)

    @property
    def cached_bytes(self) -> dict[str, int]:
        """Bytes of the training windows by the memory pool that caches them; empty if they are read from disk."""
        nbytes = len(self.cell_indices[TRAIN]) * self.training_windows.bytes_per_cell
        return dict.fromkeys([pool for pool, budget in self.memory_budget.items() if nbytes <= budget][:1], nbytes)

    def firing_labels(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scales (cells, scaled) of a split's distinct cells, and 1 for cells that fire, 0 for others.

        Cells whose simulation failed are excluded; cells without windows are included.
        """
        cells = self.windows.cells
        simulated = (self.split == split) & first_occurrence(self.windows.scales) & cells["status"].eq("ok").to_numpy()
        fires = cells["label"].eq("fires").to_numpy()[simulated]
        return torch.tensor(self.windows.scales[simulated], dtype=torch.float32), torch.from_numpy(fires).float()

    def read_training_vectors(self) -> Iterator[torch.Tensor]:
        """Read all training windows or registered cycles once, (vectors, size) at a time, with a progress bar."""
        cells = self.cell_indices[TRAIN]
        with progress_bar(len(cells), "normalise", "cell") as bar:
            for windows in self.training_windows.batches(cells):
                yield torch.from_numpy(windows).flatten(0, 1)
                bar.update(len(windows))

    def train_dataloader(self) -> DataLoader:
        """Return batches of (scales, windows, divisor): every window once per epoch, in an order set by (seed, epoch).

        When several processes train together, each gets its shares of every batch.
        """
        devices = {"GPU": self.trainer.strategy.root_device if self.trainer else None, "host": torch.device("cpu")}
        cache_device = next((devices[pool] for pool in self.cached_bytes), None)
        dataset = TrainingSet(self.training_windows, self.cell_indices[TRAIN], cache_device)
        sharing: dict[str, Any] = {}
        if self.trainer:
            sharing = {
                "accumulate": self.trainer.accumulate_grad_batches,
                "world_size": self.trainer.world_size,
                "rank": self.trainer.global_rank,
            }
        batches = EpochBatches(len(dataset), self.rule.batch_size, self.rule.seed, dataset.prefetch, **sharing)
        # Its own generator: the loader draws from the global one at the start of an epoch, except in some resumed runs.
        return DataLoader(dataset, sampler=batches, batch_size=None, generator=torch.Generator())

    def val_dataloader(self) -> DataLoader:
        """Return batches of (scales, all windows of each cell), in the order of the design."""
        return DataLoader(CellBatches(self.windows, self.cell_indices[VALIDATION]), batch_size=None)


class CellBatches(Dataset[Batch]):
    """Some cells in order, a few at a time: (scales, all windows of each cell)."""

    def __init__(self, windows: WindowSet, cell_indices: np.ndarray) -> None:
        self.windows, self.cell_indices = windows, cell_indices
        self.scales = torch.tensor(windows.scales[cell_indices], dtype=torch.float32).split(CELLS_AT_ONCE)

    def __len__(self) -> int:
        return len(self.scales)

    def __getitem__(self, number: int) -> Batch:
        """Return scales (batch, scaled) and windows (batch, windows, samples)."""
        return self.scales[number], torch.from_numpy(self.windows.batch(self.cell_indices, number))
