"""Dense residual networks from scales to any representation of the window."""

import torch
from pydantic import NonNegativeInt, PositiveInt

from cardioemu.models.firing import FiringHead
from cardioemu.models.members import Trunk
from cardioemu.models.target import Numbers
from cardioemu.models.target_network import Representation, TargetNetwork, make_target
from cardioemu.tensors import CellBatch, MemberCells, MemberWindows, RowBatch, ScaleBatch


class MLP(TargetNetwork):
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
        self.target = make_target(target, samples, begin_ms, interval_ms, components)
        self.trunk = Trunk(members, inputs, self.target.size, width, blocks)
        self.firing = FiringHead(members, inputs)

    def numbers(self, scales: ScaleBatch) -> Numbers:
        """Return the mean of the members' numbers."""
        return self.trunk(scales).mean(0)

    def summed_error(self, scales: ScaleBatch, rows: RowBatch) -> torch.Tensor:
        """Return the target's squared error of each row, averaged over the members and summed over the batch."""
        return self.target.squared_error(self.trunk(scales), rows).mean(0).sum()

    def member_windows(self, scales: ScaleBatch) -> MemberWindows | None:
        """Return the window that each member's own numbers make."""
        if self.trunk.members == 1:
            return None
        return torch.stack([self.target(numbers) for numbers in self.trunk(scales)])

    def member_cycle_lengths_ms(self, scales: ScaleBatch) -> MemberCells | None:
        """Return the cycle length of each member's own numbers, where the target has it."""
        found = [self.target.cycle_length_ms(numbers) for numbers in self.trunk(scales)]
        lengths_ms = [each for each in found if each is not None]
        return torch.stack(lengths_ms) if len(lengths_ms) > 1 else None

    def disagreement(self, scales: ScaleBatch) -> CellBatch | None:
        """Return how far the members' numbers are from their mean, in the root of the squared error."""
        numbers = self.trunk(scales)
        if len(numbers) == 1:
            return None
        return ((numbers - numbers.mean(0)) * self.target.weights()).square().sum(-1).mean(0).sqrt()
