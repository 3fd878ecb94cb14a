"""The manifest of a trace store: its shards and their checksums."""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cardioemu.common.errors import UserError

MISSING = "is missing"
MANIFEST = "_manifest.jsonl"  # readers of Parquet folders ignore names that begin with _ or .


@dataclass(frozen=True)
class Entry:
    """One shard in the manifest: its campaign's key, its file, and its `rows` cells, numbered `first` to `last`."""

    campaign: str
    shard: str
    rows: int
    first: int
    last: int
    bytes: int
    sha256: str

    def find_fault(self, folder: Path) -> str | None:
        """Read the whole shard; return how it differs from what was written, or None if it is intact."""
        path = folder / self.shard
        if not path.is_file():
            return MISSING
        size = path.stat().st_size
        if size != self.bytes:
            return f"is truncated or extended: it has {size} bytes, but {self.bytes} were written"
        return None if checksum(path) == self.sha256 else "was altered: its checksum is not that in the manifest"


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path, campaign: str) -> dict[str, Entry]:
    """Return the last entry of each shard, by shard name; a line truncated by a kill is ignored.

    Raises:
        UserError: the manifest belongs to another campaign.
    """
    path = folder / MANIFEST
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    entries: dict[str, Entry] = {}
    for line in lines:
        with suppress(ValueError, TypeError):
            entry = Entry(**json.loads(line))
            entries[entry.shard] = entry
    for entry in entries.values():
        if entry.campaign != campaign:
            raise UserError(
                f"{path} belongs to another campaign ({entry.campaign}, not {campaign}); "
                "delete it and re-run the command to simulate these traces again"
            )
    return dict(sorted(entries.items()))


def append_entry(folder: Path, entry: Entry) -> None:
    """Append a shard to the manifest and flush it to the disk."""
    with (folder / MANIFEST).open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(json.dumps(asdict(entry)).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
