"""Samples of curves through unevenly spaced nodes."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64

from cardioemu.common.tensors import VoltageBatch, is_fake

Nodes = Float[torch.Tensor, "batch nodes"]

BLOCK_MS = 1.0
"""Samples are computed in blocks of this length, from values and slopes at the two ends of the block..."""

MIN_NODES_FOR_EXACT = 5
"""...except in blocks with at least so many nodes, as at an upstroke, which use the pieces between the nodes."""

MIN_NODE_DISTANCE_MS = 1e-4
"""Minimum distance of nodes: rounding of late times and wild predictions can bring them closer."""


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
    """Sample cubic Hermite curves through nodes, with the slopes of parabolas through three nodes; differentiable.

    Where the nodes are far apart the curve is smooth, and its samples are interpolated from values and slopes every ms,
    in a quarter of the time.

    Args:
        time_ms: Times of the nodes, strictly ascending, from the first sample or earlier to the last sample or later.
        voltage_mV: V at the nodes.
        begin_ms: Time of the first sample.
        interval_ms: Time between samples.
        samples: Number of samples.

    Returns:
        (batch, samples), in mV.
    """
    cubics = _cubics(time_ms, voltage_mV)
    stride = max(1, int(BLOCK_MS / interval_ms))
    blocks = -(-samples // stride)
    piece = _find_pieces(cubics.knot_ms, begin_ms, stride * interval_ms, blocks + 1)
    block_index = torch.arange(blocks + 1, dtype=cubics.c0.dtype, device=cubics.c0.device)
    end_ms = begin_ms + stride * interval_ms * block_index
    value, slope = _evaluate(CubicPieces(*(c.gather(1, piece) for c in cubics)), end_ms)
    if stride == 1:
        return value[:, :samples]
    ends = torch.stack([value[:, :-1], value[:, 1:], slope[:, :-1], slope[:, 1:]])
    smooth = (ends.flatten(1).T @ _hermite_weights(stride, stride * interval_ms).to(ends)).view(
        len(value), blocks, stride
    )

    if is_fake(smooth):  # without values no block has many nodes, and those blocks need little memory
        return smooth.flatten(1)[:, :samples]
    nodes_in_block = piece.diff()
    curve, block = (nodes_in_block >= MIN_NODES_FOR_EXACT).nonzero(as_tuple=True)
    sample_index = torch.arange(stride, dtype=block_index.dtype, device=block_index.device)
    sample_ms = begin_ms + interval_ms * (stride * block[:, None] + sample_index)
    most_nodes = int(nodes_in_block.max()) if len(curve) else 0
    exact = _evaluate_blocks(cubics, curve[:, None], piece[curve, block][:, None], most_nodes, sample_ms)
    return smooth.index_put_((curve, block), exact).flatten(1)[:, :samples]


def _evaluate_blocks(
    cubics: CubicPieces, curve: torch.Tensor, first_piece: torch.Tensor, most_nodes: int, time_ms: torch.Tensor
) -> torch.Tensor:
    """Return V at times (blocks, samples) of blocks of some curves, each with its first piece (blocks, 1)."""
    following = first_piece + torch.arange(1, most_nodes + 1, device=first_piece.device)
    last = cubics.knot_ms.shape[1] - 1
    knots_ms = cubics.knot_ms[curve, following.clamp(max=last)].masked_fill(following > last, torch.inf)
    piece = first_piece + torch.searchsorted(knots_ms.detach(), time_ms.contiguous(), right=True)
    return _evaluate(CubicPieces(*(c[curve, piece] for c in cubics)), time_ms)[0]


def _cubics(time_ms: Nodes, voltage_mV: Nodes) -> CubicPieces:
    width = time_ms.diff().clamp(min=MIN_NODE_DISTANCE_MS)
    chord = voltage_mV.diff() / width
    inner = (chord[:, :-1] * width[:, 1:] + chord[:, 1:] * width[:, :-1]) / (width[:, :-1] + width[:, 1:])
    slope = torch.cat([2 * chord[:, :1] - inner[:, :1], inner, 2 * chord[:, -1:] - inner[:, -1:]], 1)
    begin, end = slope[:, :-1], slope[:, 1:]
    c2, c3 = (3 * chord - 2 * begin - end) / width, (begin + end - 2 * chord) / width.square()
    return CubicPieces(time_ms[:, :-1], voltage_mV[:, :-1], begin, c2, c3)


def _evaluate(cubics: CubicPieces, time_ms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return value and slope of each piece at its own time."""
    s = time_ms - cubics.knot_ms
    value = cubics.c0 + s * (cubics.c1 + s * (cubics.c2 + s * cubics.c3))
    return value, cubics.c1 + s * (2 * cubics.c2 + 3 * s * cubics.c3)


def _hermite_weights(stride: int, width_ms: float) -> Float[torch.Tensor, "ends samples"]:
    """Return the weights of the values and slopes at both ends in the samples of a block."""
    u = torch.arange(stride, dtype=torch.float64) / stride
    of_end = u * u * (3 - 2 * u)
    return torch.stack([1 - of_end, of_end, width_ms * u * (1 - u) ** 2, width_ms * u * u * (u - 1)])


@torch.no_grad()
def _find_pieces(
    knot_ms: torch.Tensor, begin_ms: float, interval_ms: float, samples: int
) -> Int64[torch.Tensor, "batch samples"]:
    """Return the piece of each sample, by counting the knots before it, which is faster than a search."""
    # A diverged network predicts NaN; any piece will do, because its curve is NaN everywhere.
    next_sample = ((knot_ms - begin_ms) / interval_ms).ceil().nan_to_num(nan=0.0).clamp(0, samples).long()
    knots_before = next_sample.new_zeros(len(knot_ms), samples + 1, dtype=torch.int32)
    knots_before.scatter_add_(1, next_sample, torch.ones_like(next_sample, dtype=torch.int32))
    return (knots_before[:, :samples].cumsum(1) - 1).clamp_(min=0)
