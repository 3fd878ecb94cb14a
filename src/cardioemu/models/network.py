"""The interface of a network: what training, emulator and evaluation ask of it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import nn

from cardioemu.common.tensors import (
    CellBatch,
    MemberCells,
    MemberWindows,
    ScaleBatch,
    VectorBatch,
    VectorBatches,
    VoltageBatch,
)


class NetworkOutput(NamedTuple):
    """All outputs of a network for some cells, as `forward`, `firing_logit` and `cycle_length_ms` return them."""

    voltage_mV: VoltageBatch
    firing_logit: CellBatch | None
    cycle_length_ms: CellBatch | None


class Network(nn.Module, ABC):
    """Windows from scale vectors. A network without one of the other outputs returns None for it.

    The data set these arguments of the constructor, if it has them: `samples` of one window, number of `inputs` (scaled
    conductances), `begin_ms` (time of the first sample; 0 is the AP start) and `interval_ms` (time between samples).

    Attributes:
        trained_on: kind of its training vectors: "windows", or registered "cycles" (`cardioemu.windowing.CycleRule`).
        size_argument: argument of the constructor that sets the width of the layers, and so the memory of the network.
        equivalent_arguments: arguments of the constructor that save memory without changing the outputs.
    """

    trained_on: ClassVar[Literal["windows", "cycles"]] = "windows"
    size_argument: ClassVar[str | None] = None
    equivalent_arguments: ClassVar[Mapping[str, object]] = {}

    @abstractmethod
    def forward(self, scales: ScaleBatch) -> VoltageBatch:
        """Return the window of each scale vector in mV."""

    @abstractmethod
    def fit_target(self, batches: VectorBatches) -> None:
        """Fit the transformation between the network's outputs and mV to the vectors of the training split."""

    def loss(self, scales: ScaleBatch, vectors: VectorBatch) -> torch.Tensor:
        """Return the loss of each training vector, summed over the batch: by default the squared error in mV^2."""
        return nn.functional.mse_loss(self(scales), vectors, reduction="sum") / vectors.shape[1]

    @property
    def predicts_firing(self) -> bool:
        """Whether it predicts which cells fire."""
        return hasattr(self, "firing")

    @property
    def has_uncertainty(self) -> bool:
        """Whether it estimates its own uncertainty (`epistemic_std`)."""
        return type(self).epistemic_std is not Network.epistemic_std

    def firing_loss(self, scales: ScaleBatch, fires: CellBatch) -> torch.Tensor | None:
        """Return the cross entropy of the predicted firing of each cell, summed over the batch."""
        return None

    def firing_logit(self, scales: ScaleBatch) -> CellBatch | None:
        """Return the logarithm of the odds that each cell fires (batch,)."""
        return None

    def outputs(self, scales: ScaleBatch) -> NetworkOutput:
        """Return all outputs together, which may take less time than one after the other."""
        return NetworkOutput(self(scales), self.firing_logit(scales), self.cycle_length_ms(scales))

    def member_windows(self, scales: ScaleBatch) -> MemberWindows | None:
        """Return the window of each member of an ensemble (members, batch, samples) in mV."""
        return None

    def member_cycle_lengths_ms(self, scales: ScaleBatch) -> MemberCells | None:
        """Return the cycle length by each member of an ensemble (members, batch)."""
        return None

    def epistemic_std(self, scales: ScaleBatch) -> CellBatch | None:
        """Return the root mean square distance of an ensemble's members from their mean (batch,).

        Its square has the unit of the loss.
        """
        return None

    def cycle_length_ms(self, scales: ScaleBatch) -> CellBatch | None:
        """Return the time from AP start to AP start of each cell (batch,)."""
        return None
