"""Traces: the recording of V of one cell, its AP starts and label, and its other recordings."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

from cardioemu.common.arrays import Starts, StepSlopes, StepValues
from cardioemu.traces.recording import Number, Recording, Times
from cardioemu.traces.starts import Label, ap_starts, classify, upstrokes


@dataclass(frozen=True, eq=False)
class Trace(Recording):
    """V(t) of one cell in mV, a recording without NaN, with the other recordings of the cell and its final state.

    The first five arguments are those of any `Recording`.

    Args:
        recorded: the other recordings of this cell, by their requested names.
        final_state: the states at the last step (states,), float64; None if unknown.
        aps_before_start: number of AP starts before the beginning of the trace.

    Raises:
        ValueError: as for any `Recording`, and for a value or slope that is not finite.

    Source: docs/decisions/0023.
    """

    recorded: Mapping[str, Recording] = field(default_factory=dict, repr=False)
    final_state: Float64[np.ndarray, " states"] | None = field(default=None, repr=False)
    aps_before_start: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (np.isfinite(self.step_value).all() and np.isfinite(self.step_slope).all()):
            raise ValueError("a trace needs finite voltages and slopes: a solver keeps only accepted steps")

    @classmethod
    def from_samples(cls, time_ms: ArrayLike, voltage_mV: ArrayLike) -> "Trace":
        """Build a trace through samples, with the slopes of their not-a-knot cubic spline.

        The first sample becomes time 0: a window sampled from -50 to 450 ms becomes a trace of 500 ms that begins with
        the sample at -50 ms. Add the time of the first sample to times measured on the trace.

        Args:
            time_ms: times of the samples (samples,), at least two, strictly ascending; they may be irregular.
            voltage_mV: V at the samples (samples,).

        Raises:
            ValueError: samples of another shape, not finite, or not ascending.

        Source: docs/decisions/0023 for the curve between the samples.
        """
        t, V = np.asarray(time_ms, dtype=np.float64), np.asarray(voltage_mV, dtype=np.float64)
        if t.ndim != 1 or t.shape != V.shape or t.size < 2:
            raise ValueError(f"samples must be two or more times and as many voltages, got {t.shape} and {V.shape}")
        if not (np.isfinite(t).all() and np.isfinite(V).all() and (np.diff(t) > 0).all()):
            raise ValueError("samples must be finite, with strictly ascending times")
        t = t - t[0]
        slopes = CubicSpline(t, V, bc_type="not-a-knot")(t, 1)
        return cls(t, V.astype(np.float32), slopes.astype(np.float32), duration_ms=float(t[-1]))

    def trim_before(self, from_ms: Number, rest_ms: Number | None = None) -> "Trace":
        """Return the trace after a time (the end of a transient), which becomes time 0; see `Recording.trim_before`.

        AP starts before that time are added to `aps_before_start`.

        Raises:
            ValueError: a time outside [0, duration_ms].
        """
        return replace(
            self,
            **vars(super().trim_before(from_ms, rest_ms)),
            recorded={name: recording.trim_before(from_ms, rest_ms) for name, recording in self.recorded.items()},
            aps_before_start=self.aps_before_start + int((self.starts_ms < from_ms).sum()),
        )

    @property
    def step_voltage_mV(self) -> StepValues:
        """V at the accepted steps, in mV."""
        return self.step_value

    @property
    def step_dvdt_mV_per_ms(self) -> StepSlopes:
        """dV/dt at the accepted steps, in mV per ms."""
        return self.step_slope

    def voltage_mV(self, time_ms: Times) -> Float64[np.ndarray, "..."]:
        """Interpolate V at any times, in mV; see `Recording.at`."""
        return self.at(time_ms)

    def dvdt_mV_per_ms(self, time_ms: Times) -> Float64[np.ndarray, "..."]:
        """Interpolate dV/dt at any times, in mV per ms; see `Recording.slope`."""
        return self.slope(time_ms)

    @cached_property
    def starts_ms(self) -> Starts:
        """AP starts in ms (starts,), ascending, up to the failure of a failed cell. See `ap_starts`."""
        return ap_starts(self.cubics())

    @cached_property
    def upstrokes_ms(self) -> Starts:
        """Times of the largest dV/dt of each AP in ms (starts,). See `upstrokes`."""
        return upstrokes(self.cubics(), self.starts_ms)

    @cached_property
    def label(self) -> Label | None:
        """Label of the cell, "fires", "stops" or "quiescent" (see `classify`); None if the cell failed."""
        if self.status != "ok":
            return None
        label = classify(self.starts_ms, self.duration_ms)
        return "stops" if label == "quiescent" and self.aps_before_start else label
