"""Dense residual networks from scales to any representation of the window."""

from pydantic import NonNegativeInt, PositiveInt

from cardioemu.common.tensors import ScaleBatch
from cardioemu.models.layers.ensemble import EnsembleMLP, Features
from cardioemu.models.layers.firing_head import FiringHead
from cardioemu.models.networks.target_network import TargetName, TargetNetwork, make_target


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
        target: TargetName = "samples",
        components: PositiveInt = 48,
        width: PositiveInt = 256,
        blocks: NonNegativeInt = 3,
        members: PositiveInt = 1,
    ) -> None:
        super().__init__()
        self.target = make_target(target, samples, begin_ms, interval_ms, components)
        self.trunk = EnsembleMLP(members, inputs, self.target.size, width, blocks)
        self.firing = FiringHead(members, inputs)

    def member_latents(self, scales: ScaleBatch) -> Features:
        """Return the numbers of each member."""
        return self.trunk(scales)
