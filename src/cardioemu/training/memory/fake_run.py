"""Memory that a training needs, measured by running its steps with fake tensors, which have shapes but no memory."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cardioemu.models import Network
from cardioemu.training.module import cell_rmse_mV
from cardioemu.windowing import CycleRule

STEPS = 2  # in the first step the optimiser allocates its state; the second is like all others


class MemoryUse(NamedTuple):
    """Memory of a training in bytes.

    Attributes:
        network: parameters and buffers.
        building: peak while the network is built and initialised, including the network.
        gradients: gradients of all parameters that have one.
        optimizer: state of the optimiser.
        working: peak of everything else in a step or in validation: batch, activations, temporaries of the optimiser.
    """

    network: int
    building: int
    gradients: int
    optimizer: int
    working: int


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
    """Build a network, take two training steps and validate, with fake tensors: less than a second for any size.

    Args:
        make_network: builds and initialises the network.
        make_optimizer: factory of the optimiser.
        inputs: number of scaled conductances.
        output_samples: samples of a window.
        batch_size: windows in a training batch.
        cells: cells in a validation batch.
        windows: windows of each of these cells.
        mixed: whether forward passes use bfloat16 (torch.autocast).
    """
    with FakeTensorMode(), _LiveMemory() as live:
        network = make_network()
        building, network_bytes = live.peak, live.now
        optimizer = make_optimizer(network.parameters())
        vector_size = CycleRule().output_samples if network.trained_on == "cycles" else output_samples
        for _ in range(STEPS):
            live.peak = live.now
            batch = torch.empty(batch_size, inputs), torch.empty(batch_size, vector_size)
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                loss = network.loss(*batch)
                if (firing_loss := network.firing_loss(batch[0], batch[1][:, 0])) is not None:
                    loss = loss + firing_loss
            optimizer.zero_grad()
            loss.backward()
            del loss, firing_loss
            optimizer.step()
            del batch
        persistent, peak = live.now, live.peak
        gradients = sum(p.grad.nbytes for p in network.parameters() if p.grad is not None)
        live.peak = live.now
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            cell_rmse_mV(network, torch.empty(cells, inputs), torch.empty(cells, windows, output_samples))
        peak = max(peak, live.peak)
    return MemoryUse(
        network_bytes, building, gradients, persistent - network_bytes - gradients, working=peak - persistent
    )


class _LiveMemory(TorchDispatchMode):
    """Bytes of all live storages, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._counted: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        self.peak = max(self.peak, self.now)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self._counted:
            self._counted.add(storage._cdata)
            self.now += storage.nbytes()
            weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, key: int, nbytes: int) -> None:
        self._counted.discard(key)
        self.now -= nbytes
