"""Dense residual networks that predict any representation of the window."""

from pydantic import NonNegativeInt, PositiveInt

from cardioemu.common.tensors import ScaleBatch
from cardioemu.models.layers.ensemble import EnsembleMLP, Features
from cardioemu.models.layers.firing_head import FiringHead
from cardioemu.models.networks.target_network import TargetName, TargetNetwork, make_target


class MLP(TargetNetwork):
    """A residual network predicts the latents of the window, and a separate one whether the cell fires.

    Args:
        samples: Samples of one window.
        begin_ms: Time of the first sample; 0 is the AP start.
        interval_ms: Time between samples.
        inputs: Number of scaled conductances.
        target: Representation whose latents are predicted, see `make_target`.
        components: Number of principal components, if the representation has them.
        width: Width of the layers.
        blocks: Number of residual blocks, of two layers each.
        members: Number of networks in the ensemble.
    """

    size_argument = "width"

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
        """Return each member's latents."""
        return self.trunk(scales)
