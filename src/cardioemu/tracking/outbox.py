"""What could not be sent yet: calls of plain values in a run folder, one JSON line each, in their order."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cardioemu.runtime.files import atomic_write, fsync_file

UNSENT = "unsent"
CALLS, SENT = "calls.jsonl", "sent"
SWEEPS = "sweeps"  # folder of the parents within that of the runs


class Outbox:
    """The calls of one run that wait.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / UNSENT

    def __len__(self) -> int:
        """How many calls wait."""
        return len(self._calls()) - self._sent()

    def keep(self, call: str, arguments: dict[str, Any]) -> None:
        """Puts a call behind the others; it is on the disk when this returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / CALLS
        whole = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")  # else a kill left half a line
        with path.open("a", encoding="utf-8") as file:
            file.write(("" if whole else "\n") + json.dumps([call, arguments]) + "\n")
        fsync_file(path)

    def sync(self, perform: Callable[[str, dict[str, Any]], None]) -> None:
        """Performs the calls that wait, in their order; what `perform` raises ends it, and the rest goes on waiting.

        A call whose success could not be noted, since the process was killed just then, is performed again.
        """
        calls = self._calls()
        for number in range(self._sent(), len(calls)):
            perform(*calls[number])
            with atomic_write(self.folder / SENT) as file:
                file.write_text(str(number + 1), encoding="utf-8")
            self.discard(calls[number][1])
        for name in (CALLS, SENT):
            (self.folder / name).unlink(missing_ok=True)
        self._remove_if_empty()

    def discard(self, arguments: dict[str, Any]) -> None:
        """Removes the file of a call that has been performed, if it is one of the outbox's own."""
        path = self.folder.parent / arguments.get("path", "")
        if path.parent == self.folder:
            path.unlink(missing_ok=True)
            self._remove_if_empty()

    def _remove_if_empty(self) -> None:
        with suppress(OSError):  # what waits, or is just being put there
            self.folder.rmdir()

    def _calls(self) -> list[Any]:
        path = self.folder / CALLS
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        calls = []
        for line in lines:
            try:
                calls.append(json.loads(line))
            except ValueError:  # half a line, left by a kill while it was written
                continue
        return calls

    def _sent(self) -> int:
        path = self.folder / SENT
        return int(path.read_text(encoding="utf-8")) if path.exists() else 0


def pending_folders(runs_dir: Path) -> list[Path]:
    """Finds the run folders with calls that wait, those of sweeps first: the runs below them name them."""
    found = [path.parent.parent for path in runs_dir.rglob(f"{UNSENT}/{CALLS}")]
    return sorted(found, key=lambda folder: (folder.parent.name != SWEEPS, folder))
