"""The designs, counted and compared with tables written by hand."""

from itertools import chain, combinations

import numpy as np
import pandas as pd
import pytest

from cardioemu.errors import UserError
from cardioemu.simulation import checked_scales, design

CURRENTS = ("ICaL", "IK1", "IKr", "IKur", "INa")
LEVELS = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0]


def test_rays_are_the_341_simulations_of_the_seed():
    rays = design("rays")
    assert rays.shape == (341, 5)
    assert rays.dtype == np.float64
    assert len(np.unique(rays, axis=0)) == 311
    assert (rays == 1).all(axis=1).sum() == 31
    assert np.unique(rays).tolist() == LEVELS


def test_rays_are_the_subsets_by_size_times_the_levels():
    subsets = list(chain.from_iterable(combinations(range(5), size) for size in range(1, 6)))
    for row, scale in enumerate(design("rays")):
        subset, level = subsets[row // 11], LEVELS[row % 11]
        assert scale.tolist() == [level if i in subset else 1.0 for i in range(5)]


def test_rays_written_by_hand():
    expected = [[0.5, 1], [2, 1], [1, 0.5], [1, 2], [0.5, 0.5], [2, 2]]
    assert design("rays", scaled=2, levels=[0.5, 2]).tolist() == expected


def test_factorial():
    full = design("factorial")
    assert full.shape == (161051, 5)
    assert len(np.unique(full, axis=0)) == 161051
    assert full[0].tolist() == [0] * 5
    assert full[1].tolist() == [0, 0, 0, 0, 0.2]
    assert full[-1].tolist() == [2] * 5


def test_factorial_written_by_hand():
    expected = [[0, 0], [0, 1], [0, 3], [1, 0], [1, 1], [1, 3], [3, 0], [3, 1], [3, 3]]
    assert design("factorial", scaled=2, levels=[0, 1, 3]).tolist() == expected


def test_first_rows_of_sobol_stay_when_it_grows():
    large = design("sobol", n=1000, seed=3)
    for n in (1, 2, 3, 64, 65, 999):
        np.testing.assert_array_equal(design("sobol", n=n, seed=3), large[:n])


def test_sobol_fills_its_range_evenly():
    points = design("sobol", n=1024, seed=1, scaled=3, low=0.5, high=1.5)
    assert points.shape == (1024, 3)
    assert ((points >= 0.5) & (points < 1.5)).all()
    # A net: every one of 1024 slices of each axis holds exactly one point, each 32 by 32 square of two axes too.
    for column in points.T:
        assert np.histogram(column, 1024, (0.5, 1.5))[0].tolist() == [1] * 1024
    assert (np.histogram2d(*points[:, :2].T, 32, [(0.5, 1.5)] * 2)[0] == 1).all()


def test_seeds_of_sobol():
    one, again, other = (design("sobol", n=16, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).all()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ray", {}, "design: got 'ray', allowed is one of rays, factorial, sobol"),
        ("sobol", {"n": 0}, "n\n.*greater than 0"),
        ("sobol", {"n": 2.5}, "n\n.*integer"),
        ("sobol", {"seed": -1}, "seed\n.*greater than or equal to 0"),
        ("sobol", {"low": -0.1}, "low\n.*greater than or equal to 0"),
        ("sobol", {"high": float("inf")}, "high\n.*finite"),
        ("sobol", {"low": 1, "high": 1}, "design: low is 1.0 and high is 1.0; low must be smaller"),
        ("sobol", {"points": 3}, "points\n.*[Uu]nexpected"),
        ("rays", {"levels": [0.5, -1]}, "levels.1\n.*greater than or equal to 0"),
        ("rays", {"levels": []}, "levels\n.*at least 1"),
        ("rays", {"scaled": 0}, "scaled\n.*greater than or equal to 1"),
        ("factorial", {"levels": [float("nan")]}, "levels.0\n.*"),
        ("factorial", {"levels": []}, "levels\n.*at least 1"),
    ],
)
def test_bad_settings(name, settings, message):
    with pytest.raises(ValueError, match=message):
        design(name, **settings)


@pytest.mark.parametrize(
    "given",
    [
        [1, 2, 0, 0.5, 1],
        [[1, 2, 0, 0.5, 1]],
        np.array([[1, 2, 0, 0.5, 1]], dtype=np.float32),
        pd.DataFrame([[1, 2, 0, 0.5, 1]], columns=CURRENTS),
        pd.DataFrame([[1, 0.5, 0, 2, 1]], columns=CURRENTS[::-1]),
        np.ma.array([1, 2, 0, 0.5, 1]),
    ],
)
def test_scales_in_any_form(given):
    scales = checked_scales(given, CURRENTS)
    assert scales.dtype == np.float64
    assert scales.tolist() == [[1, 2, 0, 0.5, 1]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, 1, 1, 1], r"got shape \(4,\), allowed is \(cells, 5\), one column each for ICaL, IK1, IKr, IKur, INa"),
        (np.ones((2, 6)), r"got shape \(2, 6\)"),
        (np.ones((2, 2, 5)), r"got shape \(2, 2, 5\)"),
        (np.array(1.0), r"got shape \(\)"),
        (
            [[1, 1, 1, 1, 1], [1, 1, 1, -0.5, 1]],
            r"cell 1 has IKur = -0.5, allowed are values from 0 to 1e\+06; 1 is the control",
        ),
        ([1, np.nan, 1, 1, 1], "cell 0 has IK1 = nan"),
        ([1, 1, 1, 1, np.inf], "cell 0 has INa = inf"),
        ([1, 1, 1, 1.1e6, 1], "cell 0 has IKur = 1100000.0"),
        (pd.DataFrame([[1, 1, 1, 1]], columns=CURRENTS[:4]), "the table has no column INa"),
        (["a", "b", "c", "d", "e"], "no table of numbers"),
        ([[1, 1, 1, 1, 1], [1, 1]], "no table of numbers"),
    ],
)
def test_scales_that_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        checked_scales(given, CURRENTS)
