"""The space-filling designs: uniformity, ranges, seeds, and whether the first rows stay the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardioemu.simulation import design

SPACE_FILLING = ("sobol", "latin_hypercube")
MANY = [f"g{i}" for i in range(64)]


@given(seed=st.integers(0, 2**32), n=st.integers(1, 300), more=st.integers(0, 300), width=st.integers(1, 64))
@settings(max_examples=50)
def test_first_rows_of_sobol_stay_when_it_grows(seed, n, more, width):
    small, large = (design("sobol", n=count, seed=seed, scaled=MANY[:width]) for count in (n, n + more))
    assert small.shape == (n, width)
    np.testing.assert_array_equal(small, large[:n])


@pytest.mark.parametrize("name", SPACE_FILLING)
@given(
    ends=st.lists(st.floats(0, 1e6), min_size=2, max_size=2, unique=True).map(sorted),
    own=st.lists(st.floats(0, 1e6), min_size=2, max_size=2, unique=True).map(sorted),
    seed=st.integers(0, 9),
)
def test_ranges_are_respected(name, ends, own, seed):
    (low, high), n = ends, 64
    first, second = design(name, n=n, seed=seed, scaled=("a", "b"), low=low, high=high, ranges={"b": own}).T
    assert ((low <= first) & (first <= high)).all()
    assert ((own[0] <= second) & (second <= own[1])).all()
    # One range does not move the points of the others.
    np.testing.assert_array_equal(first, design(name, n=n, seed=seed, scaled=("a", "b"), low=low, high=high)[:, 0])


@pytest.mark.parametrize("name", SPACE_FILLING)
def test_ranges_are_filled(name):
    points = design(name, n=256, seed=5, ranges={"IKr": [0, 1], "INa": (0.5, 4)})
    assert points.dtype == np.float64
    for column, (low, high) in zip(points.T, [(0, 2), (0, 2), (0, 1), (0, 2), (0.5, 4)], strict=True):
        assert np.histogram(column, 256, (low, high))[0].tolist() == [1] * 256


def test_sobol_fills_its_range_uniformly():
    points = design("sobol", n=1024, seed=1, scaled=("a", "b", "c"), low=0.5, high=1.5)
    assert points.shape == (1024, 3)
    assert ((points >= 0.5) & (points < 1.5)).all()
    # A net: each of 1024 intervals of each axis holds one point, and so does each 32 by 32 square of two axes.
    for column in points.T:
        assert np.histogram(column, 1024, (0.5, 1.5))[0].tolist() == [1] * 1024
    assert (np.histogram2d(*points[:, :2].T, 32, [(0.5, 1.5)] * 2)[0] == 1).all()


@given(seed=st.integers(0, 2**32), n=st.integers(1, 1000), width=st.integers(1, 8))
@settings(max_examples=50)
def test_every_interval_of_a_latin_hypercube_holds_one_point(seed, n, width):
    points = design("latin_hypercube", n=n, seed=seed, scaled=MANY[:width], low=0, high=1)
    assert points.shape == (n, width)
    assert (np.sort(np.floor(points * n).astype(int), axis=0) == np.arange(n)[:, None]).all()


def test_the_axes_of_a_latin_hypercube_are_independent():
    points = np.array([design("latin_hypercube", n=8, seed=seed, low=0, high=1) for seed in range(2000)])
    for row in np.swapaxes(points, 0, 1):  # each row alone is uniform over the cube; 5 standard errors
        assert abs(row.mean(axis=0) - 1 / 2).max() < 5 * np.sqrt(1 / 12 / 2000)
        assert abs(row.var(axis=0) - 1 / 12).max() < 5 * np.sqrt(1 / 180 / 2000)
        assert abs(np.corrcoef(row.T) - np.eye(5)).max() < 5 / np.sqrt(2000)


@pytest.mark.parametrize("name", SPACE_FILLING)
def test_seeds(name):
    one, again, other = (design(name, n=16, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).all()
