"""The windows of a campaign as batches for training, validation and test."""

from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass
from torch.utils.data import DataLoader, Sampler, TensorDataset

from cardioemu.data.split import TEST, TRAIN, VALIDATION, split
from cardioemu.data.window_set import WindowSet
from cardioemu.errors import UserError
from cardioemu.simulation import distinct

Fraction = Annotated[float, Field(gt=0, lt=1)]
EVALUATION_CELLS = 64


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


class WindowData(pl.LightningDataModule):
    """Windows split by simulation.

    Args:
        windows: the windows of a campaign.
        rule: how they are shared out and batched.

    Raises:
        UserError: a part is left without a single cell with windows.
    """

    def __init__(self, windows: WindowSet, rule: SplitRule) -> None:
        super().__init__()
        self.windows, self.rule = windows, rule
        scales = windows.scales
        part = split(scales, rule.validation, rule.test, rule.seed)
        once = np.isin(np.arange(len(scales)), distinct(scales)[1])
        kept = {TRAIN: once if rule.duplicates == "once" else np.ones_like(once), VALIDATION: once, TEST: once}
        self.rows = {name: np.flatnonzero(windows.windowed & (part == name) & kept[name]) for name in kept}
        for name, rows in self.rows.items():
            if len(rows) == 0:
                raise UserError(
                    f"data: no cell of the {name} part gave windows ({windows.outcomes()}); use a larger design, "
                    "other fractions or another seed"
                )

    def part(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns scales (cells, scaled) and windows (cells, windows, samples) of one part."""
        rows = self.rows[name]
        return torch.tensor(self.windows.scales[rows], dtype=torch.float32), torch.from_numpy(
            self.windows.windows(rows)
        )

    def train_dataloader(self) -> DataLoader:
        """Batches of (scales, window), every window once per epoch in an order made by (seed, epoch)."""
        scales, windows = self.part(TRAIN)
        count = windows.shape[1]
        dataset = TensorDataset(scales.repeat_interleave(count, dim=0), windows.flatten(0, 1))
        return DataLoader(
            dataset, sampler=EpochBatches(len(dataset), self.rule.batch_size, self.rule.seed), batch_size=None
        )

    def val_dataloader(self) -> DataLoader:
        """Batches of (scales, all windows of the cell), in the order of the design."""
        return DataLoader(TensorDataset(*self.part(VALIDATION)), batch_size=EVALUATION_CELLS)


class EpochBatches(Sampler[list[int]]):
    """Shuffled batches of indices that depend on the seed and the epoch only, so that a resumed run sees the same."""

    def __init__(self, size: int, batch_size: int, seed: int) -> None:
        self.size, self.batch_size, self.seed, self.epoch = size, batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        for i in range(0, self.size, self.batch_size):
            yield order[i : i + self.batch_size].tolist()
