"""Metrics of predicted firing: counts, distances and calibration by hand."""

import numpy as np
import pytest

from cardioemu.evaluation import firing_metrics, nearest_distance, reliability_table

SCALES = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [6.0]])
FIRES = np.array([False, False, False, True, True, True])


def test_counts_by_hand():
    found = firing_metrics(SCALES, FIRES, np.array([0.1, 0.7, 0.2, 0.9, 0.4, 0.5]))
    # Predicted to fire: 1, 3 and 6. Wrong: 1, which is silent, and 4, which fires.
    assert found["fires_accuracy"] == pytest.approx(4 / 6)
    assert found["fires_sensitivity"] == pytest.approx(2 / 3)
    assert found["fires_specificity"] == pytest.approx(2 / 3)
    assert [found[f"confusion_{name}"] for name in ("silent_right", "silent_wrong", "fires_wrong", "fires_right")] == [
        2, 1, 1, 2
    ]  # fmt: skip
    # 1 is 2 away from the first that fires, 4 as far from the last that does not.
    assert found["fires_boundary_error"] == 2
    squares = [0.1**2, 0.7**2, 0.2**2, 0.1**2, 0.6**2, 0.5**2]
    assert found["fires_brier"] == pytest.approx(np.mean(squares))


def test_all_right():
    found = firing_metrics(SCALES, FIRES, FIRES.astype(float))
    assert (found["fires_accuracy"], found["fires_boundary_error"], found["fires_brier"]) == (1, 0, 0)
    assert found["fires_calibration_error"] == 0


def test_cells_of_one_kind_only():
    found = firing_metrics(SCALES, np.ones(6, bool), np.array([1.0, 1, 1, 0, 1, 1]))
    assert found["fires_sensitivity"] == pytest.approx(5 / 6)
    assert "fires_specificity" not in found
    assert "fires_boundary_error" not in found  # no cell does what was predicted of the wrong one


def test_calibration_by_hand():
    fires = np.array([False, True, True, True])
    table = reliability_table(fires, np.array([0.12, 0.18, 0.95, 1.0]))
    assert table["predicted"].tolist() == [pytest.approx(0.15), pytest.approx(0.975)]
    assert table["observed"].tolist() == [0.5, 1.0]
    assert table["cells"].tolist() == [2, 2]
    found = firing_metrics(np.arange(4.0)[:, None], fires, np.array([0.12, 0.18, 0.95, 1.0]))
    assert found["fires_calibration_error"] == pytest.approx((0.35 + 0.025) / 2)


def test_distance_by_hand():
    trained = np.array([[0.0, 0.0], [1.0, 1.0]])
    found = nearest_distance(np.array([[0.0, 0.3], [1.3, 1.4], [1.0, 1.0]]), trained)
    assert found == pytest.approx([0.3, 0.5, 0])
