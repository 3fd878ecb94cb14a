"""Shards of windows: NumPy files written one cell at a time, read through a memory map."""

import math
import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from cardioemu.common.arrays import CellWindows, Windows
from cardioemu.runtime.files import atomic_write

DTYPE = np.dtype("<f4")


def write(path: Path, cells: Iterable[CellWindows], count: int, points: int) -> None:
    """Writes the windows of some cells, (count, points) float32 each, as one array; memory holds those of one."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        rows = 0
        _write_header(file, rows, count, points)
        for windows in cells:
            file.write(windows.astype(DTYPE, copy=False).tobytes())
            rows += 1
        file.seek(0)
        _write_header(file, rows, count, points)  # NumPy leaves room for the first axis to grow


def _write_header(file: IO[bytes], rows: int, count: int, points: int) -> None:
    header = {"descr": DTYPE.str, "fortran_order": False, "shape": (rows, count, points)}
    npy.write_array_header_1_0(file, header)


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    npy.read_magic(file)
    shape, _, dtype = npy.read_array_header_1_0(file)
    return shape, dtype


def size_of(count: int, points: int) -> int:
    """Returns the bytes that the windows of one cell take."""
    return DTYPE.itemsize * count * points


def is_complete(path: Path) -> bool:
    """Tells whether a shard is there, as long as its header says."""
    try:
        with path.open("rb") as file:
            shape, dtype = _read_header(file)
            return path.stat().st_size == file.tell() + dtype.itemsize * math.prod(shape)
    except (OSError, ValueError):
        return False


class WindowShard:
    """The windows of one shard (cells, windows, points), float32 in mV, mapped: read from the disk as they are used.

    Raises:
        ValueError: the file is no whole array.
    """

    windows: Windows

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            shape, dtype = _read_header(file)
            self._offset = file.tell()
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        flat = np.frombuffer(self._map, dtype, offset=self._offset)
        self.windows = flat.reshape(shape)
        if hasattr(mmap, "MADV_RANDOM"):  # reading around a page that is missing would read what nobody asked for
            self._map.madvise(mmap.MADV_RANDOM)

    def prefetch(self, part: np.ndarray) -> None:
        """Has the system begin to read a contiguous part of `windows`; returns at once."""
        if hasattr(mmap, "MADV_WILLNEED"):
            begin = self._offset + part.ctypes.data - self.windows.ctypes.data
            aligned = begin - begin % mmap.PAGESIZE
            self._map.madvise(mmap.MADV_WILLNEED, aligned, begin - aligned + part.nbytes)
