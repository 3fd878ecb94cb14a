"""Dense residual networks that predict any representation of the window."""

from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from cardioemu.common.tensors import ScaleBatch
from cardioemu.models.layers.ensemble import EnsembleMLP, Features, FiringHead
from cardioemu.models.networks.target_network import TargetNetwork
from cardioemu.models.targets.normaliser import Normaliser
from cardioemu.models.targets.principal_components import PrincipalComponents
from cardioemu.models.targets.registered_cycle import RegisteredCycle


class MLP(TargetNetwork):
    """An `EnsembleMLP` predicts the latents of the window, and a separate network whether the cell fires.

    Args:
        target: The representation: "samples" of the window, "components" (principal components of the windows), or
            "registered" (principal components of the registered cycle, and its landmarks).
        components: Number of principal components, if the representation has them.
    """

    size_argument = "width"

    def __init__(
        self,
        samples: PositiveInt,
        begin_ms: float = 0.0,
        interval_ms: float = 1.0,
        inputs: PositiveInt = 5,
        target: Literal["samples", "components", "registered"] = "samples",
        components: PositiveInt = 48,
        width: PositiveInt = 256,
        blocks: NonNegativeInt = 3,
        members: PositiveInt = 1,
    ) -> None:
        super().__init__()
        if target == "registered":
            self.target = RegisteredCycle(samples, begin_ms, interval_ms, components)
        else:
            self.target = PrincipalComponents(samples, components) if target == "components" else Normaliser(samples)
        self.trunk = EnsembleMLP(members, inputs, self.target.size, width, blocks)
        self.firing = FiringHead(members, inputs)

    def member_latents(self, scales: ScaleBatch) -> Features:
        """Return each member's latents."""
        return self.trunk(scales)
