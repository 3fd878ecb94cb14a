"""Files that are whole or absent, and keys made of everything that determines a stage's output."""

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

TEMPORARY = ".tmp"  # how the names of unfinished files end


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what was written there takes its name, fsynced, once the block ends well.

    A kill at any moment leaves the old file or the new one, never a part of one.
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
    """Returns a hidden name in the folder of `path` that no other process has."""
    # Random, since processes on two machines, or in two containers, may have the same number.
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{TEMPORARY}")


def fsync_file(path: Path) -> None:
    """Returns once a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def commit_file(temporary: Path, path: Path) -> None:
    """Gives a flushed file its name."""
    temporary.replace(path)
    if os.name == "posix":  # the new name is in the folder, which is flushed on its own
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def content_key(stage: str, **facts: object) -> str:
    """Returns the hash of a stage's name with version and of every fact that determines its output.

    Arrays count by their shape and bytes; the rest must be plain values.
    """
    text = json.dumps({"stage": stage, **facts}, sort_keys=True, default=_digest)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _digest(value: object) -> str:
    array = np.ascontiguousarray(value)
    if array.dtype == object:
        raise TypeError(f"{type(value).__name__} is no plain value")
    return f"{array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
