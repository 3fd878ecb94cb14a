"""What the settings of a design may be, and the sentences that say what is wrong with them."""

import inspect
from collections.abc import Callable, Collection, Sequence
from functools import wraps
from typing import Annotated, Any, ParamSpec

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, validate_call

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError, format_validation_error, name_hint
from cardioemu.simulation.scales import LARGEST_SCALE

P = ParamSpec("P")

SEED_CURRENTS = ("ICaL", "IK1", "IKr", "IKur", "INa")
SEED_LEVELS = tuple(round(0.2 * i, 1) for i in range(11))
LARGEST_DESIGN = 50_000_000  # numbers: 400 MB, 10 million rows of five conductances


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _all_different(values: Sequence[Any]) -> Sequence[Any]:
    seen = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{value} stands there more than once")
        seen.add(value)
    return values


def _ascending(ends: Sequence[float]) -> Sequence[float]:
    if ends[0] >= ends[1]:
        raise ValueError("the first number must be smaller than the second")
    return ends


Names = Annotated[Sequence[str], Field(min_length=1, max_length=64), AfterValidator(_all_different)]
"""Names of the scaled conductances, in the order of the columns."""

Level = Annotated[float, Field(ge=0, le=LARGEST_SCALE, allow_inf_nan=False)]
"""One multiplier of a conductance; 1.0 is the control."""

Levels = Annotated[Sequence[Level], Field(min_length=1), AfterValidator(_all_different), BeforeValidator(_listed)]
"""The multipliers that a grid gives a conductance."""

Range = Annotated[Sequence[Level], Field(min_length=2, max_length=2), AfterValidator(_ascending)]
"""The lowest and the highest multiplier of a conductance."""


def validated_design(function: Callable[P, Scales]) -> Callable[P, Scales]:
    """Checks the arguments of a design against its annotations.

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
            raise UserError("\n".join(_sentence(finding, known) for finding in error.errors())) from error

    return call


def _sentence(finding: Any, known: Collection[str]) -> str:
    if finding["type"] == "unexpected_keyword_argument":
        name = finding["loc"][-1]
        return f"design.{name}: there is no such setting; {name_hint(name, known)}"
    return format_validation_error(finding, "design")


def check_names(setting: str, names: Collection[str], scaled: Sequence[str]) -> None:
    """Refuses settings of single conductances that name one which is not scaled.

    Raises:
        UserError: a name that is not in `scaled`.
    """
    for name in names:
        if name not in scaled:
            raise UserError(f"design.{setting}: {name!r} is none of the scaled conductances; {name_hint(name, scaled)}")


def check_size(rows: int, scaled: Sequence[str]) -> None:
    """Refuses a design that would not fit in memory, before it is made.

    Raises:
        UserError: more rows than allowed for that many conductances.
    """
    allowed = LARGEST_DESIGN // len(scaled)
    if rows > allowed:
        raise UserError(
            f"design: it would have {rows:,} rows, allowed with {len(scaled)} scaled conductances are {allowed:,}"
        )
