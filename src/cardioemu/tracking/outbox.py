"""Records that could not be sent yet: calls with plain values in a run folder, one JSON line each, in their order."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cardioemu.runtime.files import atomic_write, fsync_file

UNSENT = "unsent"
CALLS, SENT = "calls.jsonl", "sent"
SWEEPS = "sweeps"  # folder of the parent runs, in the folder of all runs


class Outbox:
    """Pending calls of one run.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / UNSENT

    def __len__(self) -> int:
        """Return the number of pending calls."""
        return len(self._calls()) - self._sent()

    def append(self, call: str, arguments: dict[str, Any]) -> None:
        """Add a call after the others; it is on disk when this returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / CALLS
        is_complete = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")  # a kill may leave half a line
        with path.open("a", encoding="utf-8") as file:
            file.write(("" if is_complete else "\n") + json.dumps([call, arguments]) + "\n")
        fsync_file(path)

    def sync(self, perform: Callable[[str, dict[str, Any]], None]) -> None:
        """Perform the pending calls in their order; after an exception of `perform`, the rest stays pending.

        A call is performed again if the process was killed before its success was noted.
        """
        calls = self._calls()
        for number in range(self._sent(), len(calls)):
            perform(*calls[number])
            with atomic_write(self.folder / SENT) as file:
                file.write_text(str(number + 1), encoding="utf-8")
            self.remove_file(calls[number][1])
        for name in (CALLS, SENT):
            (self.folder / name).unlink(missing_ok=True)
        self._remove_if_empty()

    def remove_file(self, arguments: dict[str, Any]) -> None:
        """Remove the file of a call that was performed, unless it belongs to the run."""
        path = self.folder.parent / arguments.get("path", "")
        if path.parent == self.folder:
            path.unlink(missing_ok=True)
            self._remove_if_empty()

    def _remove_if_empty(self) -> None:
        with suppress(OSError):  # not empty
            self.folder.rmdir()

    def _calls(self) -> list[Any]:
        path = self.folder / CALLS
        calls = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            with suppress(ValueError):  # half a line, left by a kill
                calls.append(json.loads(line))
        return calls

    def _sent(self) -> int:
        path = self.folder / SENT
        return int(path.read_text(encoding="utf-8")) if path.exists() else 0


def pending_folders(runs_dir: Path) -> list[Path]:
    """Return the run folders with pending calls, sweeps first, since the calls of their runs refer to them."""
    folders = [path.parent.parent for path in runs_dir.rglob(f"{UNSENT}/{CALLS}")]
    return sorted(folders, key=lambda folder: (folder.parent.name != SWEEPS, folder))
