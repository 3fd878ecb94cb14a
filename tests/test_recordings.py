"""Recordings of any quantity: jumps at stimulus edges, NaN, and the events on them."""

import numpy as np
import pytest
from small_cells import small_cell
from trace_shapes import recording_of, s_inverse, trace_of

from cardioemu.simulation import design, load_cell, simulate
from cardioemu.simulation.pacing import Pacing
from cardioemu.traces import Recording, downward_crossings, max_slope, maximum, minimum, upward_crossings

# A stimulus current: from -52 to -50 between 10 and 12 ms, 0 before and after.
STIMULUS = recording_of([0, 10, 10, 12, 12, 20], [0, 0, -52, -50, 0, 0], [0, 0, 1, 1, 0, 0])


def test_value_and_slope_at_a_jump_are_those_on_the_right():
    assert STIMULUS.at([0, 5, 10, 11, 12, 20]).tolist() == [0, 0, -52, -51, 0, 0]
    assert STIMULUS.slope([5, 10, 11, 12]).tolist() == [0, 1, 1, 0]
    before = np.nextafter([10, 12], 0)
    assert STIMULUS.at(before) == pytest.approx([0, -50])
    assert STIMULUS.slope(before) == pytest.approx([0, 1])


def test_jumps_at_both_ends():
    recording = recording_of([0, 0, 4, 4], [7, 1, 3, -2], [0, 0.5, 0.5, 0])
    assert recording.at([0, 2, 4]).tolist() == [1, 2, -2]
    assert upward_crossings(recording, 2.5) == pytest.approx([3])
    assert downward_crossings(recording, 2.5).tolist() == [0, 4]


@pytest.mark.parametrize("level", [-1, -49, -51, -51.999])
def test_crossings_of_a_stimulus_are_at_its_edges(level):
    assert downward_crossings(STIMULUS, level).tolist() == [10]
    rising = 10 + level + 52 if level < -50 else 12
    assert upward_crossings(STIMULUS, level) == pytest.approx([rising], abs=1e-9)


@pytest.mark.parametrize(
    ("values", "up", "down"),
    [  # at 0, 1 (left, right) and 2 ms; the level is 0
        ([-1, -1, 1, 1], [1], []),
        ([1, 1, -1, -1], [], [1]),
        ([-1, 0, 1, 1], [1], []),  # reaches the level, then jumps away
        ([-1, -1, 0, 1], [1], []),  # jumps onto the level, then leaves it
        ([-1, 0, 0, 1], [1], []),  # no jump
        ([-1, 0, -1, -1], [], []),  # touches from below and jumps back
        ([-1, -1, 0, -1], [], []),
        ([1, 0, 1, 1], [], []),
        ([0, 0, 1, 1], [], []),  # begins on the level, then jumps away
        ([-1, 1, -1, -1], [0 + s_inverse(0.5)], [1]),
        ([-1, 1, -1, 1], [s_inverse(0.5), 1 + s_inverse(0.5)], [1]),
    ],
)
def test_crossings_at_a_jump(values, up, down):
    recording = recording_of([0, 1, 1, 2], values)
    assert upward_crossings(recording, 0) == pytest.approx(up, abs=1e-9)
    assert downward_crossings(recording, 0) == pytest.approx(down, abs=1e-9)


def test_extremes_of_an_interval_that_ends_at_a_jump_are_those_of_its_inside():
    assert minimum(STIMULUS, 0, 10) == (0, 0)
    assert minimum(STIMULUS, 0, 10.5) == (10, -52)
    assert minimum(STIMULUS, 10, 20) == (10, -52)
    assert minimum(STIMULUS, 12, 20) == (12, 0)
    assert maximum(STIMULUS, 10, 12) == (12, -50)
    assert maximum(STIMULUS, 10, 20) == (12, 0)
    assert maximum(STIMULUS, 10, 10) == (10, -52)
    assert max_slope(STIMULUS, 0, 10) == (0, 0)
    assert max_slope(STIMULUS, 0, 20) == (10, 1)


# A current that is NaN at 2 ms, in the model's units: 1, 3, NaN, 3, 1 with slope 2 up and -2 down.
BROKEN = recording_of([0, 1, 2, 3, 4], [1, 3, np.nan, 3, 1], [2, 2, np.nan, -2, -2])


def test_nan_extends_to_the_neighbouring_steps():
    assert BROKEN.at([0.5, 1, 3, 3.5]).tolist() == [2, 3, 3, 2]
    assert BROKEN.slope([0.5, 1, 3, 3.5]).tolist() == [2, 2, -2, -2]
    assert np.isnan(BROKEN.at([1.001, 1.5, 2, 2.5, 2.999])).all()
    assert np.isnan(BROKEN.slope([1.001, 2, 2.999])).all()
    np.testing.assert_array_equal(BROKEN.at(BROKEN.step_time_ms), BROKEN.step_value)
    np.testing.assert_array_equal(BROKEN.slope(BROKEN.step_time_ms), BROKEN.step_slope)


def test_crossings_and_extremes_with_nan():
    assert upward_crossings(BROKEN, 2) == pytest.approx([0.5])
    assert downward_crossings(BROKEN, 2) == pytest.approx([3.5])
    across = recording_of([0, 1, 2, 3], [1, 1, np.nan, 3])
    assert upward_crossings(across, 2).size == 0
    assert maximum(BROKEN, 0, 1) == (1, 3)
    assert maximum(BROKEN, 3, 4) == minimum(BROKEN, 3, 3) == (3, 3)
    assert max_slope(BROKEN, 0, 1) == (0, 2)
    for find in (maximum, minimum, max_slope):
        for interval in ((0, 4), (0.5, 1.5), (1.2, 1.4), (2, 2), (2.5, 3.5)):
            assert np.isnan(find(BROKEN, *interval).value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["value", "slope"])
@pytest.mark.filterwarnings("error")
def test_one_bad_step_hides_only_the_neighbouring_crossing(bad, which):
    t, values, slopes = np.arange(6.0), np.array([-1.0, 1, -1, 1, -1, 1]), np.zeros(6)
    (values if which == "value" else slopes)[2] = bad
    recording = recording_of(t, values, slopes)
    assert upward_crossings(recording, 0).tolist() == [0.5, 4.5]
    assert downward_crossings(recording, 0).tolist() == [3.5]
    assert np.isnan(recording.at([1.5, 2.5])).all()
    assert recording.at([0, 1, 3, 4, 5]).tolist() == [-1, 1, 1, -1, 1]
    np.testing.assert_array_equal(recording.at(2), values[2].astype(np.float32))
    assert not np.isfinite(maximum(recording, 0, 5).value)


def test_all_nan():
    recording = recording_of([0, 1, 2], [np.nan] * 3, [np.nan] * 3)
    assert np.isnan(recording.at([0, 0.5, 2])).all()
    assert upward_crossings(recording, 0).size == downward_crossings(recording, 0).size == 0
    assert np.isnan(maximum(recording, 0, 2).value)


def test_recording_of_a_failed_cell():
    recording = recording_of([0, 1, 3], [0, 0, 1], duration=100, status="not finite (stopped at 3 ms)")
    assert recording.end_ms == 3
    assert np.isnan(recording.at([2, 3, 3.001, 100])).tolist() == [False, False, True, True]
    assert upward_crossings(recording, 0.5) == pytest.approx([2])
    with pytest.raises(ValueError, match=r"an interval must lie in \[0, 3\] ms"):
        maximum(recording, 0, 4)


def test_a_trace_contains_its_recordings():
    t, zeros = np.array([0.0, 1.0]), np.zeros(2, np.float32)
    bare = trace_of([0, 1], [-80, -80], [0, 0])
    assert dict(bare.recorded) == {}
    assert bare.final_state is None
    trace = type(bare)(t, zeros, zeros, 1.0, "ok", {"ikr.IKr": Recording(t, zeros, zeros, 1.0)}, np.array([-80.0, 0.5]))
    assert trace.recorded["ikr.IKr"].at(0.5) == 0
    assert trace.final_state.tolist() == [-80, 0.5]
    assert repr(trace) == "Trace(duration_ms=1.0, status='ok')"


def test_crossings_and_extremes_of_a_simulated_cell(tmp_path):
    more = "pace = 0 bind pace\ni_stim = -(5 + x) * pace"
    cell = small_cell(tmp_path, {"V": -80, "x": 1}, {"V": "-i_stim", "x": "-x / 7"}, more)
    pacing = Pacing(period_ms=20, start_ms=5, duration_ms=2)
    (trace,) = simulate(cell, [], 30.0, rtol=1e-8, record=("x", "m.i_stim"), protocol=pacing)
    x, stimulus = trace.recorded["x"], trace.recorded["m.i_stim"]
    assert downward_crossings(x, 0.5) == pytest.approx([7 * np.log(2)], abs=1e-6)
    assert upward_crossings(x, 0.5).size == 0
    assert max_slope(x, 0, 30) == pytest.approx((30, -np.exp(-30 / 7) / 7), rel=1e-5)
    assert downward_crossings(stimulus, -1) == pytest.approx([5, 25], abs=1e-12)
    assert upward_crossings(stimulus, -1) == pytest.approx([7, 27], abs=1e-12)
    assert minimum(stimulus, 0, 30) == pytest.approx((5, -5 - np.exp(-5 / 7)), rel=1e-6)
    assert maximum(stimulus, 5, 7) == pytest.approx((7, -5 - np.exp(-1)), rel=1e-6)


QUARTERS = np.array([[0.25], [0.5], [0.75]])


def rms(errors):
    return float(np.sqrt(np.mean(np.square(errors))))


@pytest.mark.parametrize("rtol", [1e-4, 1e-5])
def test_between_the_steps_a_trace_is_as_accurate_as_at_them(rtol):
    cell, scales = load_cell("akwaboah2021"), design("sobol", n=4)
    at_steps, between = [], []
    traces, exact_traces = (simulate(cell, scales, 1000.0, rtol=r) for r in (rtol, 1e-9))
    for trace, exact in zip(traces, exact_traces, strict=True):
        t = trace.step_time_ms
        inside = t[:-1] + QUARTERS * np.diff(t)
        at_steps.append(trace.step_voltage_mV - exact.voltage_mV(t))
        between.append((trace.voltage_mV(inside) - exact.voltage_mV(inside)).ravel())
    assert rms(np.concatenate(between)) <= 1.3 * rms(np.concatenate(at_steps))


@pytest.mark.parametrize("rtol", [1e-4, 1e-5])
def test_interpolation_adds_less_than_the_tolerance(rtol):
    """The error of the cubic of one step alone, against a solution that starts from the states at the step.

    The first 0.2 ms, in which subsarcolemmal calcium leaves its initial value, are excluded.
    """
    cell, scale = load_cell("akwaboah2021"), design("sobol", n=4)[1]
    currents = ("ina.I_Na", "ical.I_CaL", "ikr.I_Kr")
    record = (*cell.states, *currents)
    (trace,) = simulate(cell, scale, 1000.0, rtol=rtol, record=record)
    states = np.stack([trace.recorded[name].step_value for name in cell.states], axis=1)
    chosen = np.flatnonzero(trace.step_time_ms[:-1] > 0.2)[::3]
    t, h = trace.step_time_ms[chosen], np.diff(trace.step_time_ms)[chosen]
    exactly = {"rtol": 1e-9, "initial_state": states[chosen], "record": record}
    leaving = simulate(cell, np.tile(scale, (len(h), 1)), float(h.max()), **exactly)
    inside = QUARTERS * h
    for name in ("V", "m", "Ca_sub", "Ca_i", "x_ks", *currents):
        exact = np.stack([cell.recorded[name].at(s) for cell, s in zip(leaving, inside.T, strict=True)], axis=1)
        errors = trace.recorded[name].at(t + inside) - exact
        tolerance = rtol * np.abs(trace.recorded[name].step_value).max()
        assert rms(errors) <= 0.2 * tolerance, name
        assert np.abs(errors).max() <= tolerance, name
