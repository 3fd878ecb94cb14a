"""What the samples of a window say as a continuous curve: its APs, their biomarkers, the phase that each sample is in.

Limits of samples: the curve between them is a cubic spline, so what is narrower than two of them is lost. APs of 1 ms
upstrokes sampled every 0.5 ms give APDs within 0.01 ms; at intervals of 1 ms and more dV/dt max is too small, and peaks
are cut. What a window does not show cannot be measured: CL without a next AP start, and MDP where it ends too early.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int64

from cardioemu.common.arrays import Sampled, SampleTimes
from cardioemu.traces import MIN_AMPLITUDE_mV, THRESHOLD_mV, Trace, beat_biomarkers, downward_crossings

NEAR_MS = 25.0
BIOMARKERS: Mapping[str, str] = {
    "apd50": "ms",
    "apd75": "ms",
    "apd90": "ms",
    "cl": "ms",
    "mdp": "mV",
    "peak": "mV",
    "amplitude": "mV",
    "dvdt_max": "V_s",
}
"""Name -> unit of what is measured of a window's own AP, as it stands in names."""

UNIT_LABELS = {"ms": "ms", "mV": "mV", "V_s": "V/s"}
"""The same units for a reader."""

PHASES = ("rest", "upstroke", "plateau", "repolarisation")
REST, UPSTROKE, PLATEAU, REPOLARISATION = range(4)


@dataclass(frozen=True, eq=False)
class SampledWindow:
    """A window, simulated or predicted.

    Args:
        time_ms: of its samples (samples,), 0 at the AP start that it is aligned to.
        voltage_mV: V there (samples,), in mV.
    """

    time_ms: SampleTimes
    voltage_mV: Sampled

    @cached_property
    def trace(self) -> Trace:
        """The spline through the samples; its time 0 is the first sample."""
        return Trace.from_samples(self.time_ms, self.voltage_mV)

    @cached_property
    def _found(self) -> tuple[Float64[np.ndarray, " starts"], int | None]:
        """The AP starts (ms of the trace), and which of them is the window's own."""
        starts_ms, zero_ms = self.trace.starts_ms, -float(self.time_ms[0])
        distance_ms = np.abs(starts_ms - zero_ms)
        if (distance_ms <= NEAR_MS).any():
            return starts_ms, int(distance_ms.argmin())
        if zero_ms == 0 and self._rises:
            first = beat_biomarkers(self.trace, 0, float(starts_ms[0]) if len(starts_ms) else self.trace.duration_ms)
            if first["amplitude_mV"] >= MIN_AMPLITUDE_mV:
                return np.concatenate([[0.0], starts_ms]), 0
        return starts_ms, None

    @property
    def _rises(self) -> bool:
        """Whether the first samples may be an upstroke: they rise, from below half of what the window spans."""
        V = self.voltage_mV
        return bool(V[1] > V[0] and V[0] < (V.min() + V.max()) / 2)

    @property
    def starts_ms(self) -> Float64[np.ndarray, " starts"]:
        """The AP starts, in ms of the trace; a window that begins in its upstroke has that one, too."""
        return self._found[0]

    @property
    def aligned_ap(self) -> int | None:
        """Which of the AP starts is the one that the window is aligned to: the nearest to time 0, within 25 ms."""
        return self._found[1]

    @cached_property
    def biomarkers(self) -> dict[str, float]:
        """The biomarkers of the window's own AP by the names of `BIOMARKERS`, as `cardioemu.traces.beat` defines them.

        The beat ends at the next AP start; without one in the window it ends with the window, and CL is NaN. All are
        NaN for a window without an AP of its own.
        """
        nothing = dict.fromkeys(BIOMARKERS, float("nan"))
        if self.aligned_ap is None:
            return nothing
        start_ms, end_ms = self._beats[self.aligned_ap]
        found = beat_biomarkers(
            self.trace, start_ms, end_ms, since_ms=self.starts_ms[self.aligned_ap - 1] if self.aligned_ap else 0.0
        )
        if found["amplitude_mV"] < MIN_AMPLITUDE_mV:
            return nothing
        last = self.aligned_ap + 1 == len(self.starts_ms)
        cl_ms = float("nan") if last else end_ms - start_ms
        return {name: cl_ms if name == "cl" else found[f"{name}_{unit}"] for name, unit in BIOMARKERS.items()}

    @property
    def in_cycle(self) -> Bool[np.ndarray, " samples"]:
        """Whether each sample lies in the window's own cycle: from its AP start to the next, or to the window's end."""
        if self.aligned_ap is None:
            return np.zeros(len(self.time_ms), dtype=bool)
        begin_ms, end_ms = self._beats[self.aligned_ap]
        time_ms = self.time_ms - self.time_ms[0]
        return (time_ms >= begin_ms) & (time_ms < end_ms)

    @property
    def _beats(self) -> list[tuple[float, float]]:
        """When each AP starts, and the next one or the window's end."""
        starts = self.starts_ms.tolist()
        return list(zip(starts, [*starts, self.trace.duration_ms][1:], strict=True))

    @cached_property
    def landmarks_ms(self) -> Float64[np.ndarray, "aps passages"]:
        """When V passes -40 mV up and down again in each AP, in ms of the trace; an AP that does not end has NaN."""
        down_ms = downward_crossings(self.trace, THRESHOLD_mV)
        rows = []
        for start_ms, end_ms in self._beats:
            inside = down_ms[(down_ms > start_ms) & (down_ms <= end_ms)]
            rows.append([start_ms, inside[-1] if len(inside) else np.nan])
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    @cached_property
    def phases(self) -> Int64[np.ndarray, " samples"]:
        """The phase of each sample, as an index into `PHASES`.

        Upstroke: from an AP start to the highest sample. Plateau: until half of the amplitude is lost. Repolarisation:
        until 90 % is. Rest: what remains. Before the first AP start stands what is left of the AP before, told by the
        levels of the first one, and rest. The levels are ours.
        """
        V = self.voltage_mV
        phases = np.full(len(V), REST, dtype=np.int64)
        starts = np.searchsorted(self.time_ms - self.time_ms[0], self.starts_ms).tolist()
        ends = [*starts, len(V)][1:]
        peaks = [start + int(np.argmax(V[start:end])) for start, end in zip(starts, ends, strict=True)]
        for start, peak, end in zip(starts, peaks, ends, strict=True):
            phases[start:peak] = UPSTROKE
            phases[peak:end] = _falling(V[peak:end], V[peak:end])
        if starts:
            phases[: starts[0]] = _falling(V[: starts[0]], V[peaks[0] : ends[0]])
        return phases


def _falling(voltage_mV: np.ndarray, beat_mV: np.ndarray) -> np.ndarray:
    """Returns the phases of samples after a peak, by the levels of a beat from its peak on: once at rest, at rest."""
    lost_mV, amplitude_mV = beat_mV[0] - voltage_mV, max(beat_mV[0] - beat_mV.min(), 1e-6)
    lost = np.maximum.accumulate(lost_mV / amplitude_mV)
    return np.select([lost < 0.5, lost < 0.9], [PLATEAU, REPOLARISATION], REST)
