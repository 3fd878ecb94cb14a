"""Work shared out among threads by cells, where torch would share out every operation."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import torch


def map_threads(numbers: Iterable[int], do: Callable[[int], None], device: torch.device) -> None:
    """Does something for each number, on a CPU in as many threads as torch may use, each of them working alone.

    An operation on a few hundred cells is too small to be shared out: by torch's own threads it takes longer.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads == 1:
        for number in numbers:
            do(number)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for _ in pool.map(do, numbers):
                pass
    finally:
        torch.set_num_threads(threads)  # torch takes the last such call for all threads to come
