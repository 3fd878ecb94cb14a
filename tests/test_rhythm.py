"""Rhythm against closed forms and shapes evaluated by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trace_shapes import LogisticAPs, smooth_steps

from cardioemu.evaluation import biomarkers, rhythm
from cardioemu.traces import RHYTHM, Trace

UPS = np.array([100.0, 600.0, 1090.0, 1610.0, 2100.0, 2600.0])


def aps(length, ups=UPS):
    return LogisticAPs(ups, length=length, duration=float(ups[-1]) + 400)


def test_rate_variability_and_triangulation():
    measured = rhythm(aps(np.array([100.0, 104.0, 98.0, 99.0, 103.0, 100.0])).trace())
    assert list(measured) == list(RHYTHM)
    cl_ms = np.diff(UPS)
    assert measured["beats"] == 5
    assert measured["rate_per_min"] == pytest.approx(60_000 / cl_ms.mean(), rel=1e-5)
    assert measured["cl_sd_ms"] == pytest.approx(cl_ms.std(ddof=1), rel=1e-4)
    # APD90 changes by as much as the length of the AP.
    assert measured["apd90_stv_ms"] == pytest.approx((4 + 6 + 1 + 4) / 4 / np.sqrt(2), rel=1e-3)
    # From half to nine tenths of a logistic function, ten times slower than time: 10 (ln 9 - ln 1).
    assert measured["triangulation_ms"] == pytest.approx(10 * np.log(9), rel=2e-3)
    assert (measured["alternans"], measured["ead_beats"], measured["quiescent"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("lengths", "percent", "alternans"),
    [
        ([100, 110, 100, 110, 100, 110], 10, 1),
        ([110, 100, 110, 100, 110, 100], 10, 1),
        ([100, 101, 100, 101, 100, 101], 1, 0),  # below the threshold
        ([100, 110, 100, 110, 120, 100], 5, 0),  # the last two differences have the same sign
    ],
)
def test_alternans(lengths, percent, alternans):
    trace = aps(np.array(lengths, dtype=float)).trace()
    measured = rhythm(trace)
    mean_ms = biomarkers(trace)["apd90_ms"].mean()
    # The first five beats are complete: four differences with alternating signs.
    steps = np.diff(lengths[:5]) * np.array([1, -1, 1, -1])
    assert measured["apd90_alternans_percent"] == pytest.approx(100 * abs(steps.mean()) / mean_ms, rel=2e-3)
    assert measured["apd90_alternans_percent"] == pytest.approx(percent * 100 / mean_ms, rel=0.03)
    assert measured["alternans"] == alternans


def with_turn(low_mV, high_mV):
    """Beats from -80 to 20 mV; the first turns at `low_mV`, rises to `high_mV` and falls."""
    corners = [(0, -80), (99, -80), (101, 20), (200, low_mV), (230, high_mV), (300, -80)]
    return smooth_steps(*corners, (499, -80), (501, 20), (600, -80), (899, -80), (901, 20), (1000, -80))


@pytest.mark.parametrize(
    ("low_mV", "high_mV", "beats"),
    [
        (-20, -17, 1),
        (-20, -18.5, 0),  # less than 2 mV
        (-4, 10, 0),  # before 25 % repolarisation: the notch before a plateau
        (-6, 10, 1),
        (-69, -60, 1),
        (-71, -60, 0),  # after 90 % repolarisation: a delayed afterdepolarisation
    ],
)
def test_early_afterdepolarisations(low_mV, high_mV, beats):
    measured = rhythm(with_turn(low_mV, high_mV))
    assert measured["beats"] == 2
    assert measured["ead_beats"] == beats
    assert rhythm(with_turn(low_mV, high_mV), settle_ms=400)["ead_beats"] == 0


def test_too_few_beats_give_nan():
    quiescent = rhythm(smooth_steps((0, -80), (1000, -80)))
    assert (quiescent["beats"], quiescent["quiescent"], quiescent["ead_beats"], quiescent["alternans"]) == (0, 1, 0, 0)
    assert all(np.isnan(quiescent[name]) for name in RHYTHM if name.endswith(("_ms", "_min", "_percent")))
    two = rhythm(LogisticAPs([100, 600]).trace())
    assert (two["beats"], two["quiescent"]) == (1, 0)
    assert two["rate_per_min"] == pytest.approx(120, rel=1e-6)
    assert np.isnan(two["apd90_stv_ms"])
    assert np.isnan(two["cl_sd_ms"])


@given(st.floats(0, 500), st.sampled_from([0.5, 1.0, 2.0]))
def test_shifted_and_stretched_time(shift_ms, stretch):
    trace = aps(np.array([100.0, 104.0, 98.0, 107.0, 99.0, 100.0])).trace()
    apart = np.diff(trace.step_time_ms, prepend=-1.0) > 1e-6
    times, voltage_mV = stretch * trace.step_time_ms[apart], trace.step_voltage_mV[apart]
    moved = Trace.from_samples([0.0, *(times + shift_ms + 1.0)], [voltage_mV[0], *voltage_mV])
    measured, expected = rhythm(moved), rhythm(Trace.from_samples(times, voltage_mV))
    for name in RHYTHM:
        assert measured[name] == pytest.approx(expected[name], rel=1e-6, nan_ok=True), name
    assert measured["rate_per_min"] * stretch == pytest.approx(rhythm(trace)["rate_per_min"], rel=1e-3)


def test_any_level():
    trace = LogisticAPs(UPS).trace()
    table = biomarkers(trace, apd_percent=(30, 90))
    assert list(table.columns) == [
        "start_ms", "apd30_ms", "apd90_ms", "cl_ms", "mdp_mV", "peak_mV", "amplitude_mV", "dvdt_max_V_s"
    ]  # fmt: skip
    assert (table["apd90_ms"] == biomarkers(trace)["apd90_ms"]).all()
    assert (table["apd90_ms"] - table["apd30_ms"]).mean() == pytest.approx(10 * np.log(9 * 7 / 3), rel=2e-3)
    for level in (0, 100, -5):
        with pytest.raises(ValueError, match="apd_percent must hold levels between 0 and 100"):
            biomarkers(trace, apd_percent=[level])
