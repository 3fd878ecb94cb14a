"""V at a time: a network with time among its inputs."""

import math

import torch
from jaxtyping import Float, Int
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch.utils.checkpoint import checkpoint

from cardioemu.common.tensors import RowBatch, ScaleBatch
from cardioemu.models.layers.ensemble import EnsembleMLP, Features
from cardioemu.models.layers.firing_head import FiringHead
from cardioemu.models.networks.target_network import TargetNetwork
from cardioemu.models.targets.normaliser import Normaliser

AT_ONCE = 2**15
"""Times of all cells and members that `forward` calculates together."""

Samples = Int[torch.Tensor, "#batch points"]


class Coordinate(TargetNetwork):
    """A residual network says V of scales and time, and another one whether the cell fires.

    Time enters in units of the longest in the window, 0 being the AP start, and as sines and cosines whose periods
    double from `shortest_ms` to the length of the window: from bare time a network learns slow changes long before fast
    ones. Of each training row only some samples are calculated, drawn anew for every batch.

    Source: time as an input, Grandits et al. 2024, doi 10.7554/eLife.91911 (whose time enters as its powers); sines
    and cosines, Tancik et al. 2020.

    Args:
        samples: Points of one window.
        begin_ms: Time of the first point, 0 being the AP start.
        interval_ms: Time from one to the next.
        inputs: Scaled conductances.
        shortest_ms: Shortest period of the sines and cosines: shorter ones tell closer times apart; of 200 cells the
            network then learnt what other cells do not have, of 1 000 it made no difference.
        points: Samples of each training row that a batch calculates.
        width: Of the layers.
        blocks: Residual blocks of two layers each.
        members: Networks of the ensemble.
    """

    target: Normaliser

    def __init__(
        self,
        samples: PositiveInt,
        begin_ms: float = 0.0,
        interval_ms: PositiveFloat = 1.0,
        inputs: PositiveInt = 5,
        shortest_ms: PositiveFloat = 64.0,
        points: PositiveInt = 64,
        width: PositiveInt = 128,
        blocks: NonNegativeInt = 3,
        members: PositiveInt = 1,
    ) -> None:
        super().__init__()
        length_ms = interval_ms * samples
        self.begin_ms, self.interval_ms, self.shortest_ms, self.points = begin_ms, interval_ms, shortest_ms, points
        self.longest_ms = max(abs(begin_ms), abs(begin_ms + length_ms))
        self.periods = 1 + max(0, math.ceil(math.log2(length_ms / shortest_ms)))
        self.trunk = EnsembleMLP(members, inputs + 1 + 2 * self.periods, 1, width, blocks)
        self.target = Normaliser(samples)
        self.firing = FiringHead(members, inputs)

    def member_latents(self, scales: ScaleBatch) -> Features:
        """Return what the normaliser turns into the members' windows.

        Memory does not grow with the samples, not even for gradients: those of the layers are calculated again on the
        way back. `torch.func` can differentiate this forward only (jacfwd, not jacrev).
        """
        count = max(1, AT_ONCE // (self.trunk.members * max(1, len(scales))))
        every = torch.arange(self.target.size, device=scales.device)[None]
        parts = [
            checkpoint(self._latents, scales, some, use_reentrant=False, preserve_rng_state=False)
            for some in every.split(count, 1)
        ]
        return torch.cat(parts, -1)

    def loss(self, scales: ScaleBatch, rows: RowBatch) -> torch.Tensor:
        """Return the mean squared error of each row in mV^2, averaged over the members and summed over the batch.

        It is that of `points` samples as far apart as can be, the first drawn anew for each row: on the mean over the
        draws that of all samples, and with as many points as samples just that.
        """
        samples, device = rows.shape[1], rows.device
        comb = torch.arange(self.points, device=device) * samples // self.points
        drawn = (comb + torch.randint(samples, (len(rows), 1), device=device)) % samples
        predicted = self.target.mean_mV[drawn] + self.target.std_mV * self._latents(scales, drawn)
        return (predicted - rows.gather(1, drawn)).square().mean(-1).mean(0).sum()

    def _latents(self, scales: ScaleBatch, drawn: Samples) -> Float[torch.Tensor, "members batch points"]:
        """Return what the normaliser turns into the members' V at some samples, of each cell or of all."""
        shape = len(scales), drawn.shape[1]
        features = self._features(drawn.to(scales.dtype)).expand(*shape, -1)
        # The trunk takes its inputs about 1, where the control's scales are.
        inputs = torch.cat([scales[:, None].expand(*shape, -1), 1 + features], -1)
        numbers: torch.Tensor = self.trunk(inputs.flatten(0, 1))
        return numbers.reshape(self.trunk.members, *shape)

    def _features(self, drawn: torch.Tensor) -> torch.Tensor:
        """Return time as the trunk takes it, (batch, points, features), about -1 to 1."""
        time_ms = (self.begin_ms + self.interval_ms * drawn).unsqueeze(-1)
        period_ms = self.shortest_ms * 2 ** torch.arange(self.periods, dtype=drawn.dtype, device=drawn.device)
        phase = 2 * math.pi * time_ms / period_ms
        return torch.cat([time_ms / self.longest_ms, phase.sin(), phase.cos()], -1)
