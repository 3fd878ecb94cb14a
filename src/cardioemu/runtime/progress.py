"""One progress bar for all long work: rate and time left, lively on a terminal, a line now and then in a log."""

import sys

from tqdm import tqdm

from cardioemu.runtime.machine import rank

LOG_INTERVAL_S = 30.0


def progress_bar(total: int, doing: str, unit: str) -> tqdm:
    """Opens a bar on the error stream, of the first of several processes that train together."""
    lively = sys.stderr.isatty()
    interval = 0.1 if lively else LOG_INTERVAL_S
    return tqdm(
        total=total,
        desc=doing,
        unit=unit,
        mininterval=interval,
        maxinterval=10 * interval,
        dynamic_ncols=lively,
        disable=rank() > 0,
    )


def log_message(sentence: str) -> None:
    """Prints a sentence on the error stream, above a bar that is open, once for all processes."""
    if rank() == 0:
        tqdm.write(sentence, file=sys.stderr)
