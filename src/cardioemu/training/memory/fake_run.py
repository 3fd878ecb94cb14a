"""What training takes of memory, found by going through its steps with tensors that have shapes but no memory."""

import weakref
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cardioemu.models import Network
from cardioemu.training.module import cell_rmse_mV
from cardioemu.windowing import CycleRule

STEPS = 2  # in the first the optimiser makes its state, the second is like all others


class MemoryUse(NamedTuple):
    """Bytes that the parts of training take.

    Attributes:
        network: parameters and buffers.
        building: the most while the network is built and initialised, the network included.
        gradients: of the parameters that get one.
        optimizer: what it keeps from step to step.
        working: the most beside these three in a step or in validation: the batch, activations, what the optimiser
            makes in between.
    """

    network: int
    building: int
    gradients: int
    optimizer: int
    working: int

    @property
    def training(self) -> int:
        """The most in a step."""
        return self.network + self.gradients + self.optimizer + self.working


def measure_memory(
    make_network: Callable[[], Network],
    make_optimizer: Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer],
    *,
    inputs: int,
    output_samples: int,
    batch_size: int,
    cells: int,
    windows: int,
    mixed: bool,
) -> MemoryUse:
    """Builds a network, takes two training steps and validates, in fractions of a second whatever its size.

    Args:
        make_network: builds the network, initialised.
        make_optimizer: makes the optimiser of its parameters.
        inputs: scaled conductances.
        points: of a window.
        batch_size: windows of a training batch.
        cells: cells of a validation batch.
        windows: of each of these cells.
        mixed: whether forward passes are in bfloat16 where that is accurate enough.
    """
    with FakeTensorMode(), _Live() as live:
        network = make_network()
        building, of_network = live.most, live.now
        optimizer = make_optimizer(network.parameters())
        numbers = CycleRule().output_samples if network.trained_on == "cycles" else output_samples
        for _ in range(STEPS):
            live.most = live.now
            batch = torch.empty(batch_size, inputs), torch.empty(batch_size, numbers)
            with _arithmetic(mixed):
                loss = network.loss(*batch)
                if (of_firing := network.firing_loss(batch[0], batch[1][:, 0])) is not None:
                    loss = loss + of_firing
            optimizer.zero_grad()
            loss.backward()
            del loss, of_firing
            optimizer.step()
            del batch
        kept, most = live.now, live.most
        gradients = sum(p.grad.nbytes for p in network.parameters() if p.grad is not None)
        live.most = live.now
        with torch.no_grad(), _arithmetic(mixed):
            cell_rmse_mV(network, torch.empty(cells, inputs), torch.empty(cells, windows, output_samples))
        most = max(most, live.most)
    return MemoryUse(of_network, building, gradients, kept - of_network - gradients, most - kept)


def _arithmetic(mixed: bool) -> AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext()


class _Live(TorchDispatchMode):
    """Counts the bytes of the storages that are alive, and the most there were."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        self.most = max(self.most, self.now)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self._known:
            self._known.add(storage._cdata)
            self.now += storage.nbytes()
            weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, key: int, nbytes: int) -> None:
        self._known.discard(key)
        self.now -= nbytes
