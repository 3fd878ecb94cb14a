"""Batches of cells computed in parallel threads."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import torch


def map_threads(starts: Iterable[int], compute: Callable[[int], None], device: torch.device) -> None:
    """Call `compute` for the start of each batch: on a CPU in as many threads as torch may use, otherwise in one.

    Each thread runs torch single-threaded: an operation on a few hundred cells is too small for torch's own threads,
    which would make it slower.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads == 1:
        for start in starts:
            compute(start)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for _ in pool.map(compute, starts):
                pass
    finally:
        torch.set_num_threads(threads)  # the last call sets the number for all threads created later
