"""Samples of curves through nodes at uneven times."""

import torch
from jaxtyping import Float

from cardioemu.tensors import VoltageBatch

Nodes = Float[torch.Tensor, "batch nodes"]


def sampled(time_ms: Nodes, voltage_mV: Nodes, begin_ms: float, interval_ms: float, samples: int) -> VoltageBatch:
    """Sample the cubic Hermite curves through nodes, whose slopes are those of parabolas; differentiable in both.

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
    width = time_ms.diff()
    chord = voltage_mV.diff() / width
    inner = (chord[:, :-1] * width[:, 1:] + chord[:, 1:] * width[:, :-1]) / (width[:, :-1] + width[:, 1:])
    slope = torch.cat([2 * chord[:, :1] - inner[:, :1], inner, 2 * chord[:, -1:] - inner[:, -1:]], 1)
    c2 = (3 * chord - 2 * slope[:, :-1] - slope[:, 1:]) / width
    c3 = (slope[:, :-1] + slope[:, 1:] - 2 * chord) / width.square()

    piece = _pieces(time_ms, begin_ms, interval_ms, samples)
    at_ms = begin_ms + interval_ms * torch.arange(samples, dtype=time_ms.dtype, device=time_ms.device)
    s = at_ms - time_ms.gather(1, piece)
    cubic = c3.gather(1, piece) * s + c2.gather(1, piece)
    return (cubic * s + slope.gather(1, piece)) * s + voltage_mV.gather(1, piece)


@torch.no_grad()
def _pieces(time_ms: Nodes, begin_ms: float, interval_ms: float, samples: int) -> torch.Tensor:
    """Find the piece (batch, samples) that holds each sample, by counting the nodes passed: cheaper than a search."""
    following = ((time_ms - begin_ms) / interval_ms).ceil().clamp(0, samples).long()
    passed = following.new_zeros(len(time_ms), samples + 1, dtype=torch.int32)
    passed.scatter_add_(1, following, torch.ones_like(following, dtype=torch.int32))
    return (passed[:, :samples].cumsum(1) - 1).clamp_(0, time_ms.shape[1] - 2)
