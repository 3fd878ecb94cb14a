"""Windows by transposed convolutions."""

from itertools import pairwise

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import nn

from cardioemu.common.tensors import ScaleBatch
from cardioemu.models.layers.ensemble import EnsembleMLP, Features, FiringHead
from cardioemu.models.networks.target_network import TargetNetwork
from cardioemu.models.targets.normaliser import Normaliser

STRIDE, KERNEL, PADDING = 4, 8, 2
"""Every layer turns 1 point into 4, and each new point depends on the two nearest old ones. With a kernel that is no
multiple of the stride some depend on more, and the pattern shows in the window (Odena, Dumoulin and Olah 2016)."""


class Decoder(TargetNetwork):
    """An `EnsembleMLP` predicts a short feature map, from which transposed convolutions make the window.

    Each layer has four times as many points and half as many channels as the one before, so that all layers take about
    the same time. The weights are shared along the window. A separate network predicts whether the cell fires.

    Source: the decoder is the generator of Radford, Metz and Chintala 2015, in one dimension.

    Args:
        channels: Number of channels of the first feature map.
        layers: Number of transposed convolutions; the first map has `samples / 4 ** layers` points, rounded up.
    """

    size_argument = "width"

    def __init__(
        self,
        samples: PositiveInt,
        inputs: PositiveInt = 5,
        channels: PositiveInt = 64,
        layers: PositiveInt = 4,
        width: PositiveInt = 256,
        blocks: NonNegativeInt = 3,
        members: PositiveInt = 1,
    ) -> None:
        super().__init__()
        length = -(-samples // STRIDE**layers)
        widths = [*(max(channels >> layer, 1) for layer in range(layers)), 1]
        self.first_map = (members * channels, length)
        self.trunk = EnsembleMLP(members, inputs, channels * length, width, blocks)
        self.layers = nn.Sequential()
        for before, after in pairwise(widths):
            self.layers.append(nn.SiLU())
            # Each member is a group, which torch initialises like a network alone.
            self.layers.append(
                nn.ConvTranspose1d(members * before, members * after, KERNEL, STRIDE, PADDING, groups=members)
            )
        self.target = Normaliser(samples)
        self.firing = FiringHead(members, inputs)

    def member_latents(self, scales: ScaleBatch) -> Features:
        """Return each member's normalised window."""
        channels, length = self.first_map
        features = self.trunk(scales).transpose(0, 1).reshape(len(scales), channels, length)
        window: torch.Tensor = self.layers(features)
        return window[..., : self.target.size].transpose(0, 1)
