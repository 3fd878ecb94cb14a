"""Windows of steady beating, represented by one cycle in registered time."""

import math
from typing import NamedTuple

import torch
from pydantic import PositiveInt

from cardioemu.common.registration import EDGE_MS, LANDMARKS, NODE_COUNT, node_times_ms
from cardioemu.common.tensors import CellBatch, VectorBatch, VectorBatches, VoltageBatch, is_fake
from cardioemu.models.targets.hermite import sample_hermite
from cardioemu.models.targets.principal_components import principal_components
from cardioemu.models.targets.target import Errors, Latents, MemberLatents, Representation, Weights

LANDMARK_COUNT = len(LANDMARKS)
MIN_COMPONENT_WEIGHT = 0.003
"""Minimum weight of a component; the weight is its standard deviation relative to the first component's."""

WEIGHTS = {"landmarks": 3.0, "gains": 0.1, "beats": 0.3}
FAKE_CYCLES = 2
"""Cycles per window, before and after time 0, that the preflight assumes."""

MIN_SEPARATION = 1.02
"""Minimum ratio of consecutive landmarks; landmarks that are predicted closer than the warp allows are moved apart."""

MAX_LANDMARK_MS = 3e4
"""Later landmarks are clipped: in float32 the nodes of an upstroke would coincide, or all overflow."""


class CycleParameters(NamedTuple):
    """The cycle of each cell that begins at time 0, and its change from beat to beat.

    Attributes:
        nodes_mV: V at the nodes of registered time (batch, nodes).
        log_landmarks: logarithms of the landmarks in ms (batch, landmarks).
        gains: increase of these logarithms per beat (batch, landmarks).
    """

    nodes_mV: torch.Tensor
    log_landmarks: torch.Tensor
    gains: torch.Tensor


class RegisteredCycle(Representation):
    """The principal components of the cycle in registered time, its landmarks, and their change from beat to beat.

    The training vectors are those of `cardioemu.windowing.CycleRule`. A window of any position and length is a sequence
    of cycles with their own landmarks but the same V in registered time.

    Attributes:
        centre: mean of the entries that follow the nodes in a training vector, after a zero for each component.
        spread: standard deviation of each latent's variable.
        weight: weight of the error of each latent.
    """

    trained_on = "cycles"
    mean_mV: torch.Tensor
    centre: torch.Tensor
    basis: torch.Tensor
    spread: torch.Tensor
    weight: torch.Tensor

    def __init__(self, samples: PositiveInt, begin_ms: float, interval_ms: float, components: PositiveInt) -> None:
        super().__init__()
        self.samples, self.begin_ms, self.interval_ms, self.components = samples, begin_ms, interval_ms, components
        self.size = components + 2 * LANDMARK_COUNT + 1
        self.register_buffer("mean_mV", torch.zeros(NODE_COUNT))
        self.register_buffer("basis", torch.zeros(components, NODE_COUNT))
        self.register_buffer("centre", torch.zeros(self.size))
        self.register_buffer("spread", torch.ones(self.size))
        self.register_buffer("weight", torch.ones(self.size))

    @torch.no_grad()
    def fit(self, batches: VectorBatches) -> None:
        """Fit mean, components, centres and standard deviations; raises as `principal_components` does."""
        vectors = list(batches)
        mean, basis, components_std = principal_components(vectors, self.components, slice(NODE_COUNT))
        self.mean_mV.copy_(mean)
        self.basis.copy_(basis)
        others = torch.cat([batch[:, NODE_COUNT:] for batch in vectors]).double()
        centre, others_std = others.mean(0), others.std(0, correction=0).clamp(min=1e-6)
        gains = slice(LANDMARK_COUNT, 2 * LANDMARK_COUNT)
        centre[gains] = 0.0
        others_std[gains] = 3 * others[:, gains].abs().median(0).values.clamp(min=1e-6)
        self.centre.copy_(torch.cat([components_std.new_zeros(self.components), centre]))
        self.spread.copy_(torch.cat([components_std, others_std]))
        weights = [WEIGHTS["landmarks"]] * LANDMARK_COUNT + [WEIGHTS["gains"]] * LANDMARK_COUNT + [WEIGHTS["beats"]]
        of_components = (components_std / components_std[0]).clamp(min=MIN_COMPONENT_WEIGHT)
        self.weight.copy_(torch.cat([of_components, of_components.new_tensor(weights)]))

    def encode(self, vectors: VectorBatch) -> Latents:
        """Return the latents of registered cycles, with the gains on an asinh scale."""
        coefficients = (vectors[:, :NODE_COUNT] - self.mean_mV) @ self.basis.T
        latents = (torch.cat([coefficients, vectors[:, NODE_COUNT:]], 1) - self.centre) / self.spread
        gains = slice(self.components + LANDMARK_COUNT, self.components + 2 * LANDMARK_COUNT)
        latents[:, gains] = torch.asinh(latents[:, gains]) / 2
        return latents

    def squared_error(self, latents: MemberLatents, vectors: VectorBatch) -> Errors:
        """Return the weighted squared distance of latents from those of registered cycles, dimensionless."""
        return ((latents - self.encode(vectors)) * self.weight).square().sum(-1)

    def weights(self) -> Weights:
        """Return the weights, dimensionless."""
        return self.weight

    def forward(self, latents: Latents) -> VoltageBatch:
        """Return the windows in mV."""
        end_ms = self.begin_ms + self.interval_ms * self.samples
        times_ms, voltages_mV = concatenate_cycles(self.cycle_parameters(latents), self.begin_ms, end_ms)
        return sample_hermite(times_ms, voltages_mV, self.begin_ms, self.interval_ms, self.samples)

    def cycle_length_ms(self, latents: Latents) -> CellBatch:
        """Return the length of the cycle that begins at time 0."""
        return self._timing(latents)[0][:, -1].exp()

    def cycle_parameters(self, latents: Latents) -> CycleParameters:
        """Return the parameters at the AP start that follows the time of the training vectors."""
        k = self.components
        nodes_mV = self.mean_mV + (latents[:, :k] * self.spread[:k]) @ self.basis
        return CycleParameters(nodes_mV, *self._timing(latents))

    def _timing(self, latents: Latents) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logarithms of the landmarks at that AP start, and their gains (batch, landmarks)."""
        k = self.components
        of_gains = slice(k + LANDMARK_COUNT, k + 2 * LANDMARK_COUNT)
        # The inverse of the asinh scale, clamped against overflow.
        gains = torch.sinh(2 * latents[:, of_gains].clamp(-5, 5)) * self.spread[of_gains]
        others = self.centre[k:] + latents[:, k:] * self.spread[k:]
        beats = others[:, -1:]
        # Beats below 0: the cell has yet to begin, and its vector describes its first beat.
        beats_to_start = torch.where(beats < 0, 0.0, beats.ceil() - beats)
        return others[:, :LANDMARK_COUNT] + beats_to_start * gains, gains


def concatenate_cycles(cycle: CycleParameters, begin_ms: float, end_ms: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the times (batch, nodes) in ms, and V there in mV, of all cycles that overlap the window."""
    before, after = _count_cycles(cycle, -begin_ms, -1), max(1, _count_cycles(cycle, end_ms, 1))
    landmarks_ms = _landmarks_ms(cycle, torch.arange(-before, after, device=cycle.gains.device))
    times_ms = node_times_ms(landmarks_ms, torch)
    ends_ms = times_ms[..., -1].cumsum(1)
    starts_ms = ends_ms - times_ms[..., -1]
    zero_ms = starts_ms[:, before : before + 1]
    inner_ms = (starts_ms - zero_ms)[..., None] + times_ms[..., :-1]
    nodes_mV = cycle.nodes_mV
    voltage_mV = torch.cat([nodes_mV[:, :-1].repeat(1, before + after), nodes_mV[:, -1:]], 1)
    return torch.cat([inner_ms.flatten(1), ends_ms[:, -1:] - zero_ms], 1), voltage_mV


@torch.no_grad()
def _count_cycles(cycle: CycleParameters, span_ms: float, direction: int) -> int:
    """Count the cycles that cover a time span after (`direction` 1) or before (-1) time 0 in every cell."""
    if is_fake(cycle.gains):
        return FAKE_CYCLES
    count, covered_ms = 0, torch.zeros_like(cycle.gains[:, 0])
    while len(covered_ms) and float(covered_ms.min()) < span_ms:
        index = torch.tensor([count if direction > 0 else -1 - count], device=cycle.gains.device)
        covered_ms = covered_ms + _landmarks_ms(cycle, index)[:, 0, -1]
        count += 1
    return count


def _landmarks_ms(cycle: CycleParameters, indices: torch.Tensor) -> torch.Tensor:
    """Return the landmarks (batch, indices, landmarks) of some cycles, moved apart as far as the warp needs.

    Cycle 0 begins at time 0, cycle -1 ends there.
    """
    log_ms = cycle.log_landmarks[:, None] + indices[:, None] * cycle.gains[:, None]
    apd50_ms, apd90_ms, cl_ms = log_ms.clamp(max=math.log(MAX_LANDMARK_MS)).exp().unbind(-1)
    apd50_ms = apd50_ms.clamp(min=MIN_SEPARATION * EDGE_MS)
    apd90_ms = torch.maximum(apd90_ms, MIN_SEPARATION * apd50_ms)
    cl_ms = torch.maximum(cl_ms, MIN_SEPARATION * apd90_ms + EDGE_MS)
    return torch.stack([apd50_ms, apd90_ms, cl_ms], -1)
