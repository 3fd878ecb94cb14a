"""Networks that predict the latents of a representation."""

from abc import abstractmethod
from typing import Literal

import torch

from cardioemu.common.tensors import (
    CellBatch,
    MemberCells,
    MemberWindows,
    ScaleBatch,
    VectorBatch,
    VectorBatches,
    VoltageBatch,
)
from cardioemu.models.layers.ensemble import Features, FiringHead
from cardioemu.models.network import Network, NetworkOutput
from cardioemu.models.targets.target import Latents, Representation


class TargetNetwork(Network):
    """An ensemble of `members` networks that predicts the latents of the window, and whether the cell fires.

    Attributes:
        target: the representation.
        firing: the classifier of cells that fire.
    """

    target: Representation
    firing: FiringHead

    @abstractmethod
    def member_latents(self, scales: ScaleBatch) -> Features:
        """Return each member's latents (members, batch, size); there may be a single member."""

    def latents(self, scales: ScaleBatch) -> Latents:
        """Return the mean of the members' latents."""
        return self.member_latents(scales).mean(0)

    @property
    def trained_on(self) -> Literal["windows", "cycles"]:  # type: ignore[override]
        """Kind of its training vectors: that of the representation."""
        return self.target.trained_on

    def fit_target(self, batches: VectorBatches) -> None:
        """Fit the representation to the vectors of the training split."""
        self.target.fit(batches)

    def forward(self, scales: ScaleBatch) -> VoltageBatch:
        """Return the window of each scale vector in mV, made from its latents."""
        window: torch.Tensor = self.target(self.latents(scales))
        return window

    def outputs(self, scales: ScaleBatch) -> NetworkOutput:
        """Return all outputs; the window and the cycle length are made from the same latents."""
        latents = self.latents(scales)
        return NetworkOutput(self.target(latents), self.firing_logit(scales), self.target.cycle_length_ms(latents))

    def loss(self, scales: ScaleBatch, vectors: VectorBatch) -> torch.Tensor:
        """Return the squared error of each vector's latents, averaged over the members and summed over the batch."""
        return self.target.squared_error(self.member_latents(scales), vectors).mean(0).sum()

    def firing_loss(self, scales: ScaleBatch, fires: CellBatch) -> torch.Tensor:
        """Return the cross entropy of each cell, averaged over the members and summed over the batch."""
        return self.firing.loss(scales, fires)

    def firing_logit(self, scales: ScaleBatch) -> CellBatch:
        """Return the logarithm of the odds that each cell fires."""
        logit: torch.Tensor = self.firing(scales)
        return logit

    def cycle_length_ms(self, scales: ScaleBatch) -> CellBatch | None:
        """Return the cycle length, if the representation has one."""
        return self.target.cycle_length_ms(self.latents(scales))

    def member_windows(self, scales: ScaleBatch) -> MemberWindows | None:
        """Return the window made from each member's latents."""
        latents = self.member_latents(scales)
        return torch.stack([self.target(member) for member in latents]) if len(latents) > 1 else None

    def member_cycle_lengths_ms(self, scales: ScaleBatch) -> MemberCells | None:
        """Return the cycle length from each member's latents, if the representation has one."""
        by_member = [self.target.cycle_length_ms(latents) for latents in self.member_latents(scales)]
        lengths_ms = [each for each in by_member if each is not None]
        return torch.stack(lengths_ms) if len(lengths_ms) > 1 else None

    @property
    def has_uncertainty(self) -> bool:
        """Whether there are several members."""
        return self.firing.trunk.members > 1

    def epistemic_std(self, scales: ScaleBatch) -> CellBatch | None:
        """Return the root mean square distance of the members' latents from their mean; its square is a loss."""
        if not self.has_uncertainty:
            return None
        latents = self.member_latents(scales)
        return ((latents - latents.mean(0)) * self.target.weights()).square().sum(-1).mean(0).sqrt()
