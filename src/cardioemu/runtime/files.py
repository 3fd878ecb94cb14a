"""Atomic writes, and content keys: hashes of everything that determines the output of a stage."""

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

TEMPORARY = ".tmp"  # suffix of unfinished files


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to `path`, fsynced, when the block succeeds.

    A kill at any moment leaves either the old file or the new one, complete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        yield temporary
        fsync_file(temporary)
        commit_file(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """Return a hidden path in the folder of `path` that no other process uses."""
    # Random: processes on two machines, or in two containers, may have the same id.
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{TEMPORARY}")


def fsync_file(path: Path) -> None:
    """Flush a file to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def commit_file(temporary: Path, path: Path) -> None:
    """Rename a flushed file to its final name."""
    temporary.replace(path)
    if os.name == "posix":  # the name is stored in the folder, which needs a flush of its own
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def content_key(stage: str, **facts: object) -> str:
    """Return the hash of a stage's name with version and of every fact that determines its output.

    Arrays enter by dtype, shape and bytes; everything else must be plain values.
    """
    text = json.dumps({"stage": stage, **facts}, sort_keys=True, default=_digest)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _digest(value: object) -> str:
    array = np.ascontiguousarray(value)
    if array.dtype == object:
        raise TypeError(f"a {type(value).__name__} is not a plain value")
    return f"{array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
