"""Folders that one process at a time fills, and what a disk refuses said in a sentence."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from cardioemu.common.errors import UserError
from cardioemu.runtime.files import TEMPORARY
from cardioemu.runtime.progress import log_message

LOCK, HOLDER = ".lock", ".holder"


@contextmanager
def folder_lock(folder: Path, doing: str, setting: str = "data_dir", wait: bool = True) -> Iterator[None]:
    """Holds a folder, which it makes, against other processes; waits for one that holds it, and says who.

    Args:
        folder: the folder.
        doing: what is done to it, for the sentence "FOLDER is being ... by".
        setting: by which the user chose it.
        wait: whether to wait for another at all.

    Raises:
        UserError: the folder cannot be made or held, or another holds it and is not waited for. What is done to it
            says itself what it meets.
    """
    with ExitStack() as release:
        with disk_errors_as_user_error(folder, setting):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / LOCK)
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                if not wait:
                    raise UserError(
                        f"{setting}: {folder} is in use by {_describe_holder(folder)}; run the same command when that has ended"
                    ) from error
                log_message(f"{folder} is being {doing} by {_describe_holder(folder)}; waiting until that has ended")
                lock.acquire()
            release.callback(lock.release)
            release.callback(_remove_temporary_files, folder)
            (folder / HOLDER).write_text(_describe_this_process(), encoding="utf-8")
            _remove_temporary_files(folder)  # after a kill
        yield


@contextmanager
def disk_errors_as_user_error(folder: Path, setting: str = "data_dir") -> Iterator[None]:
    """Turns what the disk refuses into a sentence."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{setting}: {folder} cannot be written to ({error.strerror or error}); "
            f"what is finished is kept: make room, or give another {setting}, and run the same command again"
        ) from error


@contextmanager
def permission_errors_as_user_error(folder: Path, setting: str = "data_dir") -> Iterator[None]:
    """Turns what may not be read into a sentence."""
    try:
        yield
    except PermissionError as error:
        raise UserError(
            f"{setting}: {error.filename or folder} cannot be read ({error.strerror}); have its owner allow it, or "
            f"give another {setting}"
        ) from error


def _remove_temporary_files(folder: Path) -> None:
    for left_over in folder.rglob(f".*{TEMPORARY}"):
        left_over.unlink(missing_ok=True)


def _describe_this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()} since {datetime.now().astimezone():%Y-%m-%d %H:%M:%S}"


def _describe_holder(folder: Path) -> str:
    try:
        return (folder / HOLDER).read_text(encoding="utf-8")
    except OSError:
        return "another process"
