"""The rule by which windows are extracted from a trace."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, cast

import numpy as np
from pydantic import Field, NonNegativeInt, PlainValidator, PositiveFloat, PositiveInt, WrapValidator
from pydantic.dataclasses import dataclass

from cardioemu.common.arrays import SampleTimes
from cardioemu.common.errors import UserError

TOLERANCE = 1e-9  # relative, for rounding errors in length_ms = samples x interval_ms


def _unless_none(value: Any, check: Callable[[Any], Any]) -> Any:
    return None if value is None else check(value)


def _length(value: Any) -> Any:
    if value in ("cycle", None):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    raise ValueError("it must be a length in ms above 0, or cycle")


OrDerived = WrapValidator(_unless_none)  # if not given, it follows from the others
Time = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Length = Annotated[float | Literal["cycle"], PlainValidator(_length)]
Samples = Annotated[int, Field(ge=2)]


@dataclass(frozen=True)
class WindowRule:
    """Where windows are extracted from a trace, and how they are sampled.

    Two of `length_ms`, `samples` and `interval_ms` determine the third; if all are given, they must agree. A window
    lasts until where its next sample would be: length = samples x interval.

    Attributes:
        length_ms: length of a window, or "cycle": from an AP start to the next.
        samples: samples extracted from the trace.
        interval_ms: time between samples; None if a window is one cycle, since it then differs between windows.
        count: windows per cell.
        offset_ms: time from the beginning of a window to its AP start.
        settle_ms: AP starts before this time are skipped as transient.
        start: definition of the AP start: the crossing of -40 mV ("threshold") or the largest dV/dt ("upstroke").
        align: "interpolated", the AP start is exactly at time 0; "sample", time 0 is the first sample after the AP
            start, as in a trace stored every `interval_ms`; "none", windows follow each other from `settle_ms` on,
            independent of AP starts.
        choose: which of the windows that fit: "first", "last", "spread" (evenly spaced) or "random".
        seed: seed of the random choice; each cell draws its own.
        resample_to: number of samples after Fourier resampling (`scipy.signal.resample`); None for no resampling.
        trim: samples dropped at each end, after resampling.

    Raises:
        ValueError: a setting is not allowed, or settings contradict each other.
    """

    length_ms: Length = cast(float, None)
    samples: Annotated[Samples, OrDerived] = cast(int, None)
    interval_ms: Annotated[PositiveFloat, Field(allow_inf_nan=False), OrDerived] = cast(float, None)
    count: PositiveInt = 3
    offset_ms: Time = 50.0
    settle_ms: Time = 1000.0
    start: Literal["threshold", "upstroke"] = "threshold"
    align: Literal["interpolated", "sample", "none"] = "interpolated"
    choose: Literal["first", "last", "spread", "random"] = "spread"
    seed: NonNegativeInt = 0
    resample_to: Samples | None = None
    trim: NonNegativeInt = 0

    def __post_init__(self) -> None:
        if self.length_ms == "cycle":
            self._check_cycle()
        else:
            self._complete(self.length_ms)
        samples = self.resample_to or self.samples
        if self.output_samples < 2:
            raise UserError(
                f"windowing.trim: got {self.trim}, which leaves {max(self.output_samples, 0)} of {samples} samples; at "
                f"most {(samples - 2) // 2} is allowed"
            )

    def _check_cycle(self) -> None:
        if self.samples is None or self.interval_ms is not None:
            raise UserError("windowing: with length_ms=cycle set samples, and leave interval_ms null")
        if self.align != "interpolated":
            raise UserError(f"windowing.align: got {self.align}, but length_ms=cycle needs align=interpolated")

    def _complete(self, length_ms: float | None) -> None:
        samples, interval_ms = self.samples, self.interval_ms
        if sum(given is None for given in (length_ms, samples, interval_ms)) > 1:
            raise UserError("windowing: set two of length_ms, samples and interval_ms; the third follows from them")
        if samples is None and length_ms is not None:
            samples = round(length_ms / interval_ms)
        if interval_ms is None and length_ms is not None:
            interval_ms = length_ms / samples
        if length_ms is None:
            length_ms = samples * interval_ms
        if abs(samples * interval_ms - length_ms) > TOLERANCE * length_ms:
            raise UserError(
                f"windowing: length_ms {length_ms:g} is not samples x interval_ms = {samples} x {interval_ms:g}; "
                "change one of them, or set it to null, so that it follows from the other two"
            )
        if samples < 2:
            raise UserError(f"windowing.interval_ms: got {interval_ms:g}, but a window needs two samples; lower it")
        for name, value in (("length_ms", length_ms), ("samples", samples), ("interval_ms", interval_ms)):
            object.__setattr__(self, name, value)

    @property
    def output_samples(self) -> int:
        """Samples of a window after resampling and trimming: the size of the network's output."""
        return (self.resample_to or self.samples) - 2 * self.trim

    @property
    def time_ms(self) -> SampleTimes:
        """Times of the output samples, 0 at the AP start: the first is -offset_ms, or later if samples are trimmed.

        Raises:
            ValueError: a window is one cycle, so that the times differ between windows.
        """
        if self.length_ms == "cycle":
            raise ValueError("windows of one cycle have no common sample times")
        interval_ms = self.length_ms / self.resample_to if self.resample_to else self.interval_ms
        return np.arange(self.trim, self.trim + self.output_samples) * interval_ms - self.offset_ms

    @property
    def shortest_trace_ms(self) -> float:
        """Duration of the shortest trace that can contain a window."""
        if self.length_ms == "cycle":
            return self.settle_ms
        span_ms = (self.samples - 1) * self.interval_ms
        return self.settle_ms + span_ms if self.align == "none" else max(self.settle_ms - self.offset_ms, 0) + span_ms
