"""One progress bar for all long work: animated on a terminal, one line every 30 s in a log file."""

import sys

from tqdm import tqdm

from cardioemu.runtime.machine import rank

LOG_INTERVAL_S = 30.0


def progress_bar(total: int, doing: str, unit: str) -> tqdm:
    """Open a progress bar on stderr; of several processes that train together, only rank 0 shows one."""
    is_terminal = sys.stderr.isatty()
    interval = 0.1 if is_terminal else LOG_INTERVAL_S
    return tqdm(
        total=total,
        desc=doing,
        unit=unit,
        mininterval=interval,
        maxinterval=10 * interval,
        dynamic_ncols=is_terminal,
        disable=rank() > 0,
    )


def log_message(message: str) -> None:
    """Print a message on stderr, above an open progress bar, from rank 0 only."""
    if rank() == 0:
        tqdm.write(message, file=sys.stderr)
