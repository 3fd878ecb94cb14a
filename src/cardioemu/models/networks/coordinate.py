"""V as a function of scales and time: a network with time among its inputs."""

import math

import torch
from jaxtyping import Float, Int
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch.utils.checkpoint import checkpoint

from cardioemu.common.tensors import ScaleBatch, VectorBatch
from cardioemu.models.layers.ensemble import EnsembleMLP, Features, FiringHead
from cardioemu.models.networks.target_network import TargetNetwork
from cardioemu.models.targets.normaliser import Normaliser

POINTS_AT_ONCE = 2**15
"""Points in time, of all cells and members, that `forward` computes together."""

SampleIndices = Int[torch.Tensor, "#batch points"]


class Coordinate(TargetNetwork):
    """An `EnsembleMLP` that maps scales and time to V, and a separate network that predicts whether the cell fires.

    The inputs for time are the time itself, relative to the longest time in the window, and its sines and cosines with
    periods that double from `shortest_ms` to the length of the window: from time alone a network learns slow changes
    long before fast ones. A training batch computes only some samples of each window, drawn anew for every batch.

    Source: time as an input, Grandits et al. 2024, doi 10.7554/eLife.91911 (powers of time); sines and cosines, Tancik
    et al. 2020.

    Args:
        shortest_ms: Shortest period of the sines and cosines. Shorter periods resolve closer times; with 200 cells the
            network then overfitted, with 1 000 it made no difference.
        points: Number of samples of each window that a training batch computes.
    """

    size_argument = "width"
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
        """Return each member's normalised window.

        Memory does not grow with the number of samples, even with gradients: the activations are recomputed in the
        backward pass. `torch.func` supports only forward mode (jacfwd, not jacrev).
        """
        count = max(1, POINTS_AT_ONCE // (self.trunk.members * max(1, len(scales))))
        indices = torch.arange(self.target.size, device=scales.device)[None]
        chunks = [
            checkpoint(self._latents, scales, chunk, use_reentrant=False, preserve_rng_state=False)
            for chunk in indices.split(count, 1)
        ]
        return torch.cat(chunks, -1)

    def loss(self, scales: ScaleBatch, vectors: VectorBatch) -> torch.Tensor:
        """Return the mean squared error of each window in mV^2, averaged over the members and summed over the batch.

        It is estimated from `points` evenly spaced samples, whose offset is drawn anew for each window. Its expectation
        is the error over all samples; with as many points as samples it is exact.
        """
        samples, device = vectors.shape[1], vectors.device
        spaced = torch.arange(self.points, device=device) * samples // self.points
        drawn = (spaced + torch.randint(samples, (len(vectors), 1), device=device)) % samples
        predicted = self.target.mean_mV[drawn] + self.target.std_mV * self._latents(scales, drawn)
        return (predicted - vectors.gather(1, drawn)).square().mean(-1).mean(0).sum()

    def _latents(self, scales: ScaleBatch, indices: SampleIndices) -> Float[torch.Tensor, "members batch points"]:
        """Return each member's normalised V at some samples, which are the same for all cells or differ."""
        shape = len(scales), indices.shape[1]
        features = self._time_features(indices.to(scales.dtype)).expand(*shape, -1)
        # The trunk subtracts 1 from its inputs, which suits scales.
        inputs = torch.cat([scales[:, None].expand(*shape, -1), 1 + features], -1)
        latents: torch.Tensor = self.trunk(inputs.flatten(0, 1))
        return latents.reshape(self.trunk.members, *shape)

    def _time_features(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the inputs for the times of some samples (batch, points, features), between about -1 and 1."""
        time_ms = (self.begin_ms + self.interval_ms * indices).unsqueeze(-1)
        period_ms = self.shortest_ms * 2 ** torch.arange(self.periods, dtype=indices.dtype, device=indices.device)
        phase = 2 * math.pi * time_ms / period_ms
        return torch.cat([time_ms / self.longest_ms, phase.sin(), phase.cos()], -1)
