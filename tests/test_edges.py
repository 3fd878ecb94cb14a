"""Stimuli in the population solver: a step ends exactly at each edge, and a passive cell follows its closed form."""

import numpy as np
import pytest
from small_cells import events, small_cell

from cardioemu.simulation import simulate
from cardioemu.simulation.pacing import Pacing
from cardioemu.simulation.pacing.schedule import schedule

REST_mV, RISE_mV, TAU_MS = -70.0, 30.0, 5.0
RATE = f"({REST_mV} - V + {RISE_mV} * pace) / {TAU_MS}"


def rc_cell(folder, pace="pace = 0 bind pace"):
    """A membrane with resistance and capacitance, at rest."""
    return small_cell(folder, {"V": REST_mV}, {"V": RATE}, pace)


def exact(cell, protocol, t, duration):
    """V at times (n,): the superposition of the responses to all edges."""
    edges, levels = schedule(cell, protocol, duration)
    jumps = np.diff(levels[:, 0], prepend=0.0)
    since = np.maximum(t[:, None] - edges, 0.0)
    return REST_mV + RISE_mV * (-np.expm1(-since / TAU_MS) @ jumps)


def times_of(trace, time):
    return np.count_nonzero(trace.step_time_ms == time)


PROTOCOLS = {
    "train": (Pacing(17, 2, 1.5), 60.0),
    "from 0": (Pacing(20, 3), 60.0),
    "uneven": (events((1, 5.1, 2.3), (-0.5, 20, 3), (3, 31.7, 0.4, 7.9, 3)), 60.0),
    "adjacent": (events((1, 5, 10), (2, 15, 10), (3, 25, 10)), 60.0),
    "1e-6 ms, strong": (Pacing(13, 1e-6, 4, amplitude=1e6), 40.0),
    "nearer than the first step": (Pacing(0.003, 0.001, amplitude=50), 0.5),
    "just before the end": (Pacing(100, 50, 9.999999), 10.0),
    "one bit before the end": (Pacing(100, 50, float(np.nextafter(10.0, 0.0)), amplitude=1e3), 10.0),
    "beyond the end": (Pacing(100, 50, 5), 10.0),
}


@pytest.mark.parametrize("rtol", [1e-4, 1e-5, 1e-6, 1e-7, 1e-8])
def test_a_passive_cell_follows_its_closed_form(tmp_path, rtol):
    cell = rc_cell(tmp_path)
    for name, (protocol, duration) in PROTOCOLS.items():
        (trace,) = simulate(cell, [], duration, rtol=rtol, protocol=protocol)
        assert trace.status == "ok", name
        for edge in schedule(cell, protocol, duration).edges_ms[1:]:
            assert times_of(trace, edge) == 2, (name, edge)
        assert trace.step_time_ms[0] == 0, name
        assert times_of(trace, 0) == times_of(trace, duration) == 1, name
        # rtol is relative to V, 70 mV; float32 rounds V by 4e-6 mV.
        t, between = trace.step_time_ms, np.linspace(0, duration, 1003)
        for times, V, atol in ((t, trace.step_voltage_mV, 10 * rtol), (between, trace.at(between), 40 * rtol)):
            np.testing.assert_allclose(V, exact(cell, protocol, times, duration), atol=atol + 8e-6, err_msg=name)


def test_both_derivatives_at_an_edge(tmp_path):
    (trace,) = simulate(rc_cell(tmp_path), [], 10.0, rtol=1e-6, protocol=Pacing(100, 2, 3, 0.5))
    for edge, jump in ((3, 0.5), (5, -0.5)):
        left, right = np.flatnonzero(trace.step_time_ms == edge)
        assert right == left + 1
        assert trace.step_voltage_mV[left] == trace.step_voltage_mV[right]
        slopes = trace.step_dvdt_mV_per_ms
        assert slopes[right] - slopes[left] == pytest.approx(jump * RISE_mV / TAU_MS, abs=1e-6)


def test_ten_thousand_edges(tmp_path):
    cell, protocol = rc_cell(tmp_path), Pacing(0.02, 0.013, 0.005, amplitude=2)
    traces = simulate(cell, np.empty((3, 0)), 100.0, rtol=1e-6, protocol=protocol)
    edges = schedule(cell, protocol, 100.0).edges_ms
    assert len(edges) == 10_001
    for trace in traces:
        assert trace.status == "ok"
        times, count = np.unique(trace.step_time_ms, return_counts=True)
        np.testing.assert_array_equal(times[count == 2], edges[1:])
        t = np.linspace(0, 100, 501)
        np.testing.assert_allclose(trace.at(t), exact(cell, protocol, t, 100.0), atol=1e-4)


def test_a_stimulus_does_not_change_what_came_before(tmp_path):
    cell = rc_cell(tmp_path)
    (early,) = simulate(cell, [], 50.0, protocol=events((1, 10, 2)))
    (both,) = simulate(cell, [], 50.0, protocol=events((1, 10, 2), (1, 30, 2)))
    (cut,) = simulate(cell, [], 30.0, protocol=events((1, 10, 2)))
    until = 30 - 2 * 5  # the last two steps, of at most 5 ms, are shortened to end at the edge
    assert np.array_equal(both.step_time_ms[both.step_time_ms < until], early.step_time_ms[early.step_time_ms < until])
    assert np.array_equal(both.step_voltage_mV[: len(cut.step_voltage_mV)], cut.step_voltage_mV)


RING = {"V": "V - V^3 / 3 - w{}", "w": "0.08 * (V + 0.7 - 0.1 * w)"}  # FitzHugh and Nagumo, firing spontaneously


def test_an_unused_pacing_variable_does_not_change_a_spontaneous_cell(tmp_path):
    initial = {"V": -1, "w": 0}
    able = small_cell(tmp_path, initial, RING | {"V": RING["V"].format(" + pace")}, "pace = 0 bind pace")
    (unpaced,) = simulate(able, [], 300.0)
    (silent,) = simulate(able, [], 300.0, protocol=Pacing(50, 5, amplitude=0))
    (unable,) = simulate(small_cell(tmp_path, initial, RING | {"V": RING["V"].format("")}), [], 300.0)
    assert np.ptp(unable.step_voltage_mV[-100:]) > 3
    for trace in (unpaced, silent):
        assert np.array_equal(trace.step_time_ms, unable.step_time_ms)
        assert np.array_equal(trace.step_voltage_mV, unable.step_voltage_mV)
