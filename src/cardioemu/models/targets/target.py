"""Representations of a window by latents: the variables that a network predicts."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import nn

from cardioemu.common.tensors import CellBatch, VectorBatch, VectorBatches, VoltageBatch

Latents = Float[torch.Tensor, "batch size"]
MemberLatents = Float[torch.Tensor, "*members batch size"]
Weights = Float[torch.Tensor, "size"]
Errors = Float[torch.Tensor, "*members batch"]


class Representation(nn.Module, ABC):
    """Windows from latents, and latents from training vectors.

    Attributes:
        trained_on: kind of the training vectors, see `Network`.
        size: number of latents.
    """

    trained_on: ClassVar[Literal["windows", "cycles"]] = "windows"
    size: int

    @abstractmethod
    def fit(self, batches: VectorBatches) -> None:
        """Fit the representation to the vectors of the training split."""

    @abstractmethod
    def forward(self, latents: Latents) -> VoltageBatch:
        """Return the windows (batch, samples) in mV of latents (batch, size)."""

    @abstractmethod
    def encode(self, vectors: VectorBatch) -> Latents:
        """Return the latents (batch, size) of training vectors."""

    @abstractmethod
    def squared_error(self, latents: MemberLatents, vectors: VectorBatch) -> Errors:
        """Return the squared distance (*members, batch) of latents (*members, batch, size) from those of vectors."""

    @abstractmethod
    def weights(self) -> Weights:
        """Return the weights (size,) of the errors of the latents, before `squared_error` squares and adds them."""

    def cycle_length_ms(self, latents: Latents) -> CellBatch | None:
        """Return the cycle length (batch,) from latents; None if the representation has none."""
        return None
