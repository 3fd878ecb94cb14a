"""Pacing: external inputs of a cell and the times at which they change."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, TypeAlias

import myokit
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from pydantic.dataclasses import dataclass

from cardioemu.common.errors import UserError


@dataclass(frozen=True)
class Pacing:
    """A train of equal stimuli, times in ms; without a period, the protocol of the model file.

    Attributes:
        period_ms: time between the beginnings of successive stimuli, the paced cycle length; None uses the protocol of
            the model file, if it has one.
        duration_ms: duration of each stimulus.
        start_ms: beginning of the first stimulus.
        amplitude: level of the model's pacing variable during a stimulus; most models multiply it by a current.
        count: number of stimuli; None continues to the end, 0 leaves the cell unpaced.

    Raises:
        UserError: a stimulus longer than the period, or settings of stimuli without a period.
    """

    period_ms: Annotated[PositiveFloat, Field(allow_inf_nan=False)] | None = None
    duration_ms: Annotated[PositiveFloat, Field(allow_inf_nan=False)] = 1.0
    start_ms: Annotated[NonNegativeFloat, Field(allow_inf_nan=False)] = 0.0
    amplitude: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    count: NonNegativeInt | None = None

    def __post_init__(self) -> None:
        changed = [f.name for f in fields(self) if getattr(self, f.name) != f.default]
        if self.period_ms is None and self.count != 0 and changed:
            raise UserError(f"pacing.{changed[0]}: has no effect without a period; set pacing.period_ms")
        if self.period_ms is not None and self.duration_ms >= self.period_ms:
            raise UserError(
                f"pacing.duration_ms: got {self.duration_ms:g}; allowed is a time below period_ms, {self.period_ms:g}"
            )


OneProtocol: TypeAlias = Pacing | myokit.Protocol | myokit.TimeSeriesProtocol
AnyProtocol: TypeAlias = OneProtocol | Mapping[str, OneProtocol] | None
