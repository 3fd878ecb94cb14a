"""Arguments of the designs: their annotations, and the messages for invalid ones."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from typing import Annotated, Any, ParamSpec

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, validate_call

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError, format_validation_error, name_hint
from cardioemu.simulation.scales import LARGEST_SCALE

P = ParamSpec("P")

CURRENTS = ("ICaL", "IK1", "IKr", "IKur", "INa")
LEVELS = tuple(round(0.2 * i, 1) for i in range(11))
LARGEST_DESIGN = 50_000_000  # numbers: 400 MB, 10 million rows of five conductances


def _to_list(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _check_unique(values: Sequence[Any]) -> Sequence[Any]:
    seen = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{value} occurs more than once")
        seen.add(value)
    return values


def _check_ascending(ends: Sequence[float]) -> Sequence[float]:
    if ends[0] >= ends[1]:
        raise ValueError("the first number must be smaller than the second")
    return ends


Names = Annotated[Sequence[str], Field(min_length=1, max_length=64), AfterValidator(_check_unique)]
"""Names of the scaled conductances, in the order of the columns."""

Level = Annotated[float, Field(ge=0, le=LARGEST_SCALE, allow_inf_nan=False)]
"""One multiplier of a conductance; 1.0 is the control."""

Levels = Annotated[Sequence[Level], Field(min_length=1), AfterValidator(_check_unique), BeforeValidator(_to_list)]
"""All multipliers of a conductance in a grid."""

Range = Annotated[Sequence[Level], Field(min_length=2, max_length=2), AfterValidator(_check_ascending)]
"""Smallest and largest multiplier of a conductance."""


def validated_design(function: Callable[P, Scales]) -> Callable[P, Scales]:
    """Validate the arguments of a design against its annotations.

    Raises:
        UserError: from the design's call; one sentence per mistake.
    """
    validated = validate_call(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Scales:
        try:
            return validated(*args, **kwargs)
        except ValidationError as error:
            known = inspect.signature(function).parameters
            raise UserError("\n".join(_format(finding, known) for finding in error.errors())) from error

    return call


def _format(finding: Any, known: Collection[str]) -> str:
    if finding["type"] == "unexpected_keyword_argument":
        name = finding["loc"][-1]
        return f"design.{name}: there is no such setting; {name_hint(name, known)}"
    return format_validation_error(finding, "design")


def of_each(scaled: Sequence[str], setting: str, own: Mapping[str, Sequence[float]], common: Sequence[float]) -> list:
    """Return the levels of each conductance, or the ends of its range: its own, or those that all others have.

    Raises:
        UserError: a name in `own` is not in `scaled`.
    """
    for name in own:
        if name not in scaled:
            raise UserError(f"design.{setting}: {name!r} is not a scaled conductance; {name_hint(name, scaled)}")
    return [own.get(name, common) for name in scaled]


def check_size(rows: int, scaled: Sequence[str]) -> None:
    """Check that a design fits in memory, before it is made.

    Raises:
        UserError: too many rows for the number of conductances.
    """
    allowed = LARGEST_DESIGN // len(scaled)
    if rows > allowed:
        raise UserError(
            f"design: got {rows:,} rows; allowed with {len(scaled)} scaled conductances are {allowed:,} rows or fewer"
        )
