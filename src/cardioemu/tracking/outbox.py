"""Records of a run on their way to MLflow: sent immediately, or kept on disk while MLflow cannot be reached."""

import json
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cardioemu.common.errors import first_line
from cardioemu.runtime.files import atomic_write, fsync_file
from cardioemu.runtime.progress import log_message
from cardioemu.tracking.failures import FAILURES

UNSENT = "unsent"
CALLS, SENT = "calls.jsonl", "sent"
SWEEPS = "sweeps"  # folder of the parent runs, in the folder of all runs
RETRY_S = 30.0  # between a failure and the next attempt; training continues meanwhile
Perform = Callable[[str, dict[str, Any]], None]


class Outbox:
    """Delivers the calls of one run in their order.

    Pending calls are in a folder of the run folder, one JSON line each: a name and plain values.

    Args:
        folder: the run folder.
        deferred: whether all calls are kept until `next_attempt` is changed.
    """

    def __init__(self, folder: Path, deferred: bool = False) -> None:
        self.folder = folder / UNSENT
        self.next_attempt = float("inf") if deferred else 0.0  # of the monotonic clock, in s
        self._lock = threading.Lock()  # the system metrics come from another thread

    def __len__(self) -> int:
        """Return the number of pending calls."""
        return len(self._calls()) - self._sent()

    def deliver(self, call: str, arguments: dict[str, Any], perform: Perform) -> None:
        """Perform the pending calls and then this one; if that fails, keep it after the others."""
        with self._lock:
            if time.monotonic() >= self.next_attempt:
                try:
                    self._perform_pending(perform)
                    perform(call, arguments)
                    return
                except FAILURES as error:
                    if self.next_attempt == 0.0:
                        log_message(
                            f"tracking: MLflow cannot record the run ({first_line(error)}); its records are kept in "
                            f"{self.folder} and sent later"
                        )
                    self.next_attempt = time.monotonic() + RETRY_S
            self.append(call, arguments)

    def append(self, call: str, arguments: dict[str, Any]) -> None:
        """Add a call after the others; it is on disk when this returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / CALLS
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n{json.dumps([call, arguments])}")  # on a new line: a kill may have left half of one
        fsync_file(path)

    def sync(self, perform: Perform) -> None:
        """Perform the pending calls in their order; after an exception of `perform`, the rest stays pending.

        A call is performed again if the process was killed before its success was noted.
        """
        with self._lock:
            self._perform_pending(perform)

    def _perform_pending(self, perform: Perform) -> None:
        if not self.folder.exists():
            return
        calls = self._calls()
        for number in range(self._sent(), len(calls)):
            perform(*calls[number])
            with atomic_write(self.folder / SENT) as file:
                file.write_text(str(number + 1), encoding="utf-8")
        for name in (SENT, CALLS):  # in this order: a kill in between repeats calls, and loses no later one
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder)  # with the pictures that an earlier version kept as files

    def _calls(self) -> list[Any]:
        path = self.folder / CALLS
        calls = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            with suppress(ValueError):  # empty, or cut by a kill
                calls.append(json.loads(line))
        return calls

    def _sent(self) -> int:
        path = self.folder / SENT
        return int(path.read_text(encoding="utf-8")) if path.exists() else 0


def pending_folders(runs_dir: Path) -> list[Path]:
    """Return the run folders with pending calls, sweeps first, since the calls of their runs refer to them."""
    folders = [path.parent.parent for path in runs_dir.rglob(f"{UNSENT}/{CALLS}")]
    return sorted(folders, key=lambda folder: (folder.parent.name != SWEEPS, folder))
