"""Samples of curves through nodes, against SciPy's cubic Hermite spline."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicHermiteSpline

from cardioemu.models.targets.hermite import BLOCK_MS, MIN_NODES_FOR_EXACT, sample_hermite

BEGIN_MS, WIDE, FINE = -5.0, 0.7, 0.05


def nodes(rows=3, span_ms=60.0, count=100):
    """Uneven nodes, from hundredths of a ms to some ms apart, which begin before -5 ms and end after `span_ms` more."""
    rng = np.random.default_rng(0)
    width = 10.0 ** rng.uniform(-2, 0.7, (rows, count))
    time_ms = BEGIN_MS - 0.3 + (span_ms + 1) * np.cumsum(width, 1) / width.sum(1, keepdims=True)
    return time_ms, 30 * np.sin(time_ms / 4) + rng.normal(size=time_ms.shape)


def spline(time_ms, voltage_mV):
    """The curve itself; NumPy's gradient of uneven samples is the slope of the parabola through three."""
    return CubicHermiteSpline(time_ms, voltage_mV, np.gradient(voltage_mV, time_ms, edge_order=2))


def by_hand(time_ms, voltage_mV, interval_ms, samples):
    """Samples of the curve, or where few nodes lie in a block of 1 ms, of the cubic between its ends."""
    curve = spline(time_ms, voltage_mV)
    stride = max(1, int(BLOCK_MS / interval_ms))
    found = []
    for first in range(0, samples, stride):
        ends = BEGIN_MS + interval_ms * np.array([first, first + stride])
        passed = ((ends[0] < time_ms) & (time_ms <= ends[1])).sum()
        smooth = CubicHermiteSpline(ends, curve(ends), curve(ends, 1))
        at_ms = BEGIN_MS + interval_ms * np.arange(first, min(first + stride, samples))
        found.append((curve if passed >= MIN_NODES_FOR_EXACT or stride == 1 else smooth)(at_ms))
    return np.concatenate(found)


def sample(time_ms, voltage_mV, interval_ms, samples):
    nodes = (torch.from_numpy(array) for array in (time_ms, voltage_mV))
    return sample_hermite(*nodes, BEGIN_MS, interval_ms, samples).numpy()


@pytest.mark.parametrize("interval_ms", [WIDE, 1.0, 0.6])
def test_samples_are_those_of_scipy(interval_ms):
    time_ms, voltage_mV = nodes()
    samples = int(60 / interval_ms)
    at_ms = BEGIN_MS + interval_ms * np.arange(samples)
    expected = [spline(t, V)(at_ms) for t, V in zip(time_ms, voltage_mV, strict=True)]
    np.testing.assert_allclose(sample(time_ms, voltage_mV, interval_ms, samples), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("interval_ms", "samples"), [(FINE, 1200), (FINE, 1193), (0.1, 599), (0.24, 241), (FINE, 41), (0.01, 800)]
)
def test_fine_samples_come_from_blocks_or_from_the_curve(interval_ms, samples):
    time_ms, voltage_mV = nodes()
    expected = [by_hand(t, V, interval_ms, samples) for t, V in zip(time_ms, voltage_mV, strict=True)]
    np.testing.assert_allclose(sample(time_ms, voltage_mV, interval_ms, samples), expected, rtol=0, atol=1e-9)


def test_fine_samples_of_a_smooth_curve_are_near_those_of_scipy():
    # Nodes 1 ms apart of a curve that is some ms wide.
    time_ms = np.arange(-6.0, 56.0)[None]
    voltage_mV = 100 * np.exp(-(((time_ms - 20) / 8) ** 2))
    expected = spline(time_ms[0], voltage_mV[0])(BEGIN_MS + FINE * np.arange(1200))
    np.testing.assert_allclose(sample(time_ms, voltage_mV, FINE, 1200)[0], expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("interval_ms", [WIDE, FINE])
def test_a_parabola_is_met_at_any_spacing_of_the_nodes(interval_ms):
    time_ms, _ = nodes()
    samples = int(60 / interval_ms)
    expected = 3 - 2 * (BEGIN_MS + interval_ms * np.arange(samples)) ** 2
    found = sample(time_ms, 3 - 2 * time_ms**2, interval_ms, samples)
    np.testing.assert_allclose(found, expected[None].repeat(3, 0), rtol=0, atol=1e-7)


@pytest.mark.parametrize(("interval_ms", "samples"), [(0.5, 7), (0.25, 13), (0.125, 25)])
def test_nodes_at_the_first_and_last_sample(interval_ms, samples):
    time_ms = BEGIN_MS + np.array([[0.0, 0.4, 1.25, 1.5, 3.0], [0.0, 2.8, 2.85, 2.9, 3.0]])
    voltage_mV = np.array([[-80.0, -40.0, 30.0, 20.0, -80.0], [-70.0, -75.0, -50.0, -45.0, 10.0]])
    found = sample(time_ms, voltage_mV, interval_ms, samples)
    expected = [by_hand(t, V, interval_ms, samples) for t, V in zip(time_ms, voltage_mV, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found[:, [0, -1]], voltage_mV[:, [0, -1]], rtol=0, atol=1e-12)


@pytest.mark.parametrize("interval_ms", [WIDE, FINE])
def test_gradients(interval_ms):
    time_ms, voltage_mV = (torch.from_numpy(x).requires_grad_() for x in nodes(2, span_ms=8.0, count=30))
    samples = int(8 / interval_ms)
    function = partial(sample_hermite, begin_ms=BEGIN_MS, interval_ms=interval_ms, samples=samples)
    assert torch.autograd.gradcheck(function, (time_ms, voltage_mV), eps=1e-7, atol=1e-4)


def test_float32_stays_float32():
    time_ms, voltage_mV = nodes()
    found = sample(time_ms.astype(np.float32), voltage_mV.astype(np.float32), FINE, 1200)
    assert found.dtype == np.float32
    assert np.median(np.abs(found - sample(time_ms, voltage_mV, FINE, 1200))) < 1e-4


def test_a_curve_that_is_not_a_number_does_not_disturb_the_others():
    time_ms, voltage_mV = nodes()
    expected = sample(time_ms, voltage_mV, WIDE, 80)[1:]
    time_ms[0] = np.nan
    found = sample(time_ms, voltage_mV, WIDE, 80)
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1:], expected)
