"""Biomarkers against closed forms, shapes evaluated by hand and the control cells of the reference."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from trace_shapes import REFERENCE, REFERENCE_TIME_MS, LogisticAPs, lowest, reference, s_inverse, smooth_steps, trace_of

from cardioemu.traces import BIOMARKERS, Trace, beat_biomarkers, biomarkers

APDS = ["apd50_ms", "apd75_ms", "apd90_ms"]
PUBLIC_COLUMNS = ["start_ms", *APDS, "cl_ms", "mdp_mV", "peak_mV", "amplitude_mV", "dvdt_max_V_s"]
SHAPE = LogisticAPs([100, 500, 850, 1300])


def closed_form_beat(shape, up, next_up):
    """The biomarkers of one beat of `LogisticAPs`, by brentq and minimize_scalar on its formula."""

    def V(t):
        return float(shape.V(t))

    def dVdt(t):
        return float(shape.dVdt(t))

    start, end = (brentq(lambda t: V(t) + 40, u - 10, u + 10, xtol=1e-12) for u in (up, next_up))
    upstroke = lowest(lambda t: -dVdt(t), up - 2, up + 2)
    t_peak = brentq(dVdt, up + 2, up + 70, xtol=1e-12)
    mdp = V(brentq(dVdt, up + 150, next_up - 2, xtol=1e-12))
    amplitude = V(t_peak) - mdp
    level_mV = {x: V(t_peak) - x / 100 * amplitude for x in (50, 75, 90)}
    falls = {x: brentq(lambda t, x=x: V(t) - level_mV[x], t_peak, up + 180, xtol=1e-12) for x in level_mV}
    common = {"start_ms": start, "cl_ms": end - start, "dvdt_max_V_s": dVdt(upstroke)}
    common |= {"mdp_mV": mdp, "peak_mV": V(t_peak), "amplitude_mV": amplitude}
    origins = {"upstroke": upstroke, "peak": t_peak}
    return {name: common | {f"apd{x}_ms": falls[x] - zero for x in falls} for name, zero in origins.items()}


# float32 rounds V by 4e-6 mV and dV/dt by 1e-6 mV/ms. The accuracy of times depends on d2V/dt2 = 0.02 mV/ms2 at the
# peak, and on the interpolation error, of order h^3, in the middle of the upstroke, where dV/dt is flat.
TOLERANCE = {"start_ms": 1e-6, "cl_ms": 2e-6, "dvdt_max_V_s": 1e-3}
TOLERANCE |= dict.fromkeys(("mdp_mV", "peak_mV", "amplitude_mV"), 2e-5)


@pytest.mark.parametrize(("apd_from", "apd_tolerance"), [("upstroke", 2e-3), ("peak", 1e-2)])
def test_logistic_action_potentials(apd_from, apd_tolerance):
    beats = biomarkers(SHAPE.trace(), apd_from=apd_from)
    assert len(beats) == 3
    for row, up, next_up in zip(beats.to_dict("records"), SHAPE.ups, SHAPE.ups[1:], strict=False):
        exact = closed_form_beat(SHAPE, up, next_up)[apd_from]
        for name, value in row.items():
            assert value == pytest.approx(exact[name], abs=TOLERANCE.get(name, apd_tolerance)), name


def test_columns_and_types():
    beats = biomarkers(SHAPE.trace())
    assert list(beats.columns) == list(BIOMARKERS) == PUBLIC_COLUMNS
    assert (beats.dtypes == np.float64).all()
    assert isinstance(beats.index, pd.RangeIndex)


@pytest.mark.parametrize(
    "trace",
    [
        smooth_steps((0, -80), (1000, -80)),
        LogisticAPs([100]).trace(),  # a complete beat needs two AP starts
        trace_of([0], [-80], [0], duration=1000, status="derivative is not finite"),
        smooth_steps((0, -80), (10, -80), (12, 0), duration=1000, status="step too small: 1e-9 ms"),
    ],
)
def test_without_complete_beats_there_are_no_rows_but_all_columns(trace):
    beats = biomarkers(trace)
    assert len(beats) == 0
    assert list(beats.columns) == PUBLIC_COLUMNS
    assert (beats.dtypes == np.float64).all()


# Cubic S between corners: AP starts at 101 and 501, peak 20 mV at 102, MDP -100 mV at 300: amplitude 120 mV. V has lost
# 50 % of it half way along the S from (200, 20) to (300, -100); dV/dt is largest in the middle of the S from
# (100, -100) to (102, 20).
HAND = [(0, -80), (80, -100), (100, -100), (102, 20), (200, 20), (300, -100), (500, -100), (502, 20), (600, -90)]


def test_a_shape_evaluated_by_hand():
    (row,) = biomarkers(smooth_steps(*HAND)).to_dict("records")
    assert row["start_ms"] == pytest.approx(101, abs=1e-9)
    assert row["cl_ms"] == pytest.approx(400, abs=1e-9)
    assert (row["peak_mV"], row["mdp_mV"], row["amplitude_mV"]) == (20, -100, 120)
    assert row["dvdt_max_V_s"] == pytest.approx(1.5 * 120 / 2)
    for x in (50, 75, 90):
        assert row[f"apd{x}_ms"] == pytest.approx(200 + 100 * s_inverse(x / 100) - 101, abs=1e-9)
    (row,) = biomarkers(smooth_steps(*HAND), apd_from="peak").to_dict("records")
    assert row["apd50_ms"] == pytest.approx(250 - 102, abs=1e-9)


def test_complete_beats_of_a_failed_trace_are_measured():
    failed = smooth_steps(*HAND, duration=5000, status="step too small: 1e-9 ms")
    pd.testing.assert_frame_equal(biomarkers(failed), biomarkers(smooth_steps(*HAND)))


def test_apd_is_the_first_fall_after_the_peak_and_the_largest_peak_counts():
    # V also falls through the level of APD50, -30 mV, in a notch before the peak and after an afterdepolarisation.
    corners = [(0, -80), (100, -80), (102, 0), (104, -35), (110, 20), (150, 20), (160, -60), (170, -25), (190, -80)]
    (row,) = biomarkers(smooth_steps(*corners, (400, -80), (402, 0), (500, 0))).to_dict("records")
    assert row["start_ms"] == pytest.approx(101, abs=1e-9)
    assert row["peak_mV"] == 20
    # The first of the two rises, 80 mV in 2 ms, is the steeper.
    assert row["dvdt_max_V_s"] == pytest.approx(1.5 * 80 / 2)
    assert row["apd50_ms"] == pytest.approx(150 + 10 * s_inverse(50 / 80) - 101, abs=1e-9)


def test_upstroke_is_searched_after_the_preceding_diastolic_minimum_only():
    # The steep pulse at 40 ms stays below -40 mV and comes before the diastolic minimum at 60 ms.
    corners = [(0, -80), (40, -80), (40.5, -45), (60, -90), (100, -80), (104, 0), (200, 0), (300, -80), (400, -80)]
    (row,) = biomarkers(smooth_steps(*corners, (404, 0), (500, -80))).to_dict("records")
    assert row["dvdt_max_V_s"] == pytest.approx(1.5 * 80 / 4)


def test_the_upstroke_of_a_beat_may_precede_its_ap_start():
    # Half way up, V is -50 and -45 mV. The first rise, from the smallest V, is steeper than the second.
    corners = [(0, -80), (80, -100), (100, -100), (102, 0), (200, 0), (300, -90), (500, -90), (508, 0), (600, 0)]
    trace = smooth_steps(*corners, (700, -90), (900, -90), (904, 0), (1000, 0))
    beats = biomarkers(trace)
    assert beats["start_ms"].tolist() == pytest.approx([100 + 2 * s_inverse(0.6), 500 + 8 * s_inverse(5 / 9)], abs=1e-9)
    assert beats["dvdt_max_V_s"].tolist() == pytest.approx([1.5 * 100 / 2, 1.5 * 90 / 8])


def test_beat_is_a_row_of_biomarkers():
    trace = SHAPE.trace()
    starts = trace.starts_ms
    rows = biomarkers(trace).to_dict("records")
    for k, row in enumerate(rows):
        one = beat_biomarkers(trace, starts[k], starts[k + 1], since_ms=starts[k - 1] if k else 0)
        assert dict(one) == {name: value for name, value in row.items() if name != "cl_ms"}


def test_beat_to_the_end_of_a_window():
    t = np.arange(-50, 300.05, 0.1)
    window = Trace.from_samples(t, SHAPE.V(t + 500))
    start = window.starts_ms[0]
    assert start == pytest.approx(50 + SHAPE.trace().starts_ms[1] - 500, abs=1e-5)
    beat = beat_biomarkers(window, start, window.duration_ms)
    exact = closed_form_beat(SHAPE, 500, 850)["upstroke"]
    for name in ("peak_mV", "mdp_mV", "apd50_ms", "apd75_ms", "apd90_ms", "dvdt_max_V_s"):
        assert beat[name] == pytest.approx(exact[name], abs=3e-3), name


def test_beat_cut_in_its_upstroke_has_no_apd():
    beat = beat_biomarkers(smooth_steps(*HAND), 101, 101.5)
    assert beat["amplitude_mV"] == 0
    assert np.isnan([beat["apd50_ms"], beat["apd75_ms"], beat["apd90_ms"]]).all()


def test_adding_a_constant_moves_only_the_voltages():
    trace = smooth_steps(*HAND)
    moved = Trace(trace.step_time_ms, trace.step_voltage_mV + np.float32(8), trace.step_dvdt_mV_per_ms, 600.0)
    one, other = beat_biomarkers(trace, 101, 501), beat_biomarkers(moved, 101, 501)
    for name, value in one.items():
        shift = 8 if name in ("mdp_mV", "peak_mV") else 0
        assert other[name] == pytest.approx(value + shift, abs=1e-9), name


def test_wrong_arguments():
    trace = smooth_steps(*HAND)
    for measure in (biomarkers, partial(beat_biomarkers, start_ms=101, end_ms=501)):
        with pytest.raises(ValueError, match=r'apd_from must be "upstroke" or "peak", got \'middle\''):
            measure(trace, apd_from="middle")
    for times in ((501, 101), (101, 601), (-1, 101)):
        with pytest.raises(ValueError, match=r"an interval must lie in \[0, 600\] ms, got"):
            beat_biomarkers(trace, *times)


@pytest.mark.parametrize("variant", ["notebook", "program", "corrected"])
def test_reference_control_cell(variant):
    """The last beat of 5 s, from samples every 0.5 ms, against the reference, simulated for 20 s at 0.01 ms.

    Sodium and potassium drift between 5 and 20 s; CL changes by 3 % in `notebook` and `corrected`. Samples 0.5 ms apart
    leave the time of dV/dt max uncertain by as much, and the spline through them overshoots the peak by up to 3.2 mV.
    """
    exact = json.loads((REFERENCE / "biomarkers.json").read_text())[variant]["last_beat"]
    beat = biomarkers(Trace.from_samples(REFERENCE_TIME_MS, reference(variant)["voltage_mV"][0])).iloc[-1]
    assert beat["cl_ms"] == pytest.approx(exact["cycle_length_ms"], rel=0.04)
    assert beat["mdp_mV"] == pytest.approx(exact["mdp_mV"], abs=0.3)
    assert beat["peak_mV"] == pytest.approx(exact["peak_mV"], abs=3.5)
    for x in (50, 75, 90):
        assert beat[f"apd{x}_ms"] == pytest.approx(exact[f"apd{x}_from_max_upstroke_ms"], rel=0.04)
