"""Shapes and units of every tensor; those of arrays are in `arrays.py`.

batch     cells of a training batch
scaled    scaled conductances, in the order of `Cell.scaled`
samples   points of one window, `interval_ms` apart
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch._subclasses.fake_tensor import FakeTensor

ScaleBatch = Float[torch.Tensor, "batch scaled"]
"""Input of every network."""

VoltageBatch = Float[torch.Tensor, "batch samples"]
"""Output of every network: one window per scale vector, in mV."""

WindowBatch = Float[torch.Tensor, "batch windows samples"]
"""All windows of each cell of a batch, in mV."""

VectorBatch = Float[torch.Tensor, "batch numbers"]
"""Training vectors, one per scale vector: windows in mV, or registered cycles."""

VectorBatches = Iterable[Float[torch.Tensor, "_ numbers"]]
"""Training vectors in batches."""

MemberWindows = Float[torch.Tensor, "members batch samples"]
"""One window per scale vector by each member of an ensemble, in mV."""

MemberCells = Float[torch.Tensor, "members batch"]
"""One number per scale vector by each member of an ensemble."""

CellBatch = Float[torch.Tensor, "batch"]
"""One number per scale vector."""


def is_fake(tensor: torch.Tensor) -> bool:
    """Return whether a tensor has a shape but no values, as all tensors have while the preflight measures memory."""
    return isinstance(tensor, FakeTensor)
