"""Cells that cannot be integrated: each has its reason, time and state, and disturbs no other."""

import re

import numpy as np
import pytest
from small_cells import small_cell

from cardioemu.simulation import load_cell, simulate

FAILURES = {  # rate of V, V where it fails, time of the failure at scale 1, the status
    "blow-up in finite time": ("g * V^2", 1, 1.0, "step too small"),
    "beyond float32": ("g * V", 1, np.log(3.4e38), "not finite"),
    "NaN from the start": ("if(g > 0, log(-V), 0)", 1, 0.0, "not finite"),
    "division by zero from the start": ("if(g > 0, 1 / (V - 1), 0)", 1, 0.0, "not finite"),
    "division by zero later": ("if(V >= 2 and g > 0, V / (g - g), 1)", 1, 1.0, "not finite"),
    "a huge state": ("g * V", 1e300, 0.0, "not finite"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failing_cell_has_a_reason_and_no_company(tmp_path, name):
    rate, start, fails_at, status = FAILURES[name]
    cell = small_cell(tmp_path, {"V": 1}, {"V": rate}, "g = 1", {"g": "m.g"})
    scales, initial = np.zeros((11, 1)), np.ones((11, 1))
    scales[4], initial[4] = 1, start
    traces = simulate(cell, scales, 200.0, initial_state=initial, threads=1)
    failed = traces.pop(4)
    assert failed.status.startswith(status)
    assert failed.status.endswith(f"(stopped at {failed.end_ms:.6g} ms, state V)")
    assert failed.end_ms == pytest.approx(fails_at, abs=0.02, rel=0.01)
    assert failed.label is None
    assert np.isnan(failed.voltage_mV(200))
    assert failed.step_voltage_mV[-1] == np.float32(min(failed.final_state[0], np.finfo(np.float32).max))
    (untouched,) = simulate(cell, [0.0], 200.0)
    assert untouched.status == "ok"
    for trace in traces:
        assert trace.status == "ok"
        assert np.array_equal(trace.step_voltage_mV, untouched.step_voltage_mV)


GATES = {"V": -80, "x": 0.5, "y": 0.5}
CULPRITS = {  # rates of x and y; which one is to blame, how, and when
    "blow-up": ("x^2", "1 - y", "x", "step too small", 2.0),
    "NaN": ("-x", "if(y < 0.25, log(-1 - y^2), -y)", "y", "not finite", np.log(2)),
    "infinite": ("if(x < 0.25, 1 / (x - x), -x)", "-y", "x", "not finite", np.log(2)),
    "fast": ("1e6 * y", "-1e6 * x", None, "too many steps", None),
}


@pytest.mark.parametrize("name", CULPRITS)
def test_the_state_that_failed_is_named(tmp_path, name):
    x, y, culprit, status, fails_at = CULPRITS[name]
    cell = small_cell(tmp_path, GATES, {"V": "-V / 20 + x", "x": x, "y": y})
    (trace,) = simulate(cell, [], 10.0)
    reason, time, state = re.fullmatch(r"([\w ]+): .* \(stopped at (\S+) ms, state (\w+)\)", trace.status).groups()
    assert reason == status
    assert state == culprit or (culprit is None and state in "xy")
    assert float(time) == pytest.approx(trace.end_ms, rel=1e-5)
    assert fails_at is None or trace.end_ms == pytest.approx(fails_at, abs=1e-3)
    assert trace.step_time_ms[-1] == trace.end_ms
    assert trace.final_state.shape == (3,)
    assert np.isfinite(trace.final_state).all()
    assert np.float32(trace.final_state[0]) == trace.step_voltage_mV[-1]


def test_the_final_state_is_where_the_trace_stops(tmp_path):
    """x blows up at 1 ms as 1 / (1 - t)."""
    cell = small_cell(tmp_path, {"V": 0, "x": 1}, {"V": "1", "x": "x^2"})
    (trace,) = simulate(cell, [], 10.0, rtol=1e-8, record=["x"])
    v, x = trace.final_state
    assert v == pytest.approx(trace.end_ms, abs=1e-8)
    assert np.float32(x) == trace.recorded["x"].step_value[-1]
    assert x > 1e5
    np.testing.assert_allclose(trace.recorded["x"].at(0.9), 10, rtol=1e-6)


def test_the_step_limit_is_for_one_cell(tmp_path):
    cell = small_cell(tmp_path, {"V": 1, "x": 0}, {"V": "-w * x", "x": "w * V"}, "w = 1e6", {"w": "m.w"})
    fast, slow = simulate(cell, [[1.0], [0.0]], 1.0)
    assert fast.status.startswith("too many steps")
    assert 0.01 < fast.end_ms < 0.1  # a hundred thousand attempts
    assert slow.status == "ok"


@pytest.mark.parametrize("bad", [{"Ca_i": -1e-4}, {"Na_i": 0.0}, {"V": 1e6}, {"K_i": -5.0}])
def test_absurd_initial_states_of_a_real_model(bad):
    """Whatever becomes of such a cell, its neighbours are as they are alone."""
    cell = load_cell("akwaboah2021")
    (name, value), names = next(iter(bad.items())), cell.states
    initial = np.tile(cell.initial_state, (9, 1))
    initial[3, names.index(name)] = value
    traces = simulate(cell, np.ones((9, 5)), 50.0, initial_state=initial)
    (alone,) = simulate(cell, np.ones(5), 50.0)
    absurd = traces.pop(3)
    assert all(np.array_equal(trace.step_voltage_mV, alone.step_voltage_mV) for trace in traces)
    assert np.isfinite(absurd.step_voltage_mV).all()
    assert absurd.status == "ok" or re.search(r"\(stopped at \S+ ms, state \w+\)$", absurd.status)
