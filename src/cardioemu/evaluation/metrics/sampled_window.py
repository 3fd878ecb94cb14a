"""A window as a continuous curve: its APs, their biomarkers, and the phase of each sample.

The curve between samples is a cubic spline, so features narrower than two samples are lost. For upstrokes of 1 ms
sampled every 0.5 ms, APDs are accurate to 0.01 ms; at intervals of 1 ms and more, dV/dt max and peak are too low. CL
needs a next AP start in the window, and MDP a window that reaches the diastole.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int64

from cardioemu.common.arrays import Sampled, SampleTimes
from cardioemu.traces import MIN_AMPLITUDE_mV, THRESHOLD_mV, Trace, beat_biomarkers, downward_crossings

ALIGNED_WITHIN_MS = 25.0
BIOMARKER_UNITS: Mapping[str, str] = {
    "apd50": "ms",
    "apd75": "ms",
    "apd90": "ms",
    "cl": "ms",
    "mdp": "mV",
    "peak": "mV",
    "amplitude": "mV",
    "dvdt_max": "V_s",
}
"""Biomarkers of a window's aligned AP -> their units, as used in names of columns."""

UNIT_LABELS = {"ms": "ms", "mV": "mV", "V_s": "V/s"}
"""Units in names of columns -> units for a reader."""

PHASES = ("rest", "upstroke", "plateau", "repolarisation")
REST, UPSTROKE, PLATEAU, REPOLARISATION = range(4)


@dataclass(frozen=True, eq=False)
class SampledWindow:
    """A window, simulated or predicted; time 0 is the AP start to which it is aligned."""

    time_ms: SampleTimes
    voltage_mV: Sampled

    @cached_property
    def trace(self) -> Trace:
        """Spline through the samples; its time 0 is the first sample."""
        return Trace.from_samples(self.time_ms, self.voltage_mV)

    @cached_property
    def _starts_and_aligned(self) -> tuple[Float64[np.ndarray, " starts"], int | None]:
        """AP starts in ms of the trace, and the index of the aligned one."""
        starts_ms, zero_ms = self.trace.starts_ms, -float(self.time_ms[0])
        distance_ms = np.abs(starts_ms - zero_ms)
        if (distance_ms <= ALIGNED_WITHIN_MS).any():
            return starts_ms, int(distance_ms.argmin())
        V = self.voltage_mV
        if zero_ms == 0 and V[1] > V[0] and V[0] < (V.min() + V.max()) / 2:  # it may begin in an upstroke
            first = beat_biomarkers(self.trace, 0, float(starts_ms[0]) if len(starts_ms) else self.trace.duration_ms)
            if first["amplitude_mV"] >= MIN_AMPLITUDE_mV:
                return np.concatenate([[0.0], starts_ms]), 0
        return starts_ms, None

    @property
    def starts_ms(self) -> Float64[np.ndarray, " starts"]:
        """AP starts in ms of the trace, including an upstroke with which the window begins."""
        return self._starts_and_aligned[0]

    @property
    def aligned_ap(self) -> int | None:
        """Index of the AP start to which the window is aligned: the nearest to time 0, within 25 ms, if any."""
        return self._starts_and_aligned[1]

    @cached_property
    def biomarkers(self) -> dict[str, float]:
        """Biomarkers of the aligned AP by the names of `BIOMARKER_UNITS`, defined as in `cardioemu.traces`.

        The beat ends at the next AP start. Without one it ends with the window, and CL is NaN. Without an aligned AP
        all are NaN.
        """
        missing = dict.fromkeys(BIOMARKER_UNITS, float("nan"))
        if self.aligned_ap is None:
            return missing
        start_ms, end_ms = self._beats[self.aligned_ap]
        beat = beat_biomarkers(
            self.trace, start_ms, end_ms, since_ms=self.starts_ms[self.aligned_ap - 1] if self.aligned_ap else 0.0
        )
        if beat["amplitude_mV"] < MIN_AMPLITUDE_mV:
            return missing
        last = self.aligned_ap + 1 == len(self.starts_ms)
        cl_ms = float("nan") if last else end_ms - start_ms
        return {name: cl_ms if name == "cl" else beat[f"{name}_{unit}"] for name, unit in BIOMARKER_UNITS.items()}

    @property
    def in_cycle(self) -> Bool[np.ndarray, " samples"]:
        """Whether each sample is in the aligned cycle: from the aligned AP start to the next, or the window's end."""
        if self.aligned_ap is None:
            return np.zeros(len(self.time_ms), dtype=bool)
        begin_ms, end_ms = self._beats[self.aligned_ap]
        time_ms = self.time_ms - self.time_ms[0]
        return (time_ms >= begin_ms) & (time_ms < end_ms)

    @property
    def _beats(self) -> list[tuple[float, float]]:
        """The start of each AP, and of the next AP or the window's end."""
        starts = self.starts_ms.tolist()
        return list(zip(starts, [*starts, self.trace.duration_ms][1:], strict=True))

    @cached_property
    def landmarks_ms(self) -> Float64[np.ndarray, "aps passages"]:
        """Upward and downward crossing of -40 mV of each AP, in ms of the trace; NaN for an AP that does not end."""
        down_ms = downward_crossings(self.trace, THRESHOLD_mV)
        landmarks = []
        for start_ms, end_ms in self._beats:
            inside = down_ms[(down_ms > start_ms) & (down_ms <= end_ms)]
            landmarks.append([start_ms, inside[-1] if len(inside) else np.nan])
        return np.array(landmarks, dtype=np.float64).reshape(-1, 2)

    @cached_property
    def phases(self) -> Int64[np.ndarray, " samples"]:
        """Phase of each sample, as an index into `PHASES`.

        Upstroke: from an AP start to the highest sample. Plateau: until half of the amplitude is lost. Repolarisation:
        until 90 % of it is lost. Rest: all other samples. Samples before the first AP start belong to the end of an
        earlier AP, by the levels of the first one, or to rest. The levels are ours.
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
    """Return the phases of samples after a peak, by the levels of a beat that begins at its peak; rest does not end."""
    lost_mV, amplitude_mV = beat_mV[0] - voltage_mV, max(beat_mV[0] - beat_mV.min(), 1e-6)
    lost = np.maximum.accumulate(lost_mV / amplitude_mV)
    return np.select([lost < 0.5, lost < 0.9], [PLATEAU, REPOLARISATION], REST)
