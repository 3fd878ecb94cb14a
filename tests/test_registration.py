"""Registered time: properties of the warp, and its values against the formula evaluated one number at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import BarycentricInterpolator

from cardioemu.common.registration import EDGE_MS, LANDMARKS, NODE_COUNT, NODES, node_times_ms

KNOTS = np.cumsum([0, *NODES])
CYCLES = np.array([[300.0, 420.0, 900.0], [12.0, 700.0, 715.0], [80.0, 81.0, 3000.0], [150.0, 230.0, 241.0]])
gaps = st.floats(0.2, 3000)


@st.composite
def landmarks(draw):
    """Landmarks the warp accepts: 0.2 ms or more between two knots."""
    apd50, to_apd90, to_edge = (draw(gaps) for _ in range(3))
    return np.array([EDGE_MS + apd50, EDGE_MS + apd50 + to_apd90, 2 * EDGE_MS + apd50 + to_apd90 + to_edge])


def time_at(knots_ms, piece, part):
    """The warp at one point: a monotone rational quadratic, linear in the edges."""
    rises = np.diff(knots_ms)
    slopes = [rises[0], rises[0], (rises[1] * rises[2]) ** 0.5, (rises[2] * rises[3]) ** 0.5, rises[4], rises[4]]
    rise, begin, end = rises[piece], slopes[piece], slopes[piece + 1]
    above = rise * (rise * part**2 + begin * part * (1 - part))
    return knots_ms[piece] + above / (rise + (end + begin - 2 * rise) * part * (1 - part))


def parts_of(piece):
    """Relative positions of the nodes of a piece: denser towards the upstrokes."""
    even = np.arange(NODES[piece]) / NODES[piece]
    return [even**2, even, even, even, 1 - (1 - even) ** 2][piece]


def knots_of(cycle):
    apd50, apd90, cl = cycle
    return np.array([0, EDGE_MS, apd50, apd90, cl - EDGE_MS, cl])


def test_the_knots_are_the_landmarks():
    assert LANDMARKS == ("apd50", "apd90", "cl")
    times_ms = node_times_ms(CYCLES)
    assert times_ms.shape == (4, NODE_COUNT) == (4, 321)
    for node_times, cycle in zip(times_ms, CYCLES, strict=True):
        np.testing.assert_allclose(node_times[KNOTS], knots_of(cycle), rtol=0, atol=1e-10)


def test_nodes_are_those_of_the_formula():
    for cycle, node_times in zip(CYCLES, node_times_ms(CYCLES), strict=True):
        expected = [time_at(knots_of(cycle), piece, part) for piece in range(len(NODES)) for part in parts_of(piece)]
        np.testing.assert_allclose(node_times, [*expected, cycle[-1]], rtol=1e-13, atol=1e-11)


@given(landmarks())
def test_nodes_ascend(cycle):
    times_ms = node_times_ms(cycle)
    assert (times_ms[0], times_ms[-1]) == (0, cycle[-1])
    assert (np.diff(times_ms) > 0).all()
    # In float32 two nodes may round to the same time, no more.
    assert (np.diff(node_times_ms(cycle.astype(np.float32))) >= 0).all()


def test_edges_are_not_stretched():
    times_ms = node_times_ms(CYCLES)
    begin, end = times_ms[:, : KNOTS[1] + 1], times_ms[:, KNOTS[4] :] - CYCLES[:, -1:]
    assert (begin[:, -1] == EDGE_MS).all()
    np.testing.assert_array_equal(begin, begin[:1].repeat(4, axis=0))
    np.testing.assert_allclose(end, end[:1].repeat(4, axis=0), rtol=0, atol=1e-12)
    # The nodes of an upstroke are closer, the closer they are to the AP start.
    assert begin[0, 1] == pytest.approx(EDGE_MS / 60**2)
    assert end[0, -2] == pytest.approx(-EDGE_MS / 30**2)


def slope_at_knot(times_ms, knot, way):
    """dt/dr at a knot (r is registered time) from one side: the derivative of the polynomial through seven nodes."""
    piece = knot if way > 0 else knot - 1
    r = np.append(parts_of(piece), 1.0)
    of_piece = times_ms[KNOTS[piece] : KNOTS[piece + 1] + 1]
    nearest = slice(0, 7) if way > 0 else slice(-7, None)
    return BarycentricInterpolator(r[nearest], of_piece[nearest]).derivative(0.0 if way > 0 else 1.0)


@pytest.mark.parametrize("knot", [1, 2, 3, 4])
def test_slope_is_continuous_at_the_knots(knot):
    for times_ms in node_times_ms(np.array([[300.0, 420.0, 900.0], [80.0, 100.0, 700.0], [250.0, 600.0, 680.0]])):
        before, after = (slope_at_knot(times_ms, knot, way) for way in (-1, 1))
        assert before == pytest.approx(after, rel=1e-3)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3)])
def test_numpy_and_torch_agree(shape):
    cycles = np.resize(CYCLES, shape)
    tensor = node_times_ms(torch.from_numpy(cycles), torch)
    assert tensor.shape == (*shape[:-1], NODE_COUNT)
    np.testing.assert_allclose(tensor, node_times_ms(cycles), rtol=1e-14)


def test_float32_stays_float32():
    single = node_times_ms(CYCLES.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, node_times_ms(CYCLES), rtol=1e-6)
    assert node_times_ms(torch.from_numpy(CYCLES).float(), torch).dtype == torch.float32


def test_gradients():
    cycles = torch.from_numpy(CYCLES).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: node_times_ms(c, torch), cycles)
