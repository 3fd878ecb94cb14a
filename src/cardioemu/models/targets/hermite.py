"""Samples of curves through nodes at uneven times."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch._subclasses.fake_tensor import FakeTensor

from cardioemu.common.tensors import VoltageBatch

Nodes = Float[torch.Tensor, "batch nodes"]

BLOCK_MS = 1.0
"""Samples in blocks of this length are made from the block's ends alone..."""

MIN_NODES_FOR_EXACT = 5
"""...but for blocks with so many nodes or more, as at an upstroke."""

NARROWEST_MS = 1e-4
"""Nodes nearer to each other, by the rounding of late times or in wild predictions, count as if they were this far."""


class CubicPieces(NamedTuple):
    """value = c0 + c1 s + c2 s^2 + c3 s^3 with s = t - knot_ms, one piece between two nodes (batch, pieces)."""

    knot_ms: torch.Tensor
    c0: torch.Tensor
    c1: torch.Tensor
    c2: torch.Tensor
    c3: torch.Tensor


def sample_hermite(
    time_ms: Nodes, voltage_mV: Nodes, begin_ms: float, interval_ms: float, samples: int
) -> VoltageBatch:
    """Sample the cubic Hermite curves through nodes, whose slopes are those of parabolas; differentiable in both.

    Where nodes lie far apart the curve is smooth, and samples between are made from values and slopes every ms: a
    quarter of the time.

    Args:
        time_ms: Times of the nodes, strictly ascending; the first not after the first sample, the last not before the
            last one.
        voltage_mV: V there.
        begin_ms: Time of the first sample.
        interval_ms: Time from one to the next.
        samples: How many.

    Returns:
        (batch, samples), in mV.
    """
    cubics = _cubics(time_ms, voltage_mV)
    stride = max(1, int(BLOCK_MS / interval_ms))
    blocks = -(-samples // stride)
    piece = _pieces(cubics.knot_ms, begin_ms, stride * interval_ms, blocks + 1)
    number = torch.arange(blocks + 1, dtype=cubics.c0.dtype, device=cubics.c0.device)
    value, slope = _at(CubicPieces(*(c.gather(1, piece) for c in cubics)), begin_ms + stride * interval_ms * number)
    if stride == 1:
        return value[:, :samples]
    ends = torch.stack([value[:, :-1], value[:, 1:], slope[:, :-1], slope[:, 1:]])
    smooth = (ends.flatten(1).T @ _between(stride, stride * interval_ms).to(ends)).view(len(value), blocks, stride)

    if isinstance(smooth, FakeTensor):  # in a rehearsal, which has shapes but no numbers; the rest takes little
        return smooth.flatten(1)[:, :samples]
    passed = piece.diff()
    row, block = (passed >= MIN_NODES_FOR_EXACT).nonzero(as_tuple=True)
    inside = torch.arange(stride, dtype=number.dtype, device=number.device)
    at_ms = begin_ms + interval_ms * (stride * block[:, None] + inside)
    most = int(passed.max()) if len(row) else 0
    exact = _exact(cubics, row[:, None], piece[row, block][:, None], most, at_ms)
    return smooth.index_put_((row, block), exact).flatten(1)[:, :samples]


def _exact(
    cubics: CubicPieces, row: torch.Tensor, piece: torch.Tensor, passed: int, time_ms: torch.Tensor
) -> torch.Tensor:
    """Return V at times (blocks, samples) of blocks that begin in a piece (blocks, 1) and pass some nodes at most."""
    following = piece + torch.arange(1, passed + 1, device=piece.device)
    last = cubics.knot_ms.shape[1] - 1
    knots_ms = cubics.knot_ms[row, following.clamp(max=last)].masked_fill(following > last, torch.inf)
    place = piece + torch.searchsorted(knots_ms.detach(), time_ms.contiguous(), right=True)
    return _at(CubicPieces(*(c[row, place] for c in cubics)), time_ms)[0]


def _cubics(time_ms: Nodes, voltage_mV: Nodes) -> CubicPieces:
    width = time_ms.diff().clamp(min=NARROWEST_MS)
    chord = voltage_mV.diff() / width
    inner = (chord[:, :-1] * width[:, 1:] + chord[:, 1:] * width[:, :-1]) / (width[:, :-1] + width[:, 1:])
    slope = torch.cat([2 * chord[:, :1] - inner[:, :1], inner, 2 * chord[:, -1:] - inner[:, -1:]], 1)
    begin, end = slope[:, :-1], slope[:, 1:]
    c2, c3 = (3 * chord - 2 * begin - end) / width, (begin + end - 2 * chord) / width.square()
    return CubicPieces(time_ms[:, :-1], voltage_mV[:, :-1], begin, c2, c3)


def _at(cubics: CubicPieces, time_ms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return values and slopes, each time in the piece of its place."""
    s = time_ms - cubics.knot_ms
    value = cubics.c0 + s * (cubics.c1 + s * (cubics.c2 + s * cubics.c3))
    return value, cubics.c1 + s * (2 * cubics.c2 + 3 * s * cubics.c3)


def _between(stride: int, width_ms: float) -> Float[torch.Tensor, "ends samples"]:
    """Return the weights of both ends' values and slopes in the samples of a block (Hermite's cubic)."""
    u = torch.arange(stride, dtype=torch.float64) / stride
    of_end = u * u * (3 - 2 * u)
    return torch.stack([1 - of_end, of_end, width_ms * u * (1 - u) ** 2, width_ms * u * u * (u - 1)])


@torch.no_grad()
def _pieces(
    knot_ms: torch.Tensor, begin_ms: float, interval_ms: float, samples: int
) -> Int64[torch.Tensor, "batch samples"]:
    """Find the piece that holds each sample by counting the knots passed: cheaper than a search."""
    # A network that diverges gives no numbers; of those there is no place, and their curve is NaN anywhere.
    following = ((knot_ms - begin_ms) / interval_ms).ceil().nan_to_num(nan=0.0).clamp(0, samples).long()
    passed = following.new_zeros(len(knot_ms), samples + 1, dtype=torch.int32)
    passed.scatter_add_(1, following, torch.ones_like(following, dtype=torch.int32))
    return (passed[:, :samples].cumsum(1) - 1).clamp_(min=0)
