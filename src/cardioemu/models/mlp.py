"""Dense residual networks from scales to any representation of the window."""

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveInt

from cardioemu.models.firing import FiringHead
from cardioemu.models.members import Trunk
from cardioemu.models.network import Network
from cardioemu.models.normaliser import Normaliser
from cardioemu.models.principal_components import PrincipalComponents
from cardioemu.models.registered_cycle import RegisteredCycle
from cardioemu.models.target import Target
from cardioemu.tensors import CellBatch, RowBatch, ScaleBatch, VoltageBatch

Representation = Literal["samples", "components", "registered"]


class MLP(Network):
    """A residual network predicts the numbers that a window is made of, and another one whether the cell fires.

    Args:
        samples: Points of one window.
        begin_ms: Time of the first point, 0 being the AP start.
        interval_ms: Time from one to the next.
        inputs: Scaled conductances.
        target: What the numbers are: the "samples" themselves, principal "components" of the windows, or those of the
            "registered" cycle with its landmarks.
        components: Principal components; "samples" has none.
        width: Of the layers.
        blocks: Residual blocks of two layers each.
        members: Networks of the ensemble.
    """

    def __init__(
        self,
        samples: PositiveInt,
        begin_ms: float = 0.0,
        interval_ms: float = 1.0,
        inputs: PositiveInt = 5,
        target: Representation = "samples",
        components: PositiveInt = 48,
        width: PositiveInt = 256,
        blocks: NonNegativeInt = 3,
        members: PositiveInt = 1,
    ) -> None:
        super().__init__()
        self.target = _target(target, samples, begin_ms, interval_ms, components)
        self.trunk = Trunk(members, inputs, self.target.size, width, blocks)
        self.firing = FiringHead(members, inputs)

    @property
    def trained_on(self) -> Literal["windows", "cycles"]:  # type: ignore[override]
        """What its training rows are, which hangs on the target."""
        return self.target.trained_on

    def fit_target(self, batches: Iterable[RowBatch]) -> None:
        """Fit the representation to the rows of the training part."""
        self.target.fit(batches)

    def forward(self, scales: ScaleBatch) -> VoltageBatch:
        """Return the window of each scale vector in mV, made from the mean of the members' numbers."""
        window: torch.Tensor = self.target(self.trunk(scales).mean(0))
        return window

    def summed_error(self, scales: ScaleBatch, rows: RowBatch) -> torch.Tensor:
        """Return the target's squared error of each row, averaged over the members and summed over the batch."""
        return self.target.squared_error(self.trunk(scales), rows).mean(0).sum()

    def firing_error(self, scales: ScaleBatch, fires: CellBatch) -> torch.Tensor:
        """Return the cross entropy of each cell, averaged over the members and summed over the batch."""
        return self.firing.summed_error(scales, fires)

    def firing_logit(self, scales: ScaleBatch) -> CellBatch:
        """Return the logarithm of the odds that each cell fires."""
        logit: torch.Tensor = self.firing(scales)
        return logit

    def cycle_length_ms(self, scales: ScaleBatch) -> CellBatch | None:
        """Return the cycle length, where the target has it."""
        return self.target.cycle_length_ms(self.trunk(scales).mean(0))


def _target(name: Representation, samples: int, begin_ms: float, interval_ms: float, components: int) -> Target:
    if name == "registered":
        return RegisteredCycle(samples, begin_ms, interval_ms, components)
    return PrincipalComponents(samples, components) if name == "components" else Normaliser(samples)
