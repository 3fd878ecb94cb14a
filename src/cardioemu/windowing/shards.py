"""Shards of windows: .npy files written one cell at a time and read through a memory map."""

import mmap
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.lib.format import write_array_header_1_0

from cardioemu.common.arrays import CellWindows, Windows
from cardioemu.runtime.files import atomic_write

DTYPE = np.dtype("<f4")


def write_shard(path: Path, cells: Iterable[CellWindows], count: int, samples: int) -> None:
    """Write the windows of some cells, (count, samples) each, as one array; memory holds one cell at a time."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        header = {"descr": DTYPE.str, "fortran_order": False, "shape": (0, count, samples)}
        write_array_header_1_0(file, header)
        rows = 0
        for windows in cells:
            file.write(windows.astype(DTYPE, copy=False).tobytes())
            rows += 1
        file.seek(0)
        # NumPy pads the header so that the final number of rows fits in the same space.
        write_array_header_1_0(file, header | {"shape": (rows, count, samples)})


def is_complete(path: Path) -> bool:
    """Return whether a shard exists and has the length that its header states."""
    try:
        np.load(path, mmap_mode="r")
    except (EOFError, OSError, ValueError):
        return False
    return True


class WindowShard:
    """The windows of one shard (cells, windows, samples), float32 in mV, read from disk when they are used.

    Raises:
        ValueError: the file is not a complete array.
    """

    windows: Windows

    def __init__(self, path: Path) -> None:
        self._mapped = np.load(path, mmap_mode="r")
        self.windows = np.asarray(self._mapped)  # indexing a plain array is 30 times faster

    def prefetch(self, windows: np.ndarray) -> None:
        """Ask the system to start reading a contiguous part of `windows`, and return immediately.

        Training from a cold cache is faster with it; see docs/decisions/0012.
        """
        if hasattr(mmap, "MADV_WILLNEED"):
            begin = self._mapped.offset + windows.ctypes.data - self.windows.ctypes.data
            aligned = begin - begin % mmap.PAGESIZE
            self._mapped.base.madvise(mmap.MADV_WILLNEED, aligned, begin - aligned + windows.nbytes)
