"""The rule by which windows are cut from a trace."""

from typing import Annotated

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from cardioemu.types import ChosenStarts, Starts

Time = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class WindowRule:
    """Fixed-length windows, each beginning `offset_ms` before an AP start.

    Attributes:
        samples: points of a window.
        interval_ms: time between two points.
        count: windows per cell, spread over the trace.
        offset_ms: how long before its AP start a window begins.
        settle_ms: AP starts before this time belong to the transient and are passed over.
    """

    samples: Annotated[int, Field(ge=2)]
    interval_ms: PositiveFloat
    count: PositiveInt
    offset_ms: Time = 50.0
    settle_ms: Time = 1000.0

    @property
    def length_ms(self) -> float:
        """Time from the first to the last point of a window."""
        return (self.samples - 1) * self.interval_ms

    @property
    def time_ms(self) -> np.ndarray:
        """Times of the points (samples,), 0 at the AP start, so the first is -offset_ms."""
        return np.arange(self.samples) * self.interval_ms - self.offset_ms

    @property
    def shortest_trace_ms(self) -> float:
        """The shortest trace that can hold a window: settling, then the part of a window after its AP start."""
        return max(self.settle_ms, self.offset_ms) + self.length_ms - self.offset_ms


def choose_starts(starts_ms: Starts, duration_ms: float | int, rule: WindowRule) -> ChosenStarts:
    """Chooses the AP starts of a cell's windows: `count` of those whose window fits, spread evenly by number.

    A start fits if it is not before `settle_ms` and its window lies inside [0, duration_ms]. The first and the last
    that fit are always chosen (with count 1 the first); where fewer fit than asked for, all that fit are returned.

        starts 100 600 1100 1600 2100, duration 2500, settle 500, length 300, offset 50 -> fit 600 1100 1600 2100
        count 1: 600      count 2: 600 2100      count 3: 600 1100 2100      count 9: 600 1100 1600 2100
    """
    begin = starts_ms - rule.offset_ms
    fits = starts_ms[(starts_ms >= rule.settle_ms) & (begin >= 0) & (begin + rule.length_ms <= duration_ms)]
    if len(fits) <= rule.count:
        return fits
    if rule.count == 1:
        return fits[:1]
    # Whole-number arithmetic, halves down: the table above does not hang on how a machine rounds.
    gaps = rule.count - 1
    return fits[-((gaps - 2 * (len(fits) - 1) * np.arange(rule.count)) // (2 * gaps))]
