"""Training windows by index: held in memory where they take little of it, else read from the disk when needed."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from cardioemu.windowing import WindowSet

BATCHES_AHEAD = 4

Batch = tuple[torch.Tensor, torch.Tensor]


class TrainingSet(Dataset[Batch]):
    """The windows of some cells one by one: index `i` is window `i % count` of cell `rows[i // count]`.

    Args:
        windows: the set they belong to.
        rows: windowed cells; one that stands twice trains twice.
        hold: whether to hold the windows in memory.
    """

    def __init__(self, windows: WindowSet, rows: np.ndarray, hold: bool) -> None:
        self.windows, self.rows, self.count = windows, rows, windows.count
        self.scales = torch.tensor(windows.scales[rows], dtype=torch.float32)
        self.held = torch.from_numpy(windows.windows(rows)).flatten(0, 1) if hold else None

    def __len__(self) -> int:
        return len(self.rows) * self.count

    def __getitem__(self, indices: Sequence[int]) -> Batch:
        """Returns scales (batch, scaled) and windows (batch, points)."""
        cells, numbers = np.divmod(np.asarray(indices), self.count)
        scales = self.scales[torch.from_numpy(cells)]
        if self.held is not None:
            return scales, self.held[torch.as_tensor(indices)]
        return scales, torch.from_numpy(self.windows.pick(self.rows[cells], numbers))

    def expect(self, indices: Sequence[int]) -> None:
        """Has the system begin to read what will be asked for soon."""
        if self.held is None:
            cells, numbers = np.divmod(np.asarray(indices), self.count)
            self.windows.expect(self.rows[cells], numbers)


class EpochBatches(Sampler[list[int]]):
    """Shuffled batches of indices that depend on the seed and the epoch only, so that a resumed run sees the same.

    Args:
        size: how many indices.
        batch_size: how many in a batch; the last may have fewer.
        seed: of the order.
        expect: told of every batch some batches before it comes.
    """

    def __init__(
        self, size: int, batch_size: int, seed: int, expect: Callable[[list[int]], None] | None = None
    ) -> None:
        self.size, self.batch_size, self.seed, self.epoch = size, batch_size, seed, 0
        self.expect = expect

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        ahead: deque[list[int]] = deque()
        for i in range(0, self.size, self.batch_size):
            ahead.append(order[i : i + self.batch_size].tolist())
            if self.expect:
                self.expect(ahead[-1])
            if len(ahead) > BATCHES_AHEAD:
                yield ahead.popleft()
        yield from ahead
