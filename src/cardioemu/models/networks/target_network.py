"""Networks that predict the numbers of a target."""

from abc import abstractmethod
from typing import Literal

import torch

from cardioemu.common.tensors import (
    CellBatch,
    MemberCells,
    MemberWindows,
    RowBatch,
    RowBatches,
    ScaleBatch,
    VoltageBatch,
)
from cardioemu.models.layers.ensemble import Features
from cardioemu.models.layers.firing_head import FiringHead
from cardioemu.models.network import Network, NetworkOutput
from cardioemu.models.targets.normaliser import Normaliser
from cardioemu.models.targets.principal_components import PrincipalComponents
from cardioemu.models.targets.registered_cycle import RegisteredCycle
from cardioemu.models.targets.target import Latents, Representation

TargetName = Literal["samples", "components", "registered"]


def make_target(name: TargetName, samples: int, begin_ms: float, interval_ms: float, components: int) -> Representation:
    """Make what windows are represented by.

    Args:
        name: The "samples" themselves, principal "components" of the windows, or those of the "registered" cycle with
            its landmarks.
        samples: Points of one window.
        begin_ms: Time of the first point, 0 being the AP start.
        interval_ms: Time from one to the next.
        components: Principal components; "samples" has none.
    """
    if name == "registered":
        return RegisteredCycle(samples, begin_ms, interval_ms, components)
    return PrincipalComponents(samples, components) if name == "components" else Normaliser(samples)


class TargetNetwork(Network):
    """A network that predicts the numbers a window is made of, and beside them whether the cell fires.

    Attributes:
        target: what the numbers are.
        firing: says whether a cell fires.
    """

    target: Representation
    firing: FiringHead

    @abstractmethod
    def member_latents(self, scales: ScaleBatch) -> Features:
        """Return the numbers of each scale vector by each member (members, batch, size), of which there may be one."""

    def latents(self, scales: ScaleBatch) -> Latents:
        """Return the mean of the members' numbers."""
        return self.member_latents(scales).mean(0)

    @property
    def trained_on(self) -> Literal["windows", "cycles"]:  # type: ignore[override]
        """What its training rows are, which hangs on the target."""
        return self.target.trained_on

    def fit_target(self, batches: RowBatches) -> None:
        """Fit the representation to the rows of the training part."""
        self.target.fit(batches)

    def forward(self, scales: ScaleBatch) -> VoltageBatch:
        """Return the window of each scale vector in mV, made from its numbers."""
        window: torch.Tensor = self.target(self.latents(scales))
        return window

    def outputs(self, scales: ScaleBatch) -> NetworkOutput:
        """Return all of it, the window and the cycle length from the same numbers."""
        numbers = self.latents(scales)
        return NetworkOutput(self.target(numbers), self.firing_logit(scales), self.target.cycle_length_ms(numbers))

    def loss(self, scales: ScaleBatch, rows: RowBatch) -> torch.Tensor:
        """Return the target's squared error of each row, averaged over the members and summed over the batch."""
        return self.target.squared_error(self.member_latents(scales), rows).mean(0).sum()

    def firing_loss(self, scales: ScaleBatch, fires: CellBatch) -> torch.Tensor:
        """Return the cross entropy of each cell, averaged over the members and summed over the batch."""
        return self.firing.loss(scales, fires)

    def firing_logit(self, scales: ScaleBatch) -> CellBatch:
        """Return the logarithm of the odds that each cell fires."""
        logit: torch.Tensor = self.firing(scales)
        return logit

    def cycle_length_ms(self, scales: ScaleBatch) -> CellBatch | None:
        """Return the cycle length, where the target has it."""
        return self.target.cycle_length_ms(self.latents(scales))

    def member_windows(self, scales: ScaleBatch) -> MemberWindows | None:
        """Return the window that each member's own numbers make."""
        numbers = self.member_latents(scales)
        return torch.stack([self.target(each) for each in numbers]) if len(numbers) > 1 else None

    def member_cycle_lengths_ms(self, scales: ScaleBatch) -> MemberCells | None:
        """Return the cycle length of each member's own numbers, where the target has it."""
        found = [self.target.cycle_length_ms(numbers) for numbers in self.member_latents(scales)]
        lengths_ms = [each for each in found if each is not None]
        return torch.stack(lengths_ms) if len(lengths_ms) > 1 else None

    @property
    def has_uncertainty(self) -> bool:
        """Whether there are members that could disagree."""
        return self.firing.trunk.members > 1

    def epistemic_std(self, scales: ScaleBatch) -> CellBatch | None:
        """Return how far the members' numbers are from their mean, in the root of the squared error."""
        if not self.has_uncertainty:
            return None
        numbers = self.member_latents(scales)
        return ((numbers - numbers.mean(0)) * self.target.weights()).square().sum(-1).mean(0).sqrt()
