"""Recordings: one quantity of a cell as a continuous function through the solver's accepted steps."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from cardioemu.common.arrays import StepSlopes, StepTimes, StepValues
from cardioemu.traces.cubics import Cubics, hermite, locate

# A solver that adds up its steps misses the end by rounding.
TIME_SLACK_MS = 1e-6

# Solvers drop steps nearer than this to the one before, except edges and ends: between nearer steps, rounding of
# float32 values (8e-6 mV) would look like a slope. A dropped kink of 10 mV/ms moves V by 2.5e-4 mV at most.
SPACING_MS = 1e-4

# The run-time check of annotations in the tests does not accept an int for `float`.
Number = float | int
Times = ArrayLike | Number
Quantity = Callable[[Cubics, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Recording:
    """One quantity of a cell from 0 to `duration_ms`: accepted steps, cubic Hermite interpolation between them.

    Where the value or the slope jumps (a stimulus edge) a time occurs twice: first with value and slope on the left,
    then with those on the right. A value or slope may be NaN or infinite, as in the model's expression: the curve is
    then NaN between the previous and the next step, and has the step's own value at each step.

    Args:
        step_time_ms: times of the steps (steps,), ascending from 0; the last is `duration_ms` if the status is "ok".
        step_value: the quantity at the steps (steps,), float32, in the model's unit.
        step_slope: its time derivative at the steps (steps,), float32, in that unit per ms.
        duration_ms: the requested duration.
        status: "ok", or why the solver stopped after the last step.

    Raises:
        ValueError: lengths that differ, no step, or times that are not finite or do not ascend from 0 to the end.

    Source: docs/decisions/0023.
    """

    step_time_ms: StepTimes = field(repr=False)
    step_value: StepValues = field(repr=False)
    step_slope: StepSlopes = field(repr=False)
    duration_ms: Number
    status: str = "ok"

    def __post_init__(self) -> None:
        t, values, slopes = self.step_time_ms, self.step_value, self.step_slope
        if not (t.shape == values.shape == slopes.shape and t.ndim == 1 and t.size > 0):
            raise ValueError(
                f"one step or more of time, value and slope are needed, got {t.shape}, {values.shape}, {slopes.shape}"
            )
        if not np.isfinite(t).all():
            raise ValueError("step times must be finite")
        span, requested = f"{t[0]:.12g} to {t[-1]:.12g} ms", f"{self.duration_ms:.12g} ms"
        if abs(t[0]) > TIME_SLACK_MS or (np.diff(t) < 0).any() or t[-1] > self.duration_ms + TIME_SLACK_MS:
            raise ValueError(f"step times must ascend from 0 to {requested}, got {span}")
        if self.status == "ok" and t[-1] < self.duration_ms - TIME_SLACK_MS:
            raise ValueError(f'the steps of a cell with status "ok" must reach {requested}, got {span}')

    @property
    def end_ms(self) -> float:
        """End of the curve: `duration_ms`, or the last step of a failed cell."""
        return float(self.duration_ms if self.status == "ok" else self.step_time_ms[-1])

    def cubics(self, from_ms: Number = 0.0, to_ms: Number = np.inf) -> Cubics:
        """Build the cubics that overlap [from_ms, to_ms]; not cached, since a campaign has many curves in memory."""
        first = max(int(np.searchsorted(self.step_time_ms, from_ms, side="left")) - 1, 0)
        last = int(np.searchsorted(self.step_time_ms, to_ms, side="right")) + 1
        return hermite(self.step_time_ms[first:last], self.step_value[first:last], self.step_slope[first:last])

    def trim_before(self, from_ms: Number, rest_ms: Number | None = None) -> "Recording":
        """Return the recording after a time, which becomes time 0 and gets a step of its own.

        A cell that failed earlier has its last step only, at time 0.

        Args:
            from_ms: the time.
            rest_ms: the remaining duration, where it is known exactly; None subtracts, which rounds.

        Raises:
            ValueError: a time outside [0, duration_ms].
        """
        if not 0 <= from_ms <= self.duration_ms:
            raise ValueError(f"times must lie in [0, {self.duration_ms:.12g}] ms, got {from_ms:.12g}")
        first = int(np.searchsorted(self.step_time_ms, from_ms, side="right"))
        start_ms = min(float(from_ms), self.end_ms)
        return Recording(
            np.concatenate([[0.0], self.step_time_ms[first:] - from_ms]),
            np.concatenate([[self.at(start_ms)], self.step_value[first:]]).astype(np.float32),
            np.concatenate([[self.slope(start_ms)], self.step_slope[first:]]).astype(np.float32),
            float(self.duration_ms - from_ms if rest_ms is None else rest_ms),
            self.status,
        )

    def at(self, time_ms: Times) -> Float64[np.ndarray, "..."]:
        """Interpolate the quantity at any times; at a stimulus edge, return the value on the right.

        Args:
            time_ms: times in ms, of any shape, in any order, within [0, duration_ms].

        Returns:
            The values, float64, of the shape of `time_ms`; NaN after the last step of a failed cell.

        Raises:
            ValueError: a time outside [0, duration_ms], or NaN.

        Source: docs/decisions/0023.
        """
        return self._interpolate(time_ms, Cubics.value)

    def slope(self, time_ms: Times) -> Float64[np.ndarray, "..."]:
        """Interpolate the time derivative, in the unit of the quantity per ms; otherwise as `at`."""
        return self._interpolate(time_ms, Cubics.slope)

    def _interpolate(self, time_ms: Times, quantity: Quantity) -> Float64[np.ndarray, "..."]:
        times = np.asarray(time_ms, dtype=np.float64)
        outside = times[~((times >= 0) & (times <= self.duration_ms))]
        if outside.size:
            raise ValueError(f"times must lie in [0, {self.duration_ms:.12g}] ms, got {outside[0]:.12g}")
        flat = times.ravel()
        cubics = self.cubics()
        piece = locate(cubics, flat)
        values = quantity(cubics.take(piece), flat - cubics.knot_ms[piece])
        return np.where(flat <= self.end_ms, values, np.nan).reshape(times.shape)
