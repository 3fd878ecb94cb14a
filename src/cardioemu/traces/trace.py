"""The trace: the recording of V of one cell, its AP starts and label, and whatever else was recorded of the cell."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    """V(t) of one cell in mV, a recording without NaN, and what else is known of the cell.

    Args:
        step_time_ms: as of any recording; a time stands twice where dV/dt jumps (a stimulus edge).
        step_value: V at the steps (steps,), float32.
        step_slope: dV/dt at the steps (steps,), float32.
        duration_ms: the time that was asked for.
        status: "ok", or why the solver gave up after the last step.
        recorded: the other recordings of this cell, by the names they were asked for.
        final_state: the states at the last step (states,), float64; None where they are not known.
        starts_before: how many AP starts the cell had before its trace begins.

    Raises:
        ValueError: as of any recording, or a value or slope that is not finite.

    Source: DESIGN, decision 3.
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
        """Make a trace through samples, with the slopes of the not-a-knot cubic spline through them.

        Time is counted anew from the first sample: a window sampled from -50 to 450 ms becomes a trace of 500 ms whose
        time 0 is the sample at -50 ms, so add the first sample's time to whatever is found on the trace.

        Args:
            time_ms: times of the samples (samples,), at least two, strictly ascending; they may be irregular.
            voltage_mV: V at the samples (samples,).

        Raises:
            ValueError: samples of another shape, not finite, or not ascending.

        Source: DESIGN, decision 3 for the curve between the samples.
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
        """Return the trace from a time on, without the transient say, its times counted from there.

        Its AP starts are those of what is left; those before are counted. Arguments as of any recording.

        Raises:
            ValueError: a time outside [0, duration_ms].
        """
        own = super().trim_before(from_ms, rest_ms)
        return Trace(
            own.step_time_ms,
            own.step_value,
            own.step_slope,
            own.duration_ms,
            own.status,
            recorded={name: recording.trim_before(from_ms, rest_ms) for name, recording in self.recorded.items()},
            final_state=self.final_state,
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
        """AP starts in ms (starts,), ascending; those before the failure if the trace failed. See `ap_starts`."""
        return ap_starts(self.cubics())

    @cached_property
    def upstrokes_ms(self) -> Starts:
        """Times of the largest dV/dt of the same APs in ms (starts,). See `upstrokes`."""
        return upstrokes(self.cubics(), self.starts_ms)

    @cached_property
    def label(self) -> Label | None:
        """Tell what the cell does: "fires", "stops" or "quiescent" (see `label_of`); None if the trace failed."""
        if self.status != "ok":
            return None
        label = classify(self.starts_ms, self.duration_ms)
        return "stops" if label == "quiescent" and self.aps_before_start else label
