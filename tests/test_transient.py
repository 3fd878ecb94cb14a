"""Transients: cells that are simulated for some time before their trace begins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_campaign import DURATION, FAILING, SCALES, run
from small_cells import small_cell
from trace_shapes import dyadic_steps, recording_of, smooth_steps, trace_of

from cardioemu.common.errors import UserError
from cardioemu.simulation import CellSettings, Pacing, design, load_cell, simulate


@given(dyadic_steps(), st.floats(0, 1), st.floats(0, 1))
def test_trimming_keeps_the_curve(steps, begin, where):
    trace = trace_of(*steps)
    from_ms = begin * trace.duration_ms
    rest = trace.trim_before(from_ms)
    assert rest.duration_ms == trace.duration_ms - from_ms
    time_ms = where * rest.duration_ms
    # Trimming makes the first cubic anew, from values in float32.
    expected_mV = trace.voltage_mV(min(from_ms + time_ms, trace.duration_ms))
    assert rest.voltage_mV(time_ms) == pytest.approx(expected_mV, abs=1e-3)


def test_trimming_at_a_step_keeps_the_steps():
    trace = trace_of([0, 1, 3, 7], [0, 1, 5, 2], [1, 2, 3, 4])
    rest = trace.trim_before(1)
    assert rest.step_time_ms.tolist() == [0, 2, 6]
    assert rest.step_value.tolist() == [1, 5, 2]
    assert rest.step_slope.tolist() == [2, 3, 4]
    # At a jump it begins on its right.
    stimulus = recording_of([0, 10, 10, 12, 12, 20], [0, 0, -52, -50, 0, 0], [0, 0, 1, 1, 0, 0])
    assert stimulus.trim_before(10).step_value.tolist() == [-52, -50, 0, 0]


def test_starts_are_counted_from_the_new_beginning():
    trace = smooth_steps((0, -80), (100, -80), (102, 20), (300, -80), (500, -80), (502, 20), (700, -80), (900, -80))
    assert len(trace.starts_ms) == 2
    rest = trace.trim_before(400)
    assert rest.starts_ms == pytest.approx([trace.starts_ms[1] - 400])
    assert (rest.aps_before_start, rest.trim_before(300).aps_before_start) == (1, 2)
    assert rest.trim_before(300).label == "stops"
    assert smooth_steps((0, -80), (500, -60), (900, -80)).trim_before(600).label == "quiescent"


def test_a_cell_that_failed_earlier_keeps_its_last_step():
    rest = trace_of([0, 1, 2], [0, 1, 5], [1, 1, 1], duration=10, status="not finite").trim_before(6)
    assert (rest.step_time_ms.tolist(), rest.step_value.tolist()) == ([0], [5])
    assert (rest.duration_ms, rest.status, rest.label) == (4, "not finite", None)


def test_time_outside():
    with pytest.raises(ValueError, match=r"times must lie in \[0, 2\] ms, got 3"):
        trace_of([0, 2], [0, 1], [0, 0]).trim_before(3)


def test_simulate_leaves_the_transient_out():
    cell, scales = load_cell("akwaboah2021"), design("sobol", n=3)
    whole = simulate(cell, scales, 1500, record=["Ca_i"], threads=1)
    rest = simulate(cell, scales, 500, record=["Ca_i"], threads=1, transient_ms=1000)
    time_ms = np.linspace(0, 500, 301)
    for trace, all_of_it in zip(rest, whole, strict=True):
        np.testing.assert_allclose(trace.voltage_mV(time_ms), all_of_it.voltage_mV(1000 + time_ms), atol=1e-3)
        calcium, before = trace.recorded["Ca_i"], all_of_it.recorded["Ca_i"]
        np.testing.assert_allclose(calcium.at(time_ms), before.at(1000 + time_ms), rtol=1e-5)
        np.testing.assert_array_equal(trace.final_state, all_of_it.final_state)


def test_pacing_begins_with_the_transient(tmp_path):
    # Stimuli of 2 ms at 3, 13, 23, ... ms raise V by 1 mV per ms.
    more = "pace = 0 bind pace"
    cell = small_cell(tmp_path, {"V": -80}, {"V": "pace"}, more)
    (trace,) = simulate(cell, [[]], 16, protocol=Pacing(period_ms=10, start_ms=3, duration_ms=2), transient_ms=14)
    assert trace.voltage_mV([0, 1, 9, 10, 11, 16]) == pytest.approx([-77, -76, -76, -75, -74, -74], abs=1e-3)


@pytest.mark.parametrize("transient_ms", [-1.0, np.inf, np.nan])
def test_wrong_transient(transient_ms):
    with pytest.raises(UserError, match="transient_ms: got"):
        simulate(load_cell("akwaboah2021"), np.ones(5), 10, transient_ms=transient_ms)
    with pytest.raises(ValueError, match="transient_ms"):
        CellSettings("akwaboah2021", 10.0, transient_ms=transient_ms)


def test_a_campaign_stores_the_trace_after_the_transient(cell, tmp_path, small_shards):
    store, whole = run(cell, tmp_path, duration_ms=DURATION - 600, transient_ms=600), run(cell, tmp_path)
    assert store.key != whole.key
    assert store.duration_ms == DURATION - 600
    assert store.metadata["transient_ms"] == 600
    assert len(store.shards) == len(whole.shards)  # of equal work
    time_ms = np.linspace(0, store.duration_ms, 200)
    for number in set(range(len(SCALES))) - {FAILING}:
        found, expected = store.trace(number), whole.trace(number)
        np.testing.assert_allclose(found.voltage_mV(time_ms), expected.voltage_mV(600 + time_ms), atol=1e-3)
        assert found.aps_before_start + len(found.starts_ms) == len(expected.starts_ms)
        assert found.label == expected.label
    assert store.trace(FAILING).status.startswith(whole.trace(FAILING).status.partition(" at")[0])


@pytest.mark.parametrize(("transient_ms", "duration_ms"), [(3192.3, 5000.0), (1100.0, 1000.7)])
def test_a_trace_has_the_requested_duration(tmp_path, transient_ms, duration_ms):
    assert (transient_ms + duration_ms) - transient_ms < duration_ms  # by rounding
    cell = small_cell(tmp_path, {"V": 1}, {"V": "-0.001 * V"})
    (trace,) = simulate(cell, [[]], duration_ms, transient_ms=transient_ms, record=["V"])
    assert trace.duration_ms == trace.recorded["V"].duration_ms == duration_ms
    expected = np.exp(-0.001 * (transient_ms + duration_ms))
    assert trace.voltage_mV(duration_ms) == pytest.approx(expected, rel=1e-3)
    assert trace.recorded["V"].at(duration_ms) == pytest.approx(expected, rel=1e-3)
