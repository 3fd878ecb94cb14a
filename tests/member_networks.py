"""Networks of several members for tests: cases, training vectors, and their dense layers in NumPy."""

import numpy as np
import torch

from cardioemu.common.registration import NODE_COUNT
from cardioemu.models import MLP, Coordinate, Decoder

SIZES = {"samples": 37, "inputs": 3, "width": 6, "blocks": 1}
TIMES = {"begin_ms": -5.0, "interval_ms": 0.5}
CASES = {
    "samples": (MLP, SIZES | TIMES),
    "components": (MLP, SIZES | TIMES | {"target": "components", "components": 4}),
    "registered": (MLP, SIZES | TIMES | {"target": "registered", "components": 4}),
    "decoder": (Decoder, SIZES | {"channels": 8, "layers": 2}),
    "coordinate": (Coordinate, SIZES | TIMES | {"shortest_ms": 4.0, "points": 8}),
}


def scales_of(cells):
    return 2 * torch.rand(cells, 3, dtype=torch.float64)


def training_vectors(case, count):
    """Random windows, or registered cycles that beat steadily."""
    if case != "registered":
        return 5 * torch.randn(count, 37, dtype=torch.float64) @ torch.randn(37, 37, dtype=torch.float64) - 60
    landmarks = torch.tensor([90.0, 160.0, 400.0]).log() + 0.1 * torch.rand(count, 3)
    parts = [torch.randn(count, NODE_COUNT), landmarks, torch.zeros(count, 3), torch.rand(count, 1)]
    return torch.cat(parts, 1).double()


def fitted(case, **changes):
    """A network in double precision, its representation fitted to training vectors."""
    make, settings = CASES[case]
    network = make(**settings | changes).double()
    network.fit_target(training_vectors(case, 20).split(7))
    return network


def silu(x):
    return x / (1 + np.exp(-x))


def dense(x, layer, member=0):
    return x @ layer.weight[member].numpy(force=True) + layer.bias[member].numpy(force=True)


def residual(x, trunk, member=0):
    """The definition of the residual network of a member; `x` is its input, zero for the control."""
    x = dense(x, trunk.first, member)
    for block in trunk.blocks:
        x = x + dense(silu(dense(silu(x), block.first, member)), block.second, member)
    return dense(silu(x), trunk.last, member)
