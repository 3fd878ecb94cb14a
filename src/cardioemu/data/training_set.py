"""Training windows by index: held in memory where they take little of it, else read from the disk when needed."""

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
    """The part of a batch that is calculated in one go.

    Attributes:
        indices: of its windows.
        rows: what the sum of their squared errors is divided by: windows of the batch per share.
    """

    indices: list[int]
    divisor: float


class TrainingSet(Dataset[SharedBatch]):
    """The windows of some cells one by one: index `i` is window `i % count` of cell `rows[i // count]`.

    Args:
        windows: the set they belong to.
        rows: windowed cells; one that stands twice trains twice.
        hold: the device in whose memory to hold the windows, if in any.
    """

    def __init__(self, windows: WindowSet, rows: np.ndarray, hold: torch.device | None = None) -> None:
        self.windows, self.rows, self.count = windows, rows, windows.count
        self.scales = torch.tensor(windows.scales[rows], dtype=torch.float32, device=hold)
        self.held = torch.from_numpy(windows.windows(rows)).flatten(0, 1).to(hold) if hold else None

    def __len__(self) -> int:
        return len(self.rows) * self.count

    def __getitem__(self, share: Share) -> SharedBatch:
        """Returns scales (batch, scaled), windows (batch, points) and the share's rows."""
        indices, rows = torch.tensor(share.indices, dtype=torch.int64), share.divisor
        if self.held is not None:
            indices = indices.to(self.held.device, non_blocking=True)
            return self.scales[indices // self.count], self.held[indices], rows
        cells, numbers = np.divmod(indices.numpy(), self.count)
        return (
            self.scales[indices // self.count],
            torch.from_numpy(self.windows.read_windows(self.rows[cells], numbers)),
            rows,
        )

    def prefetch(self, indices: list[int]) -> None:
        """Has the system begin to read what will be asked for soon."""
        if self.held is None:
            cells, numbers = np.divmod(np.array(indices, dtype=int), self.count)
            self.windows.prefetch(self.rows[cells], numbers)


class EpochBatches(Sampler[Share]):
    """Shuffled batches of indices that depend on the seed and the epoch only, so that a resumed run sees the same.

    Every batch may be shared out over processes and, within each, over parts calculated one after another: the shares
    of all, each divided by its `rows` and averaged, are the batch, whatever their number.

    Args:
        size: how many indices.
        batch_size: how many in a batch; the last may have fewer.
        seed: of the order.
        expect: told of every share some batches before it comes.
        parts: shares of a batch in each process.
        processes: that train together.
        rank: which of them this is.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        expect: Callable[[list[int]], None] | None = None,
        *,
        accumulate: int = 1,
        world_size: int = 1,
        rank: int = 0,
    ) -> None:
        self.size, self.batch_size, self.seed, self.epoch = size, batch_size, seed, 0
        self.expect, self.accumulate, self.world_size, self.rank = expect, accumulate, world_size, rank

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.size // self.batch_size) * self.accumulate

    def __iter__(self) -> Iterator[Share]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        ahead: deque[Share] = deque()
        for i in range(0, self.size, self.batch_size):
            for share in self._shares(order[i : i + self.batch_size]):
                ahead.append(share)
                if self.expect:
                    self.expect(share.indices)
            while len(ahead) > BATCHES_AHEAD * self.accumulate:
                yield ahead.popleft()
        yield from ahead

    def _shares(self, batch: np.ndarray) -> Iterator[Share]:
        total = self.world_size * self.accumulate
        for part in range(self.accumulate):
            yield Share(batch[self.rank * self.accumulate + part :: total].tolist(), len(batch) / total)
