"""Representations of what is predicted: from few numbers to a window."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import nn

from cardioemu.tensors import CellBatch, RowBatch, VoltageBatch

Numbers = Float[torch.Tensor, "batch numbers"]
Errors = Float[torch.Tensor, "*members batch"]


class Target(nn.Module, ABC):
    """Turns a network's numbers into windows, and rows to train on into such numbers.

    Attributes:
        trained_on: as of `Network`.
        size: how many numbers make a window.
    """

    trained_on: ClassVar[Literal["windows", "cycles"]] = "windows"
    size: int

    @abstractmethod
    def fit(self, batches: Iterable[RowBatch]) -> None:
        """Fit the representation to the rows of the training part."""

    @abstractmethod
    def forward(self, numbers: Numbers) -> VoltageBatch:
        """Return the windows (batch, samples) in mV that numbers (batch, size) make."""

    @abstractmethod
    def squared_error(self, numbers: Float[torch.Tensor, "*members batch numbers"], rows: RowBatch) -> Errors:
        """Return how far numbers (*members, batch, size) are from those of the rows, squared (*members, batch)."""

    def cycle_length_ms(self, numbers: Numbers) -> CellBatch | None:
        """Return the cycle length (batch,) that numbers say; None where they do not."""
        return None
