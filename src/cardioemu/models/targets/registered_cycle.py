"""Windows of steady beating made from one cycle in registered time."""

import math
from typing import NamedTuple

import torch
from pydantic import PositiveInt
from torch._subclasses.fake_tensor import FakeTensor

from cardioemu.common.registration import EDGE_MS, LANDMARKS, NODE_COUNT, node_times_ms
from cardioemu.common.tensors import CellBatch, RowBatch, RowBatches, VoltageBatch
from cardioemu.models.targets.hermite import sample_hermite
from cardioemu.models.targets.principal_components import principal_components
from cardioemu.models.targets.target import Errors, Latents, MemberLatents, Representation, Weights

MARKS = len(LANDMARKS)
MIN_COMPONENT_WEIGHT = 0.003
"""Components count at least as if they had this part of the spread of the first."""

WEIGHTS = {"landmarks": 3.0, "gains": 0.1, "beats": 0.3}
REHEARSED = 2
MIN_SEPARATION = 1.02
"""Landmarks predicted closer than the warp allows are put this factor apart."""

LONGEST_MS = 3e4
"""Landmarks predicted later are cut: in float32 the nodes of an upstroke would fall together, or all overflow."""


class CycleParameters(NamedTuple):
    """What a cell does at the beginning of its window.

    Attributes:
        nodes_mV: V at the nodes of registered time (batch, nodes).
        log_landmarks: logarithms of the landmarks in ms (batch, landmarks), of the cycle that begins at time 0.
        gains: what they gain per beat (batch, landmarks).
    """

    nodes_mV: torch.Tensor
    log_landmarks: torch.Tensor
    gains: torch.Tensor


class RegisteredCycle(Representation):
    """The cycle in registered time as principal components, its landmarks, and how these change from beat to beat.

    Trained on the rows of `cardioemu.windowing.CycleRule`. A window of any place and length is one cycle after the
    other, each with landmarks of its own and all with the same V in registered time.

    Args:
        samples: Points of a window.
        begin_ms: Time of its first point, 0 being the AP start.
        interval_ms: Time from one to the next.
        components: Principal components of the cycle.
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
        self.size = components + 2 * MARKS + 1
        self.register_buffer("mean_mV", torch.zeros(NODE_COUNT))
        self.register_buffer("basis", torch.zeros(components, NODE_COUNT))
        self.register_buffer("centre", torch.zeros(self.size))
        self.register_buffer("spread", torch.ones(self.size))
        self.register_buffer("weight", torch.ones(self.size))

    @torch.no_grad()
    def fit(self, batches: RowBatches) -> None:
        """Fit mean, components, centres and spreads; raises as `principal_components`."""
        rows = list(batches)
        mean, basis, spread = principal_components(rows, self.components, slice(NODE_COUNT))
        self.mean_mV.copy_(mean)
        self.basis.copy_(basis)
        others = torch.cat([batch[:, NODE_COUNT:] for batch in rows]).double()
        centre, deviation = others.mean(0), others.std(0, correction=0).clamp(min=1e-6)
        gains = slice(MARKS, 2 * MARKS)
        centre[gains] = 0.0
        deviation[gains] = 3 * others[:, gains].abs().median(0).values.clamp(min=1e-6)
        self.centre.copy_(torch.cat([spread.new_zeros(self.components), centre]))
        self.spread.copy_(torch.cat([spread, deviation]))
        weights = [WEIGHTS["landmarks"]] * MARKS + [WEIGHTS["gains"]] * MARKS + [WEIGHTS["beats"]]
        self.weight.copy_(torch.cat([(spread / spread[0]).clamp(min=MIN_COMPONENT_WEIGHT), spread.new_tensor(weights)]))

    def encode(self, rows: RowBatch) -> Latents:
        """Return the numbers of registered cycles, the gains compressed."""
        coefficients = (rows[:, :NODE_COUNT] - self.mean_mV) @ self.basis.T
        numbers = (torch.cat([coefficients, rows[:, NODE_COUNT:]], 1) - self.centre) / self.spread
        gains = slice(self.components + MARKS, self.components + 2 * MARKS)
        numbers[:, gains] = _asinh_scale(numbers[:, gains])
        return numbers

    def squared_error(self, numbers: MemberLatents, rows: RowBatch) -> Errors:
        """Return the weighted squared distance of numbers from those of registered cycles, without a unit."""
        return ((numbers - self.encode(rows)) * self.weight).square().sum(-1)

    def weights(self) -> Weights:
        """Return them, without a unit."""
        return self.weight

    def forward(self, numbers: Latents) -> VoltageBatch:
        """Return the windows in mV."""
        beating = self.cycle_parameters(numbers)
        times_ms, voltages_mV = concatenate_cycles(
            beating, self.begin_ms, self.begin_ms + self.interval_ms * self.samples
        )
        return sample_hermite(times_ms, voltages_mV, self.begin_ms, self.interval_ms, self.samples)

    def cycle_length_ms(self, numbers: Latents) -> CellBatch:
        """Return the length of the cycle that begins at time 0."""
        return self._timing(numbers)[0][:, -1].exp()

    def cycle_parameters(self, numbers: Latents) -> CycleParameters:
        """Return what numbers say, moved from the time that the rows were taken at to the AP start after it."""
        k = self.components
        nodes_mV = self.mean_mV + (numbers[:, :k] * self.spread[:k]) @ self.basis
        return CycleParameters(nodes_mV, *self._timing(numbers))

    def _timing(self, numbers: Latents) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logarithms of the landmarks at that AP start, and their gains (batch, landmarks)."""
        k = self.components
        gains = _sinh_scale(numbers[:, k + MARKS : k + 2 * MARKS]) * self.spread[k + MARKS : k + 2 * MARKS]
        others = self.centre[k:] + numbers[:, k:] * self.spread[k:]
        beats = others[:, -1:]
        until = torch.where(beats < 0, 0.0, beats.ceil() - beats)  # 0: the row of a cell yet to begin is its first beat
        return others[:, :MARKS] + until * gains, gains


def concatenate_cycles(beating: CycleParameters, begin_ms: float, end_ms: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return times (batch, nodes) in ms and V there in mV of all cycles that windows from begin to end touch."""
    before, after = _needed(beating, -begin_ms, -1), max(1, _needed(beating, end_ms, 1))
    landmarks_ms = _landmarks_ms(beating, torch.arange(-before, after, device=beating.gains.device))
    times_ms = node_times_ms(landmarks_ms, torch)
    ends_ms = times_ms[..., -1].cumsum(1)
    starts_ms = ends_ms - times_ms[..., -1]
    zero_ms = starts_ms[:, before : before + 1]
    inner_ms = (starts_ms - zero_ms)[..., None] + times_ms[..., :-1]
    nodes_mV = beating.nodes_mV
    voltage_mV = torch.cat([nodes_mV[:, :-1].repeat(1, before + after), nodes_mV[:, -1:]], 1)
    return torch.cat([inner_ms.flatten(1), ends_ms[:, -1:] - zero_ms], 1), voltage_mV


@torch.no_grad()
def _needed(beating: CycleParameters, span_ms: float, way: int) -> int:
    """Count the cycles that fill a time after (`way` 1) or before (-1) time 0 in every cell."""
    if isinstance(beating.gains, FakeTensor):  # in a rehearsal, which has shapes but no numbers
        return REHEARSED
    count, filled_ms = 0, torch.zeros_like(beating.gains[:, 0])
    while len(filled_ms) and float(filled_ms.min()) < span_ms:
        number = torch.tensor([count if way > 0 else -1 - count], device=beating.gains.device)
        filled_ms = filled_ms + _landmarks_ms(beating, number)[:, 0, -1]
        count += 1
    return count


def _landmarks_ms(beating: CycleParameters, numbers: torch.Tensor) -> torch.Tensor:
    """Landmarks (batch, numbers, landmarks) of some cycles, as far apart as the warp needs them; 0 begins at time 0."""
    log_ms = beating.log_landmarks[:, None] + numbers[:, None] * beating.gains[:, None]
    apd50_ms, apd90_ms, cl_ms = log_ms.clamp(max=math.log(LONGEST_MS)).exp().unbind(-1)
    apd50_ms = apd50_ms.clamp(min=MIN_SEPARATION * EDGE_MS)
    apd90_ms = torch.maximum(apd90_ms, MIN_SEPARATION * apd50_ms)
    cl_ms = torch.maximum(cl_ms, MIN_SEPARATION * apd90_ms + EDGE_MS)
    return torch.stack([apd50_ms, apd90_ms, cl_ms], -1)


def _asinh_scale(x: torch.Tensor) -> torch.Tensor:
    return torch.asinh(x) / 2


def _sinh_scale(x: torch.Tensor) -> torch.Tensor:
    return torch.sinh(2 * x.clamp(-5, 5))
