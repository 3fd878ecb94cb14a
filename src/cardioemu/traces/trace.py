"""The trace: V(t) of one cell as a continuous function through the solver's accepted steps."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

from cardioemu.traces.cubics import Cubics, hermite, locate
from cardioemu.traces.starts import Label, ap_starts, label_of
from cardioemu.types import Starts, StepSlopes, StepTimes, StepVoltages

# A solver that adds up its steps misses the last time by rounding.
TIME_SLACK_MS = 1e-6

# The run-time check of annotations in the tests takes `float` to the letter.
Number = float | int
Times = ArrayLike | Number
Quantity = Callable[[Cubics, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Trace:
    """V(t) of one cell from 0 to `duration_ms`: accepted steps, cubic Hermite between them.

    A time may stand twice, where dV/dt jumps (a stimulus edge): first with the left, then with the right derivative.

    Args:
        step_time_ms: times of the steps (steps,), ascending from 0; they end at `duration_ms` if the status is "ok".
        step_voltage_mV: V at the steps (steps,), float32.
        step_dvdt_mV_per_ms: dV/dt at the steps (steps,), float32.
        duration_ms: the time that was asked for.
        status: "ok", or why the solver gave up after the last step.

    Raises:
        ValueError: lengths that differ, no step, a value that is not finite, or times that do not ascend from 0 to the
            end.

    Source: DESIGN, decision 3.
    """

    step_time_ms: StepTimes = field(repr=False)
    step_voltage_mV: StepVoltages = field(repr=False)
    step_dvdt_mV_per_ms: StepSlopes = field(repr=False)
    duration_ms: Number
    status: str = "ok"

    def __post_init__(self) -> None:
        t, V, D = self.step_time_ms, self.step_voltage_mV, self.step_dvdt_mV_per_ms
        if not (t.shape == V.shape == D.shape and t.ndim == 1 and t.size > 0):
            raise ValueError(
                f"a trace needs one step or more of time, V and dV/dt, got {t.shape}, {V.shape}, {D.shape}"
            )
        if not (np.isfinite(t).all() and np.isfinite(V).all() and np.isfinite(D).all()):
            raise ValueError("a trace needs finite times, voltages and slopes: a solver keeps only accepted steps")
        span, asked = f"{t[0]:.12g} to {t[-1]:.12g} ms", f"{self.duration_ms:.12g} ms"
        if abs(t[0]) > TIME_SLACK_MS or (np.diff(t) < 0).any() or t[-1] > self.duration_ms + TIME_SLACK_MS:
            raise ValueError(f"step times must ascend from 0 to {asked}, got {span}")
        if self.status == "ok" and t[-1] < self.duration_ms - TIME_SLACK_MS:
            raise ValueError(f'the steps of a trace with status "ok" must reach {asked}, got {span}')

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

    @property
    def end_ms(self) -> float:
        """Where V ends: `duration_ms`, or the last step of a failed trace."""
        return float(self.duration_ms if self.status == "ok" else self.step_time_ms[-1])

    def cubics(self) -> Cubics:
        """Build the cubics between the steps; made anew on every call, since a campaign holds many traces."""
        return hermite(self.step_time_ms, self.step_voltage_mV, self.step_dvdt_mV_per_ms)

    def voltage_mV(self, time_ms: Times) -> Float64[np.ndarray, "..."]:
        """Interpolate V at any times.

        Args:
            time_ms: times in ms, of any shape, in any order, within [0, duration_ms].

        Returns:
            V in mV, float64, of the shape of `time_ms`; NaN after the last step of a failed trace.

        Raises:
            ValueError: a time outside [0, duration_ms], or NaN.

        Source: DESIGN, decision 3 and section 6.
        """
        return self._at(time_ms, Cubics.value)

    def dvdt_mV_per_ms(self, time_ms: Times) -> Float64[np.ndarray, "..."]:
        """Interpolate dV/dt at any times; at a stimulus edge it is the derivative on the right.

        Args:
            time_ms: times in ms, of any shape, in any order, within [0, duration_ms].

        Returns:
            dV/dt in mV per ms, float64, of the shape of `time_ms`; NaN after the last step of a failed trace.

        Raises:
            ValueError: a time outside [0, duration_ms], or NaN.

        Source: DESIGN, decision 3.
        """
        return self._at(time_ms, Cubics.slope)

    def _at(self, time_ms: Times, quantity: Quantity) -> Float64[np.ndarray, "..."]:
        times = np.asarray(time_ms, dtype=np.float64)
        wrong = times[~((times >= 0) & (times <= self.duration_ms))]
        if wrong.size:
            raise ValueError(f"times must lie in [0, {self.duration_ms:.12g}] ms, got {wrong[0]:.12g}")
        flat = times.ravel()
        cubics = self.cubics()
        piece = locate(cubics, flat)
        values = quantity(cubics.take(piece), flat - cubics.knot_ms[piece])
        return np.where(flat <= self.end_ms, values, np.nan).reshape(times.shape)

    @cached_property
    def starts_ms(self) -> Starts:
        """AP starts in ms (starts,), ascending; those before the failure if the trace failed. See `ap_starts`."""
        return ap_starts(self.cubics())

    @cached_property
    def label(self) -> Label | None:
        """Tell what the cell does: "fires", "stops" or "quiescent" (see `label_of`); None if the trace failed."""
        return label_of(self.starts_ms, self.duration_ms) if self.status == "ok" else None
