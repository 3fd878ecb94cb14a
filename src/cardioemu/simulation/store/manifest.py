"""The manifest of a trace store: which shards it holds, and the checksum of each."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cardioemu.common.errors import UserError

MISSING = "is missing"
MANIFEST = "_manifest.jsonl"  # readers of Parquet folders pass over names that begin with _ or .


@dataclass(frozen=True)
class Entry:
    """What the manifest says of one shard.

    Attributes:
        campaign: key of the campaign it belongs to.
        shard: name of the file.
        rows: how many cells it holds.
        first: the smallest number of a cell in it.
        last: the largest.
        bytes: its size.
        sha256: its checksum.
    """

    campaign: str
    shard: str
    rows: int
    first: int
    last: int
    bytes: int
    sha256: str

    def fault(self, folder: Path) -> str | None:
        """Says what is wrong with the shard, None if it is as it was written; reads all of it."""
        path = folder / self.shard
        if not path.is_file():
            return MISSING
        size = path.stat().st_size
        if size != self.bytes:
            return f"is torn: it has {size} bytes of {self.bytes}"
        return None if checksum(path) == self.sha256 else "was altered: its checksum is not the one it was written with"


def checksum(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path, campaign: str) -> dict[str, Entry]:
    """Returns the entries by shard, the last of each; a line that a kill has torn is passed over.

    Raises:
        UserError: the manifest is that of another campaign.
    """
    path = folder / MANIFEST
    entries = {entry.shard: entry for entry in _entries(path)} if path.exists() else {}
    for entry in entries.values():
        if entry.campaign != campaign:
            raise UserError(
                f"{path} belongs to another campaign ({entry.campaign}, not {campaign}); "
                "delete it, and the traces here are simulated again"
            )
    return dict(sorted(entries.items()))


def _entries(path: Path) -> Iterator[Entry]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            yield Entry(**json.loads(line))
        except (ValueError, TypeError):
            continue


def append(folder: Path, entry: Entry) -> None:
    """Adds a shard to the manifest, on disk before this returns."""
    with (folder / MANIFEST).open("ab+") as file:
        file.seek(0, os.SEEK_END)
        if file.tell():
            file.seek(-1, os.SEEK_END)
            torn = file.read(1) != b"\n"
            file.write(b"\n" if torn else b"")
        file.write(json.dumps(asdict(entry)).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
