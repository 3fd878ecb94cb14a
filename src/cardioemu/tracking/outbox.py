"""Records that could not be sent yet: calls with plain values in a run folder, one JSON line each, in their order."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cardioemu.runtime.files import atomic_write, fsync_file

UNSENT = "unsent"
CALLS, SENT = "calls.jsonl", "sent"
SWEEPS = "sweeps"  # folder of the parent runs, in the folder of all runs


class Outbox:
    """Pending calls of the run of a run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / UNSENT

    def __len__(self) -> int:
        """Return the number of pending calls."""
        return len(self._calls()) - self._sent()

    def append(self, call: str, arguments: dict[str, Any]) -> None:
        """Add a call after the others; it is on disk when this returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / CALLS
        with path.open("a", encoding="utf-8") as file:
            file.write(f"\n{json.dumps([call, arguments])}")  # on a new line: a kill may have left half of one
        fsync_file(path)

    def sync(self, perform: Callable[[str, dict[str, Any]], None]) -> None:
        """Perform the pending calls in their order; after an exception of `perform`, the rest stays pending.

        A call is performed again if the process was killed before its success was noted.
        """
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
