"""Transposed convolutions from scales to the window."""

from itertools import pairwise

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import nn

from cardioemu.common.tensors import ScaleBatch
from cardioemu.models.layers.ensemble import EnsembleMLP, Features
from cardioemu.models.layers.firing_head import FiringHead
from cardioemu.models.networks.target_network import TargetNetwork
from cardioemu.models.targets.normaliser import Normaliser

STRIDE, KERNEL, PADDING = 4, 8, 2
"""Every layer makes 4 points of one, and each of these of the two nearest: a kernel that is no multiple of the stride
makes some of more points than others, and the pattern shows in the window (Odena, Dumoulin and Olah 2016)."""


class Decoder(TargetNetwork):
    """Dense layers make a short map of features, transposed convolutions the window of it; a head tells who fires.

    From layer to layer the map gets four times the points and half the channels, so all layers take about as long, and
    weights are shared along the window: most of its points cost no weight of their own.

    Source: the decoder is the generator of Radford, Metz and Chintala 2015, in one dimension.

    Args:
        samples: Points of one window.
        inputs: Scaled conductances.
        channels: Of the first map.
        layers: Transposed convolutions; the first map has `samples / 4 ** layers` points, rounded up.
        width: Of the dense layers.
        blocks: Residual blocks of two dense layers each.
        members: Networks of the ensemble.
    """

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
            # A member is a group: torch then starts each as it would start it alone.
            self.layers.append(
                nn.ConvTranspose1d(members * before, members * after, KERNEL, STRIDE, PADDING, groups=members)
            )
        self.target = Normaliser(samples)
        self.firing = FiringHead(members, inputs)

    def member_latents(self, scales: ScaleBatch) -> Features:
        """Return what the normaliser turns into the members' windows."""
        channels, length = self.first_map
        features = self.trunk(scales).transpose(0, 1).reshape(len(scales), channels, length)
        surplus: torch.Tensor = self.layers(features)
        return surplus[..., : self.target.size].transpose(0, 1)
