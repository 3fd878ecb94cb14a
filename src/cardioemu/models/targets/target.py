"""Representations of what is predicted: from few numbers to a window."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import nn

from cardioemu.common.tensors import CellBatch, RowBatch, RowBatches, VoltageBatch

Latents = Float[torch.Tensor, "batch size"]
MemberLatents = Float[torch.Tensor, "*members batch size"]
Weights = Float[torch.Tensor, "size"]
Errors = Float[torch.Tensor, "*members batch"]


class Representation(nn.Module, ABC):
    """Turns a network's numbers into windows, and rows to train on into such numbers.

    Attributes:
        trained_on: as of `Network`.
        size: how many numbers make a window.
    """

    trained_on: ClassVar[Literal["windows", "cycles"]] = "windows"
    size: int

    @abstractmethod
    def fit(self, batches: RowBatches) -> None:
        """Fit the representation to the rows of the training part."""

    @abstractmethod
    def forward(self, numbers: Latents) -> VoltageBatch:
        """Return the windows (batch, samples) in mV that numbers (batch, size) make."""

    @abstractmethod
    def encode(self, rows: RowBatch) -> Latents:
        """Return the numbers (batch, size) that rows to train on have."""

    @abstractmethod
    def squared_error(self, numbers: MemberLatents, rows: RowBatch) -> Errors:
        """Return how far numbers (*members, batch, size) are from those of the rows, squared (*members, batch)."""

    @abstractmethod
    def weights(self) -> Weights:
        """Return what errors of the numbers (size,) are multiplied by before `squared_error` squares and adds them."""

    def cycle_length_ms(self, numbers: Latents) -> CellBatch | None:
        """Return the cycle length (batch,) that numbers say; None where they do not."""
        return None
