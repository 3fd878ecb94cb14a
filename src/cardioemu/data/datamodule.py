"""The windows of a campaign as batches for training, validation and test."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass
from torch.utils.data import DataLoader, Dataset

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError
from cardioemu.data.split import TEST, TRAIN, VALIDATION, split
from cardioemu.data.training_set import Batch, EpochBatches, TrainingSet
from cardioemu.runtime.progress import progress_bar
from cardioemu.simulation import first_occurrence
from cardioemu.windowing import CELLS_AT_ONCE, WindowSet

Fraction = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class SplitRule:
    """How the windows of a campaign are shared out and batched.

    Attributes:
        validation: fraction of the distinct scale vectors that validate.
        test: fraction of the distinct scale vectors that test.
        duplicates: whether rows of the design with the same scales all train ("keep") or only the first ("once");
            validation and test always count each vector once.
        batch_size: windows per training batch.
        seed: of the split and of the order of the training windows.
    """

    validation: Fraction
    test: Fraction
    duplicates: Literal["keep", "once"]
    batch_size: PositiveInt
    seed: NonNegativeInt

    def __post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise UserError(
                f"data: validation {self.validation:g} and test {self.test:g} leave nothing to train on; lower them"
            )

    def parts(self, scales: Scales) -> np.ndarray:
        """Returns the part of each cell (cells,): "train", "validation" or "test" (see `split`)."""
        return split(scales, self.validation, self.test, self.seed)


class WindowDataModule(pl.LightningDataModule):
    """Windows split by simulation.

    Args:
        windows: the windows of a campaign, by which all networks are validated and tested.
        rule: how they are shared out and batched.
        cycles: the registered cycles of the same campaign, for a network that is trained on them.

    Attributes:
        trained: what the network is trained on: the windows, or the cycles.
        part: "train", "validation" or "test" of each cell, those without windows included (cells,).
        rows: the cells that take part, by part.
        room: how much memory the training windows may take, by place ("GPU", "host"), in the order of preference; they
            are held in the first that has room for all of them, else read as they are needed.

    Raises:
        UserError: a part is left without a single cell with windows.
    """

    def __init__(self, windows: WindowSet, rule: SplitRule, cycles: WindowSet | None = None) -> None:
        super().__init__()
        self.windows, self.rule, self.training_windows = windows, rule, cycles or windows
        self.memory_budget: Mapping[str, int] = {}
        scales = windows.scales
        self.part = rule.parts(scales)
        once = first_occurrence(scales)
        kept = {TRAIN: once if rule.duplicates == "once" else np.ones_like(once), VALIDATION: once, TEST: once}
        given = {TRAIN: self.training_windows.windowed, VALIDATION: windows.windowed, TEST: windows.windowed}
        self.rows = {name: np.flatnonzero(given[name] & (self.part == name) & kept[name]) for name in kept}
        for name, rows in self.rows.items():
            if len(rows) == 0:
                if name == TRAIN and cycles is not None and windows.windowed[self.part == TRAIN].any():
                    raise UserError(
                        f"model: no cell of the train part has a cycle that can be registered ({cycles.count_outcomes()}), "
                        "which takes three AP starts after windowing.settle_ms and an APD50 of 10 ms; simulate longer, "
                        "or take model=mlp"
                    )
                raise UserError(
                    f"data: no cell of the {name} part gave windows ({windows.count_outcomes()}); use a larger design, "
                    "other fractions or another seed"
                )

    @property
    def unregistered(self) -> int:
        """How many cells have windows, but nothing that the network can be trained on."""
        return int((self.windows.windowed & ~self.training_windows.windowed).sum())

    @property
    def largest_batch(self) -> int:
        """Windows of the largest training batch there is."""
        return min(self.rule.batch_size, len(self.rows[TRAIN]) * self.training_windows.count)

    @property
    def cached_bytes(self) -> dict[str, int]:
        """Bytes of the training windows in the place that holds them: all or nothing."""
        nbytes = len(self.rows[TRAIN]) * self.training_windows.bytes_per_cell
        return dict.fromkeys([place for place, room in self.memory_budget.items() if nbytes <= room][:1], nbytes)

    def firing(self, part: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns scales (cells, scaled) of the distinct cells of a part that are sound, and 1 for those that fire."""
        cells = self.windows.cells
        sound = (self.part == part) & first_occurrence(self.windows.scales) & cells["status"].eq("ok").to_numpy()
        fires = cells["label"].eq("fires").to_numpy()[sound]
        return torch.tensor(self.windows.scales[sound], dtype=torch.float32), torch.from_numpy(fires).float()

    @property
    def training_scales(self) -> torch.Tensor:
        """Scale vectors of `training_rows` (rows, scaled)."""
        scales = self.windows.scales[self.rows[TRAIN]].repeat(self.training_windows.count, axis=0)
        return torch.tensor(scales, dtype=torch.float32)

    def training_rows(self) -> Iterator[torch.Tensor]:
        """Reads all that the network is trained on once, (rows, numbers) at a time, with a progress bar."""
        rows = self.rows[TRAIN]
        with progress_bar(len(rows), "normalise", "cell") as bar:
            for windows in self.training_windows.batches(rows):
                yield torch.from_numpy(windows).flatten(0, 1)
                bar.update(len(windows))

    def train_dataloader(self) -> DataLoader:
        """Batches of (scales, window, rows), every window once per epoch in an order made by (seed, epoch).

        Of several processes that train together each gets its shares of every batch.
        """
        devices = {"GPU": self.trainer.strategy.root_device if self.trainer else None, "host": torch.device("cpu")}
        dataset = TrainingSet(
            self.training_windows, self.rows[TRAIN], next((devices[place] for place in self.cached_bytes), None)
        )
        together = (
            {
                "accumulate": self.trainer.accumulate_grad_batches,
                "world_size": self.trainer.world_size,
                "rank": self.trainer.global_rank,
            }
            if self.trainer
            else {}
        )
        batches = EpochBatches(len(dataset), self.rule.batch_size, self.rule.seed, dataset.prefetch, **together)
        # A generator of its own: the loader draws from one when an epoch begins, and not always when a run is resumed.
        return DataLoader(dataset, sampler=batches, batch_size=None, generator=torch.Generator())

    def val_dataloader(self) -> DataLoader:
        """Batches of (scales, all windows of the cell), in the order of the design."""
        return DataLoader(CellBatches(self.windows, self.rows[VALIDATION]), batch_size=None)


class CellBatches(Dataset[Batch]):
    """Some cells in their order: (scales, all windows of the cell), a few cells at a time."""

    def __init__(self, windows: WindowSet, rows: np.ndarray) -> None:
        self.windows, self.rows = windows, rows
        self.scales = torch.tensor(windows.scales[rows], dtype=torch.float32).split(CELLS_AT_ONCE)

    def __len__(self) -> int:
        return len(self.scales)

    def __getitem__(self, number: int) -> Batch:
        """Returns scales (batch, scaled) and windows (batch, windows, points)."""
        return self.scales[number], torch.from_numpy(self.windows.batch(self.rows, number))
