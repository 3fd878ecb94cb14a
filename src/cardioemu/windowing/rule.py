"""The rule by which windows are cut from a trace."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, cast

import numpy as np
from pydantic import (
    Field,
    NonNegativeInt,
    PlainValidator,
    PositiveFloat,
    PositiveInt,
    WrapValidator,
)
from pydantic.dataclasses import dataclass

from cardioemu.common.arrays import SampleTimes
from cardioemu.common.errors import UserError

AGREE = 1e-9  # relative: three numbers that say the same but for their last digits


def _unless_none(value: Any, check: Callable[[Any], Any]) -> Any:
    return None if value is None else check(value)


def _length(value: Any) -> Any:
    if value in ("cycle", None):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    raise ValueError("it must be a length in ms above 0, or cycle")


Left = WrapValidator(_unless_none)  # may be left to follow from the others; once the rule is made it is known
Time = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Length = Annotated[float | Literal["cycle"], PlainValidator(_length)]
Points = Annotated[int, Field(ge=2)]


@dataclass(frozen=True)
class WindowRule:
    """Windows of one length and number of points, each at its place about an AP start.

    Two of `length_ms`, `samples` and `interval_ms` say the third; with all three they must agree. A window lasts from
    its first point to where the next window's first point would be, so length = samples x interval.

    Attributes:
        length_ms: length of a window, or "cycle": one whole cycle, from an AP start to the next, whatever it lasts.
        samples: points cut from the trace.
        interval_ms: time between two of them; None where a window is one cycle, for it differs from one to the next.
        count: windows per cell.
        offset_ms: how long before its AP start a window begins.
        settle_ms: AP starts before this time belong to the transient and are passed over.
        start: what of an AP counts as its start: V = -40 mV going up ("threshold") or the largest dV/dt ("upstroke").
        align: "interpolated", the AP start lies exactly at time 0; "sample", it lies between the point before time 0
            and time 0, as in a trace that was kept at every `interval_ms` only; "none", windows follow each other from
            `settle_ms` on and know nothing of AP starts.
        choose: which of those that fit: "first", "last", "spread" (see `choose`) or "random".
        seed: of the random choice; each cell draws its own.
        resample_to: points that a window is resampled to by Fourier's method (`scipy.signal.resample`); None leaves it.
        trim: points dropped at each end, at last.

    Raises:
        ValueError: settings that are not allowed, or that contradict each other.
    """

    length_ms: Length = cast(float, None)
    samples: Annotated[Points, Left] = cast(int, None)
    interval_ms: Annotated[PositiveFloat, Field(allow_inf_nan=False), Left] = cast(float, None)
    count: PositiveInt = 1
    offset_ms: Time = 50.0
    settle_ms: Time = 1000.0
    start: Literal["threshold", "upstroke"] = "threshold"
    align: Literal["interpolated", "sample", "none"] = "interpolated"
    choose: Literal["first", "last", "spread", "random"] = "spread"
    seed: NonNegativeInt = 0
    resample_to: Points | None = None
    trim: NonNegativeInt = 0

    def __post_init__(self) -> None:
        if self.length_ms == "cycle":
            self._check_cycle()
        else:
            self._complete(self.length_ms)
        points = self.resample_to or self.samples
        if points - 2 * self.trim < 2:
            raise UserError(
                f"windowing.trim: got {self.trim}, which leaves {max(points - 2 * self.trim, 0)} of {points} points; "
                "lower it"
            )

    def _check_cycle(self) -> None:
        if self.samples is None or self.interval_ms is not None:
            raise UserError("windowing: with length_ms=cycle give samples, and leave interval_ms null")
        if self.align != "interpolated":
            raise UserError(f"windowing.align: got {self.align}, but length_ms=cycle needs interpolated AP starts")

    def _complete(self, length_ms: float | None) -> None:
        samples, interval_ms = self.samples, self.interval_ms
        if sum(given is None for given in (length_ms, samples, interval_ms)) > 1:
            raise UserError("windowing: give two of length_ms, samples and interval_ms; the third follows from them")
        if samples is None and length_ms is not None:
            samples = round(length_ms / interval_ms)
        if interval_ms is None and length_ms is not None:
            interval_ms = length_ms / samples
        if length_ms is None:
            length_ms = samples * interval_ms
        if abs(samples * interval_ms - length_ms) > AGREE * length_ms:
            raise UserError(
                f"windowing: length_ms {length_ms:g} is not samples x interval_ms = {samples} x {interval_ms:g}; "
                "change one of them, or set it to null to let it follow from the other two"
            )
        if samples < 2:
            raise UserError(f"windowing.interval_ms: got {interval_ms:g}, but a window needs two points; lower it")
        for name, value in (("length_ms", length_ms), ("samples", samples), ("interval_ms", interval_ms)):
            object.__setattr__(self, name, value)

    @property
    def one_cycle(self) -> bool:
        """Whether a window is one whole cycle."""
        return self.length_ms == "cycle"

    @property
    def output_samples(self) -> int:
        """Points of a window as the network sees it: resampled and trimmed."""
        return (self.resample_to or self.samples) - 2 * self.trim

    @property
    def time_ms(self) -> SampleTimes:
        """Times of these points, 0 at the AP start: the first is -offset_ms, or later where points were trimmed.

        Raises:
            ValueError: a window is one cycle, and its times differ from one to the next.
        """
        if self.length_ms == "cycle":
            raise ValueError("windows of one cycle have no times in common")
        interval_ms = self.length_ms / self.resample_to if self.resample_to else self.interval_ms
        return np.arange(self.trim, self.trim + self.output_samples) * interval_ms - self.offset_ms

    @property
    def shortest_trace_ms(self) -> float:
        """The shortest trace that can hold a window: settling, and what a window needs after that."""
        if self.length_ms == "cycle":
            return self.settle_ms
        span_ms = (self.samples - 1) * self.interval_ms
        return self.settle_ms + span_ms if self.align == "none" else max(self.settle_ms - self.offset_ms, 0) + span_ms
