"""The one exception whose message is written for the user, and how its sentences are made."""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Any


class UserError(ValueError):
    """Something the user gave cannot be used; the message is one sentence: what, what it got, what is allowed."""


class Stopped(Exception):  # noqa: N818
    """A job that is ended before its time on purpose; the message says why."""


def hint(name: str, known: Collection[str], prefix: str = "") -> str:
    """Ends a sentence about an unknown name: with the nearest known one, in whatever case, or else with all."""
    folded = {other.lower(): other for other in known}
    close = get_close_matches(name.lower(), folded, n=1)
    return f"did you mean {prefix}{folded[close[0]]}?" if close else f"known are {', '.join(known)}"


def said(finding: Any, address: str) -> str:
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
