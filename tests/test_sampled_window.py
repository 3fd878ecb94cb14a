"""Measurements of one window: biomarkers against APs in closed form; phases, timing and shape by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit
from trace_shapes import LogisticAPs, lowest

from cardioemu.evaluation import SampledWindow, cell_errors, summarise_errors, timing_and_shape
from cardioemu.evaluation.metrics.sampled_window import PHASES

TIME_MS = np.arange(0, 1500.5, 0.5) - 50  # 0 at the AP start
TIMES = ("apd50", "apd75", "apd90", "cl")


def float32(values):
    return np.array(values, dtype=np.float32)


def biomarkers_of(time_ms, voltage_mV):
    return SampledWindow(time_ms, voltage_mV).biomarkers


def evaluate(time_ms, windows, predicted):
    return summarise_errors(cell_errors(time_ms, [(windows, predicted)]))


def ap(length=100.0, cycle=600.0, count=3):
    """A window whose first AP starts at time 0, and its shape."""
    shape = LogisticAPs(50 + cycle * np.arange(count), length)
    return float32(shape.V(TIME_MS + shape.starts_ms[0])), shape


def test_biomarkers_of_a_window_are_those_of_the_closed_form():
    window, shape = ap()
    found = biomarkers_of(TIME_MS, window)
    upstroke, peak = shape.upstrokes_ms[0], lowest(lambda t: -shape.V(t), 55, 140)
    top, bottom = float(shape.V(peak)), -80.0
    assert found["peak"] == pytest.approx(top, abs=1e-3)
    assert found["mdp"] == pytest.approx(bottom, abs=0.01)
    assert found["amplitude"] == pytest.approx(top - bottom, abs=0.01)
    assert found["dvdt_max"] == pytest.approx(shape.dVdt(upstroke), rel=0.03)  # two samples in an upstroke of 1 ms
    assert found["cl"] == pytest.approx(600, abs=1e-3)
    for percent in (50, 75, 90):
        level = top - percent / 100 * (top - bottom)
        fall = brentq(lambda t, level=level: float(shape.V(t)) - level, peak, 400)
        # 0.01 ms: the spline through samples 0.5 ms apart, at an upstroke of 1 ms.
        assert found[f"apd{percent}"] == pytest.approx(fall - upstroke, abs=0.01)


def test_percentages_of_known_errors():
    simulated = np.stack([[ap(100, 600)[0]] * 2, [ap(120, 700)[0]] * 2])
    predicted = np.stack([ap(110, 630)[0], ap(120, 686)[0]])
    before = [biomarkers_of(TIME_MS, cell[0]) for cell in simulated]
    result = evaluate(TIME_MS, simulated, predicted)
    assert result["cl_mape_percent"] == pytest.approx((30 / 600 + 14 / 700) / 2 * 100, abs=1e-3)
    # An AP of another length is the same AP except for its plateau: every APD is 10 ms longer.
    for name in TIMES[:3]:
        assert result[f"{name}_mape_percent"] == pytest.approx(10 / before[0][name] / 2 * 100, abs=0.02)
    three = [result[f"{name}_mape_percent"] for name in TIMES[:3]]
    assert result["apd_mape_percent"] == pytest.approx(np.mean(three))
    assert result["apd90_cells"] == result["cl_cells"] == 2


def test_percentages_are_of_the_mean_over_the_windows_of_a_cell():
    simulated = np.stack([[ap(cycle=580)[0], ap(cycle=620)[0]]])
    result = evaluate(TIME_MS, simulated, ap(cycle=630)[0][None])
    assert result["cl_mape_percent"] == pytest.approx(100 * 30 / 600, abs=1e-3)
    assert result["rmse_floor_mV"] > 1


def test_a_window_that_begins_at_its_ap_start_has_that_ap():
    window, _ = ap()
    begins = TIME_MS >= 0
    found, whole = biomarkers_of(TIME_MS[begins], window[begins]), biomarkers_of(TIME_MS, window)
    for name in TIMES:
        assert found[name] == pytest.approx(whole[name], abs=0.01)


def test_the_ap_of_a_window_is_the_one_at_time_0():
    window, _ = ap(cycle=300, count=4)
    later = TIME_MS - 300  # the window begins 350 ms before its AP start, with another AP in between
    assert biomarkers_of(later, window) == pytest.approx(biomarkers_of(TIME_MS, window), abs=0.01)


def test_an_earlier_ap_after_a_deeper_diastole_is_not_the_upstroke():
    window, _ = ap(cycle=300, count=4)
    deeper = float32(window * (1 + 0.1 * expit(-(TIME_MS - 200) / 5)))  # and steeper, until 100 ms before the second AP
    second, alone = TIME_MS - 300, TIME_MS >= 240
    expected = biomarkers_of(second[alone], deeper[alone])
    assert expected["apd90"] == pytest.approx(biomarkers_of(TIME_MS, window)["apd90"], abs=0.01)
    assert biomarkers_of(second, deeper) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("cut_ms", [2, 20, 60, 120])
def test_a_window_that_begins_within_an_ap_does_not_have_it(cut_ms):
    window, _ = ap()
    begin = np.searchsorted(TIME_MS, cut_ms)
    found = SampledWindow(TIME_MS[begin:] - cut_ms, window[begin:])
    assert found.aligned_ap is None
    assert found.starts_ms.tolist() == pytest.approx([600 - cut_ms, 1200 - cut_ms], abs=1e-3)


def test_stretched_time_stretches_every_biomarker():
    window = ap(cycle=500, count=4)[0]
    stretched = biomarkers_of(1.05 * TIME_MS, window)
    for name, value in biomarkers_of(TIME_MS, window).items():
        factor = 1.05 if name in TIMES else 1 / 1.05 if name == "dvdt_max" else 1
        assert stretched[name] == pytest.approx(factor * value, rel=1e-6)


def test_a_window_without_an_ap_has_no_biomarkers():
    flat = np.full(TIME_MS.shape, -75, np.float32)
    assert all(np.isnan(value) for value in biomarkers_of(TIME_MS, flat).values())
    simulated = np.stack([[ap()[0]], [ap()[0]]])
    result = evaluate(TIME_MS, simulated, np.stack([ap()[0], flat]))
    assert result["apd90_mape_percent"] == pytest.approx(0, abs=1e-9)
    assert (result["apd90_cells"], result["cl_cells"], result["cells"]) == (1, 1, 2)
    assert result["rmse_mV_max"] > 20


def test_a_percentage_without_any_cell_is_absent():
    single = ap(count=1)[0]
    assert np.isnan(biomarkers_of(TIME_MS, single)["cl"])
    result = evaluate(TIME_MS, single[None, None], ap()[0][None])
    assert result["apd90_cells"] == 1
    assert not [name for name in result if name.startswith("cl_")]


@given(st.floats(-5, 5), st.floats(0.9, 1.1))
def test_shift_and_scale_change_voltages_only(shift_mV, factor):
    window = ap()[0]
    moved = biomarkers_of(TIME_MS, float32(factor * (window + 40) - 40 + shift_mV))
    for name, value in biomarkers_of(TIME_MS, window).items():
        if name in ("amplitude", "dvdt_max"):
            assert moved[name] == pytest.approx(factor * value, rel=1e-3)
        elif name in ("mdp", "peak"):
            assert moved[name] == pytest.approx(factor * (value + 40) - 40 + shift_mV, abs=1e-3)
        else:  # levels are relative; the AP start, and with it CL, is the same in every beat
            assert moved[name] == pytest.approx(value, abs=0.01)


def test_resampling_does_not_change_the_biomarkers():
    (window, shape), finer = ap(), np.arange(0, 1500.1, 0.1) - 50
    fine = biomarkers_of(finer, float32(shape.V(finer + shape.starts_ms[0])))
    for name, value in biomarkers_of(TIME_MS, window).items():
        assert fine[name] == pytest.approx(value, rel=0.03 if name == "dvdt_max" else 1e-3)


def trapezoid(fall_mV_per_ms=0.5, time_ms=None):
    """Rest at -80 mV, up to 20 mV by 10 mV per ms through -40 mV at time 0, down again immediately."""
    time_ms = np.arange(-50, 450, 0.25) if time_ms is None else time_ms
    rise, fall = -40 + 10 * time_ms, 20 - fall_mV_per_ms * (time_ms - 6)
    return SampledWindow(time_ms, float32(np.maximum(np.minimum(rise, fall), -80)))


def phases_at(window, *times_ms):
    return [PHASES[window.phases[int(np.argmin(np.abs(window.time_ms - t)))]] for t in times_ms]


def test_phases_and_landmarks_by_hand():
    window = trapezoid()
    # Half of 100 mV is lost 100 ms after the peak at 6 ms, 90 % 180 ms after it.
    assert phases_at(window, -49, -5, -1, 1, 5) == ["rest", "rest", "rest", "upstroke", "upstroke"]
    assert phases_at(window, 7, 60, 105, 107, 185) == ["plateau"] * 3 + ["repolarisation"] * 2
    assert phases_at(window, 187, 300, 449) == ["rest"] * 3
    parts = [(window.phases == i).mean() * 500 for i in range(4)]
    assert parts == pytest.approx([314, 6, 100, 80], abs=1)
    # Down through -40 mV 120 ms after the peak; landmarks are times of the trace, which begins 50 ms before.
    assert window.landmarks_ms == pytest.approx(np.array([[50, 176]]), abs=0.02)


def test_samples_before_the_first_ap_start_belong_to_the_ap_before():
    # 300 ms before the AP at time 0 another began.
    whole = np.maximum(trapezoid().voltage_mV, trapezoid(time_ms=np.arange(250, 750, 0.25)).voltage_mV)
    window = SampledWindow(np.arange(-50, 450, 0.25), whole)
    assert set(phases_at(window, -49, -30, -10)) == {"rest"}
    earlier = np.arange(-250, 250, 0.25)
    two = float32(np.maximum(trapezoid(time_ms=earlier).voltage_mV, trapezoid(time_ms=earlier + 300).voltage_mV))
    # The AP before began at -300 ms: plateau to -194, repolarisation to -114.
    assert phases_at(SampledWindow(earlier, two), -249, -200) == ["plateau"] * 2
    assert phases_at(SampledWindow(earlier, two), -190, -116) == ["repolarisation"] * 2
    assert phases_at(SampledWindow(earlier, two), -112, -2, 2) == ["rest", "rest", "upstroke"]


def test_without_an_ap_all_is_rest():
    flat = SampledWindow(TIME_MS, np.full(TIME_MS.shape, -75, np.float32))
    assert set(flat.phases) == {0}
    assert flat.aligned_ap is None
    assert len(flat.landmarks_ms) == 0


def test_timing_is_separated_from_shape():
    time_ms, shape = TIME_MS, ap()[1]
    ahead = shape.starts_ms[0]
    simulated = SampledWindow(time_ms, float32(shape.V(time_ms + ahead)))
    stretched = SampledWindow(time_ms, float32(shape.V(time_ms / 1.02 + ahead)))
    timing_ms, shape_mV = timing_and_shape(simulated, stretched)
    landmarks = simulated.landmarks_ms.ravel() - 50
    assert timing_ms == pytest.approx(0.02 * np.abs(landmarks).mean(), rel=1e-3)
    assert shape_mV < 0.1
    assert np.sqrt(np.mean((stretched.voltage_mV - simulated.voltage_mV) ** 2)) > 5
    # 5 mV more, away from -40 mV: all of it is shape.
    bump = float32(5 * (abs(time_ms - 40) < 20))
    found = timing_and_shape(simulated, SampledWindow(time_ms, simulated.voltage_mV + bump))
    assert found == pytest.approx((0, np.sqrt(np.mean(bump**2))), abs=1e-4)


def test_timing_counts_the_aps_that_both_have():
    two, three = (SampledWindow(TIME_MS, ap(count=count)[0]) for count in (2, 3))
    assert timing_and_shape(three, two)[0] == pytest.approx(0, abs=1e-6)
    assert timing_and_shape(two, three)[0] == pytest.approx(0, abs=1e-6)
    flat = SampledWindow(TIME_MS, np.full(TIME_MS.shape, -75, np.float32))
    assert np.isnan(timing_and_shape(three, flat)).all()
    assert np.isnan(timing_and_shape(flat, three)).all()


def test_errors_fall_into_their_phases():
    time_ms = np.arange(-50, 450, 0.25)
    simulated = trapezoid().voltage_mV
    wrong = simulated + float32(4 * ((time_ms > 20) & (time_ms < 100)))
    found = evaluate(time_ms, simulated[None, None], wrong[None])
    plateau_part = 100 / 500
    assert found["plateau_rmse_mV"] == pytest.approx(np.sqrt(16 * (80 / 500) / plateau_part), rel=0.01)
    assert found["plateau_share_percent"] == pytest.approx(100)
    assert (found["rest_rmse_mV"], found["upstroke_rmse_mV"], found["repolarisation_share_percent"]) == (0, 0, 0)
