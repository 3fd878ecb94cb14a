"""The exception whose message is written for the user, and the sentences in it."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any

from pydantic import ValidationError

MAX_SUGGESTIONS, MAX_KNOWN = 3, 40  # names in a sentence


class UserError(ValueError):
    """Input of the user that cannot be used; the message says which setting, its value, and what is allowed."""


class TrialPruned(Exception):  # noqa: N818
    """A trial of a search that is stopped early on purpose; the message says why."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def name_hint(name: str, known: Collection[str], prefix: str = "", otherwise: str = "") -> str:
    """Return the end of a sentence about an unknown name: "did you mean ikr.g_Kr?", or a list of the known names.

    Known names that end with `.name` come first, then the closest spelling; case is ignored. If no name is close,
    `otherwise` replaces the list.
    """
    folded = {other.lower(): other for other in known}
    close = [other for other in folded if other.endswith(f".{name.lower()}")][:MAX_SUGGESTIONS]
    close = close or get_close_matches(name.lower(), folded, n=1)
    if close:
        return f"did you mean {' or '.join(prefix + folded[other] for other in close)}?"
    more = f" and {len(known) - MAX_KNOWN} more" if len(known) > MAX_KNOWN else ""
    return otherwise or f"known are {', '.join(islice(known, MAX_KNOWN)) or 'none'}{more}"


def format_validation_error(details: Any, address: str) -> str:
    """Format one of pydantic's `errors()` as a sentence; return the message of a UserError unchanged.

    The address is that of the value, as the user writes it.
    """
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, UserError):
        return str(cause)
    within = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in details["loc"])
    setting = f"{address}{within}".lstrip(".")
    if details["type"] in ("missing", "missing_argument"):
        return f"{setting}: this must be given"
    allowed = str(cause) if cause else details["msg"].replace("Input should be", "it must be")
    return f"{setting}: got {details['input']!r}; {allowed}"


def construct(target: Any, arguments: Mapping[str, Any], address: str) -> Any:
    """Call a constructor with arguments that come from the user, who knows the object by its address in the config.

    Raises:
        UserError: pydantic, or the constructor itself, refuses the arguments.
    """
    try:
        return target(**arguments)
    except ValidationError as error:
        sentences = [format_validation_error(details, address) for details in error.errors()]
        raise UserError("\n".join(sentences)) from error
