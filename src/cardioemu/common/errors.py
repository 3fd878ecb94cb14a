"""The one exception whose message is written for the user, and how its sentences are made."""

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any

from pydantic import ValidationError

CLOSE, SHOWN = 3, 40  # names in a sentence, at most: that may have been meant, that are known


class UserError(ValueError):
    """Something the user gave cannot be used; the message is one sentence: what, what it got, what is allowed."""


class TrialPruned(Exception):  # noqa: N818
    """A job that is ended before its time on purpose; the message says why."""


def first_line(error: BaseException) -> str:
    """Returns the first line of what an error says, or at least what it is."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def suggest_name(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Asks whether another name was meant: those that it is the last part of, or the nearest in whatever case.

    Returns:
        "did you mean ikr.g_Kr?", or nothing where no known name is near.
    """
    folded = {other.lower(): other for other in known}
    close = [other for other in folded if other.endswith(f".{name.lower()}")][:CLOSE]
    close = close or get_close_matches(name.lower(), folded, n=1)
    return f"did you mean {' or '.join(prefix + folded[other] for other in close)}?" if close else ""


def name_hint(name: str, known: Collection[str], prefix: str = "") -> str:
    """Ends a sentence about an unknown name: with the nearest known one, or else with all, or as many as one reads."""
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return suggest_name(name, known, prefix) or f"known are {', '.join(islice(known, SHOWN)) or 'none'}{more}"


def format_validation_error(finding: Any, address: str) -> str:
    """Puts one of pydantic's findings into a sentence; our own sentences pass as they are.

    Args:
        finding: one of `ValidationError.errors()`.
        address: of what was checked, as the user writes it.
    """
    cause = finding.get("ctx", {}).get("error")
    if isinstance(cause, UserError):
        return str(cause)
    within = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in finding["loc"])
    where = f"{address}{within}".lstrip(".")
    if finding["type"] in ("missing", "missing_argument"):
        return f"{where}: this must be given"
    what = str(cause) if cause else finding["msg"].replace("Input should be", "it must be")
    return f"{where}: got {finding['input']!r}; {what}"


def construct(target: Any, arguments: Mapping[str, Any], address: str) -> Any:
    """Calls a constructor; what it finds wrong in its arguments is the user's.

    Args:
        target: the constructor.
        arguments: by name.
        address: of what is made, as the user writes it.

    Raises:
        UserError: what pydantic, or the constructor itself, finds.
    """
    try:
        return target(**arguments)
    except ValidationError as error:
        raise UserError("\n".join(format_validation_error(finding, address) for finding in error.errors())) from error
