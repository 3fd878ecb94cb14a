"""Registered cycles of traces: against APs in closed form, and outcomes counted by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq
from tiny_job import RULE
from trace_shapes import LogisticAPs, lowest, s_inverse, smooth_steps

from cardioemu.common.registration import NODE_COUNT, node_times_ms
from cardioemu.windowing import CycleRule, build_window_set, extract_windows
from cardioemu.windowing.cycle import register_cycle, registered_cycle_vector

MARKS, GAINS = slice(NODE_COUNT, NODE_COUNT + 3), slice(NODE_COUNT + 3, NODE_COUNT + 6)
SIZE = NODE_COUNT + 7
# Parts of an AP that rises from -80 to 20 mV, droops to 0 mV, falls to -80 mV and rests there.
RISE_MS, DROOP_MS, FALL_MS, REST_MS = PARTS = (4.0, 90.0, 120.0, 400.0)
START_MS = RISE_MS * s_inverse(0.4)  # V = -40 mV
FALLING_MS = RISE_MS + DROOP_MS - START_MS
APD_MS = [FALLING_MS + FALL_MS * s_inverse((0 - level) / 80) for level in (-30.0, -70.0)]


def beating(count, ratio=1.0, parts=PARTS, status="ok", first_ms=30.0):
    """A trace of such APs; every phase of each AP is `ratio` times as long as in the AP before."""
    corners, time_ms = [(0.0, -80.0), (first_ms, -80.0)], first_ms
    for number in range(count):
        for part_ms, voltage_mV in zip(parts, (20.0, 0.0, -80.0, -80.0), strict=True):
            time_ms += ratio**number * part_ms
            corners.append((time_ms, voltage_mV))
    return smooth_steps(*corners, status=status)


def cycle_ms(ratio=1.0):
    """From the first AP start to the second."""
    return sum(PARTS) + START_MS * (ratio - 1)


def test_landmarks_by_hand():
    trace = beating(3)
    assert trace.starts_ms == pytest.approx(30 + START_MS + sum(PARTS) * np.arange(3))
    cycle = register_cycle(trace, trace.starts_ms, 1)
    assert cycle.landmarks_ms == pytest.approx([*APD_MS, sum(PARTS)], abs=1e-6)


def test_landmarks_and_nodes_of_logistic_aps():
    shape = LogisticAPs([100, 620, 1200])
    trace = shape.trace()
    _, start, end = shape.starts_ms
    peak_ms, trough_ms = lowest(lambda t: -shape.V(t), start, start + 60), lowest(shape.V, end - 30, end)
    top, bottom = shape.V(peak_ms), shape.V(trough_ms)
    levels = [top - part * (top - bottom) for part in (0.5, 0.9)]
    apds = [brentq(lambda t, level=level: shape.V(t) - level, peak_ms, end - 50) - start for level in levels]
    cycle = register_cycle(trace, trace.starts_ms, 1)
    np.testing.assert_allclose(cycle.landmarks_ms, [*apds, end - start], rtol=0, atol=1e-4)
    at_nodes = shape.V(start + node_times_ms(np.array([*apds, end - start])))
    np.testing.assert_allclose(cycle.nodes_mV, at_nodes, rtol=0, atol=1e-4)
    # For any shape, V at the knots is known.
    np.testing.assert_allclose(cycle.nodes_mV[[0, 150, 210, 320]], [-40, *levels, -40], rtol=0, atol=1e-4)


@pytest.mark.parametrize("ratio", [0.98, 1.0, 1.02])
@pytest.mark.parametrize("phase", [0.01, 0.3, 0.7, 0.99])
def test_landmarks_are_on_the_line_through_two_beats(ratio, phase):
    trace = beating(6, ratio)
    begin, end = trace.starts_ms[1:3]
    row = registered_cycle_vector(trace, CycleRule(begin + phase * (end - begin)))
    assert row.shape == (CycleRule().output_samples,) == (SIZE,)
    # The logarithm of all lengths grows by that of the ratio from beat to beat.
    beat = row[-1]
    expected = np.log([*APD_MS, cycle_ms(ratio)]) + beat * np.log(ratio)
    np.testing.assert_allclose(row[MARKS], expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(row[GAINS], np.log(ratio), rtol=0, atol=1e-6)
    assert beat == pytest.approx(1 + phase, abs=0.021)  # a cycle counts as long as the next one


def test_nodes_are_on_the_line_through_two_beats():
    trace = beating(6, 1.02)
    one, other = (register_cycle(trace, trace.starts_ms, number).nodes_mV for number in (2, 3))
    cl_ms = trace.starts_ms[3] - trace.starts_ms[2]
    row = registered_cycle_vector(trace, CycleRule(trace.starts_ms[2] - 0.25 * cl_ms))
    np.testing.assert_allclose(row[:NODE_COUNT], 1.25 * one - 0.25 * other, rtol=0, atol=1e-5)
    assert row[-1] == 1.75
    assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize("ratio", [0.98, 1.02])
def test_the_vector_is_continuous_at_an_ap_start(ratio):
    trace = beating(6, ratio)
    before, after = (registered_cycle_vector(trace, CycleRule(trace.starts_ms[2] + ms)) for ms in (-1e-3, 1e-3))
    # A second-order difference: 2 % of a change of 2 % per beat.
    assert np.abs(after - before)[MARKS].max() < 0.02 * 0.021
    assert abs(after - before)[-1] < 0.021


def test_gains_of_a_pause_are_limited():
    assert registered_cycle_vector(beating(4, 1.3), CycleRule(40.0))[GAINS] == pytest.approx([0.1] * 3)
    assert registered_cycle_vector(beating(4, 0.7), CycleRule(40.0))[GAINS] == pytest.approx([-0.1] * 3)


def test_a_pause_counts_as_one_beat():
    for first_ms in (900.0, 2000.0):
        trace = replace(beating(4, 1.02, first_ms=first_ms), aps_before_start=3)
        row = registered_cycle_vector(trace, CycleRule(0.0))
        assert row[-1] == 3 - 1
        assert row[MARKS] == pytest.approx(np.log([*APD_MS, cycle_ms(1.02)]) - np.log(1.02))


@pytest.mark.parametrize("first_ms", [100.0, 900.0])
def test_a_cell_that_has_not_begun_is_at_its_first_beat(first_ms):
    trace = beating(4, 1.02, first_ms=first_ms)
    row = registered_cycle_vector(trace, CycleRule(0.0))
    assert row[-1] == pytest.approx(-(first_ms + START_MS) / cycle_ms(1.02))
    assert row[MARKS] == pytest.approx(np.log([*APD_MS, cycle_ms(1.02)]))
    np.testing.assert_allclose(row[:NODE_COUNT], register_cycle(trace, trace.starts_ms, 0).nodes_mV, rtol=0, atol=1e-5)


def test_beats_before_the_trace_count():
    trace = beating(7, 1.01)
    whole = registered_cycle_vector(trace, CycleRule(1500.0))
    rest = registered_cycle_vector(trace.trim_before(1500.0), CycleRule(0.0))
    twice = registered_cycle_vector(trace.trim_before(700.0).trim_before(500.0), CycleRule(300.0))
    for vector in (rest, twice):
        # Trimming makes the first cubic anew, from values in float32.
        np.testing.assert_allclose(vector, whole, rtol=0, atol=1e-3)
    assert whole[-1] == pytest.approx(2.4, abs=0.1)


def test_outcomes():
    rule = CycleRule(100.0)
    assert extract_windows(beating(4), rule).outcome == "windowed"
    assert extract_windows(beating(3), rule).outcome == "too few windows"  # two APs after 100 ms
    assert extract_windows(beating(3), replace(rule, settle_ms=0.0)).outcome == "windowed"
    assert extract_windows(beating(4), replace(rule, settle_ms=1800.0)).outcome == "too few windows"
    assert extract_windows(smooth_steps((0, -80), (900, -70)), rule).outcome == "quiescent"
    assert extract_windows(beating(4, status="not finite"), rule).outcome == "failed"
    # An AP that reaches APD50 within 10 ms of its start, and one that reaches APD90 within 10 ms of the next AP.
    assert extract_windows(beating(5, parts=(4.0, 3.0, 8.0, 400.0)), rule).outcome == "too few windows"
    assert extract_windows(beating(5, parts=(4.0, 90.0, 20.0, 9.0)), rule).outcome == "windowed"
    assert extract_windows(beating(5, parts=(4.0, 90.0, 20.0, 0.5)), rule).outcome == "too few windows"


def test_cycles_of_a_store(traces, windows, tmp_path):
    rule = CycleRule(500.0)
    cycles = build_window_set(traces, rule, tmp_path)
    cells = [trace for shard in traces.shards for _, trace in traces.traces(shard)]
    enough = [trace.label == "fires" and (trace.starts_ms >= 500).sum() >= 3 for trace in cells]
    assert cycles.windowed.tolist() == enough
    assert 0 < sum(enough) < len(cells)
    indices = np.flatnonzero(cycles.windowed)
    assert cycles.count == 1
    vectors = cycles.windows(indices)
    assert vectors.shape == (len(indices), 1, SIZE)
    np.testing.assert_array_equal(vectors[:, 0], [registered_cycle_vector(cells[i], rule) for i in indices])
    assert np.isfinite(vectors).all()
    assert [begin.tolist() for begin in cycles.cells["begin_ms"].to_numpy()[indices]] == [[500.0]] * len(indices)
    other = build_window_set(traces, CycleRule(400.0), tmp_path)
    assert len({cycles.key, other.key, windows.key, build_window_set(traces, RULE, tmp_path).key}) == 3
