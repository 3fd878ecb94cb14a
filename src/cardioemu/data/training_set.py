"""Training windows by index: cached in memory where they fit, otherwise read from disk when needed."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from cardioemu.windowing import WindowSet

BATCHES_AHEAD = 4

Batch = tuple[torch.Tensor, torch.Tensor]
SharedBatch = tuple[torch.Tensor, torch.Tensor, float]


class Share(NamedTuple):
    """The part of a batch that one process computes in one backward pass.

    Attributes:
        indices: indices of its windows.
        divisor: what the sum of their squared errors is divided by: windows of the batch per share.
    """

    indices: list[int]
    divisor: float


class TrainingSet(Dataset[SharedBatch]):
    """The windows of some cells: index `i` is window `i % count` of cell `cell_indices[i // count]`.

    Args:
        windows: the window set.
        cell_indices: windowed cells; a cell that is listed twice trains twice.
        cache_device: the device that caches all windows in its memory; None reads them from disk.
    """

    def __init__(self, windows: WindowSet, cell_indices: np.ndarray, cache_device: torch.device | None = None) -> None:
        self.windows, self.cell_indices, self.count = windows, cell_indices, windows.count
        self.scales = torch.tensor(windows.scales[cell_indices], dtype=torch.float32, device=cache_device)
        self.cache = (
            torch.from_numpy(windows.windows(cell_indices)).flatten(0, 1).to(cache_device) if cache_device else None
        )

    def __len__(self) -> int:
        return len(self.cell_indices) * self.count

    def __getitem__(self, share: Share) -> SharedBatch:
        """Return scales (batch, scaled), windows (batch, samples) and the share's divisor."""
        indices = torch.tensor(share.indices, dtype=torch.int64)
        if self.cache is not None:
            indices = indices.to(self.cache.device, non_blocking=True)
            windows = self.cache[indices]
        else:
            windows = torch.from_numpy(self.windows.read_windows(*self._locate(share.indices)))
        return self.scales[indices // self.count], windows, share.divisor

    def prefetch(self, indices: list[int]) -> None:
        """Start reading windows that will be needed soon."""
        if self.cache is None:
            self.windows.prefetch(*self._locate(indices))

    def _locate(self, indices: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the cell, and the number of the window within the cell, of each index."""
        positions, numbers = np.divmod(np.array(indices, dtype=int), self.count)
        return self.cell_indices[positions], numbers


class EpochBatches(Sampler[Share]):
    """Shuffled batches of indices that depend on the seed and the epoch only, so that a resumed run gets the same.

    A batch may be shared among processes and, within each process, among backward passes whose gradients accumulate.
    The loss of a batch is the mean over all its shares, for any number of shares.

    Args:
        size: number of indices.
        batch_size: indices per batch; the last batch may have fewer.
        seed: seed of the order.
        prefetch: called with the indices of each share `BATCHES_AHEAD` batches before the share is used.
        accumulate: shares of a batch in each process.
        world_size: number of processes.
        rank: the number of this process.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        prefetch: Callable[[list[int]], None] | None = None,
        *,
        accumulate: int = 1,
        world_size: int = 1,
        rank: int = 0,
    ) -> None:
        self.size, self.batch_size, self.seed, self.epoch = size, batch_size, seed, 0
        self.prefetch, self.accumulate, self.world_size, self.rank = prefetch, accumulate, world_size, rank

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls this before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.size // self.batch_size) * self.accumulate

    def __iter__(self) -> Iterator[Share]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        ahead: deque[Share] = deque()
        for i in range(0, self.size, self.batch_size):
            for share in self._shares(order[i : i + self.batch_size]):
                ahead.append(share)
                if self.prefetch:
                    self.prefetch(share.indices)
            while len(ahead) > BATCHES_AHEAD * self.accumulate:
                yield ahead.popleft()
        yield from ahead

    def _shares(self, batch: np.ndarray) -> Iterator[Share]:
        total = self.world_size * self.accumulate
        for number in range(self.accumulate):
            yield Share(batch[self.rank * self.accumulate + number :: total].tolist(), len(batch) / total)
