"""Locks of folders, and errors of the disk as user errors."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from cardioemu.common.errors import UserError
from cardioemu.runtime.files import TEMPORARY
from cardioemu.runtime.progress import log_message

LOCK, HOLDER = ".lock", ".holder"


@contextmanager
def folder_lock(folder: Path, doing: str, setting: str = "data_dir", wait: bool = True) -> Iterator[None]:
    """Create and lock a folder; while another process holds the lock, print "FOLDER is being DOING by ..." and wait.

    Raises:
        UserError: the folder cannot be created or locked, or another process holds the lock and `wait` is False; the
            message begins with the setting by which the user chose the folder. Errors inside the block are not
            converted.
    """
    with ExitStack() as release:
        with disk_errors_as_user_error(folder, setting):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / LOCK)
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                holder = "another process"
                with suppress(OSError):
                    holder = (folder / HOLDER).read_text(encoding="utf-8")
                if not wait:
                    raise UserError(
                        f"{setting}: {folder} is in use by {holder}; re-run the command when that process has ended"
                    ) from error
                log_message(f"{folder} is being {doing} by {holder}; waiting for that process to end")
                lock.acquire()
            release.callback(lock.release)
            release.callback(_remove_temporary_files, folder)
            since = f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S}"
            holder = f"process {os.getpid()} on {socket.gethostname()} since {since}"
            (folder / HOLDER).write_text(holder, encoding="utf-8")
            _remove_temporary_files(folder)  # left by a killed process
        yield


@contextmanager
def disk_errors_as_user_error(folder: Path, setting: str = "data_dir") -> Iterator[None]:
    """Convert every error of the operating system inside the block into a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{setting}: {folder} cannot be written to ({error.strerror or error}); "
            f"completed files are kept; free disk space or set another {setting}, then re-run the command"
        ) from error


@contextmanager
def permission_errors_as_user_error(folder: Path, setting: str = "data_dir") -> Iterator[None]:
    """Convert a missing permission to read inside the block into a UserError."""
    try:
        yield
    except (PermissionError, NotADirectoryError) as error:
        raise UserError(
            f"{setting}: {error.filename or folder} cannot be read ({error.strerror}); ask its owner for read "
            f"permission or set another {setting}"
        ) from error


def _remove_temporary_files(folder: Path) -> None:
    for path in folder.rglob(f".*{TEMPORARY}"):
        path.unlink(missing_ok=True)
