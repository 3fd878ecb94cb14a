"""What training, emulator and evaluation ask of any network."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import nn

from cardioemu.common.tensors import (
    CellBatch,
    MemberCells,
    MemberWindows,
    RowBatch,
    RowBatches,
    ScaleBatch,
    VoltageBatch,
)


class NetworkOutput(NamedTuple):
    """All that a network says of some cells, as `forward`, `firing_logit` and `cycle_length_ms` say it."""

    voltage_mV: VoltageBatch
    firing_logit: CellBatch | None
    cycle_length_ms: CellBatch | None


class Network(nn.Module, ABC):
    """From scale vectors to windows; every network may tell more, and leaves out what it cannot tell.

    Attributes:
        trained_on: what its training rows are: "windows", or registered "cycles" (`cardioemu.windowing.CycleRule`).
    """

    trained_on: ClassVar[Literal["windows", "cycles"]] = "windows"

    @abstractmethod
    def forward(self, scales: ScaleBatch) -> VoltageBatch:
        """Return the window of each scale vector in mV."""

    @abstractmethod
    def fit_target(self, batches: RowBatches) -> None:
        """Fit what turns the network's numbers into mV to the rows of the training part."""

    def loss(self, scales: ScaleBatch, rows: RowBatch) -> torch.Tensor:
        """Return the squared error of each row that training lowers, summed over the batch: here in mV^2."""
        return nn.functional.mse_loss(self(scales), rows, reduction="sum") / rows.shape[1]

    @property
    def predicts_firing(self) -> bool:
        """Whether it says which cells fire."""
        return hasattr(self, "firing")

    @property
    def has_uncertainty(self) -> bool:
        """Whether it says how unsure it is of a cell (`disagreement`)."""
        return type(self).epistemic_std is not Network.epistemic_std

    def firing_loss(self, scales: ScaleBatch, fires: CellBatch) -> torch.Tensor | None:
        """Return the cross entropy of what is said of the firing of cells, summed; None where nothing is said."""
        return None

    def firing_logit(self, scales: ScaleBatch) -> CellBatch | None:
        """Return the logarithm of the odds that each cell fires (batch,); None where the network cannot tell."""
        return None

    def outputs(self, scales: ScaleBatch) -> NetworkOutput:
        """Return all of it at once, which may take less than one after the other."""
        return NetworkOutput(self(scales), self.firing_logit(scales), self.cycle_length_ms(scales))

    def member_windows(self, scales: ScaleBatch) -> MemberWindows | None:
        """Return the window of each member of an ensemble (members, batch, samples) in mV; None where it is none."""
        return None

    def member_cycle_lengths_ms(self, scales: ScaleBatch) -> MemberCells | None:
        """Return the cycle length by each member (members, batch); None without members, or such an output."""
        return None

    def epistemic_std(self, scales: ScaleBatch) -> CellBatch | None:
        """Return how far the members of an ensemble are from their mean (batch,), in the root of what training lowers.

        None of a network that is no ensemble.
        """
        return None

    def cycle_length_ms(self, scales: ScaleBatch) -> CellBatch | None:
        """Return the time from AP start to AP start of each cell (batch,); None where the network cannot tell."""
        return None
