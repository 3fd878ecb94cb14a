"""Cells that cannot be integrated: status with reason, time and state; no effect on other cells."""

import re

import numpy as np
import pytest
from small_cells import skip_without_cvodes, small_cell

from cardioemu.simulation import simulate

FAILURES = {  # rate of V, V where it fails, duration, time of the failure at scale 1, status
    "blow-up in finite time": ("g * V^2", 1.0, 2.0, 1.0, "step too small"),
    "NaN from the start": ("if(g > 0, log(-V), 0)", 1.0, 20.0, 0.0, "not finite"),
    "division by zero from the start": ("if(g > 0, 1 / (V - 1), 0)", 1.0, 20.0, 0.0, "not finite"),
    "division by zero later": ("if(V >= 2 and g > 0, V / (g - g), 1)", 1.0, 2.0, 1.0, "not finite"),
    "beyond float32": ("g * V", 1.0, 100.0, np.log(3.4e38), "not finite"),
    "beyond float64": ("g * V", 1.0, 800.0, np.log(3.4e38), "not finite"),
    "a huge state": ("g * V", 1e300, 20.0, 0.0, "not finite"),
}
SOLVERS = ["rodas", "cvodes", "scipy"]


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    """A cell whose rate is selected by `which`: one model for all failures, because compiling it takes seconds."""
    rate = "0"
    for number, (other, *_) in enumerate(FAILURES.values()):
        rate = f"if(which == {number}, {other}, {rate})"
    scaled = {"which": "m.which", "g": "m.g"}
    folder = tmp_path_factory.mktemp("failing")
    return small_cell(folder, {"V": 1, "x": 1}, {"V": rate, "x": "-x"}, "which = 1\ng = 1", scaled)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", FAILURES)
def test_a_failing_cell_has_a_reason_and_does_not_change_others(failing, solver, name):
    if solver == "cvodes":
        skip_without_cvodes()
    _, start, duration, fails_at, status = FAILURES[name]
    cells, number = (11, 4) if solver == "rodas" else (3, 1)
    scales, initial = np.tile([[*FAILURES].index(name), 0.0], (cells, 1)), np.ones((cells, 2))
    scales[number, 1], initial[number, 0] = 1, start
    traces = simulate(failing, scales, duration, solver, initial_state=initial, threads=1)
    failed = traces.pop(number)
    assert failed.status.startswith(status)
    assert failed.status.endswith(f"(stopped at {failed.end_ms:.6g} ms, state V)")
    assert failed.end_ms == pytest.approx(fails_at, abs=0.02, rel=0.01)
    assert failed.label is None
    assert np.isnan(failed.voltage_mV(duration))
    assert failed.step_voltage_mV[-1] == np.float32(min(failed.final_state[0], np.finfo(np.float32).max))
    (alone,) = simulate(failing, scales[0], duration, solver)
    for trace in traces:
        assert trace.status == "ok"
        assert np.array_equal(trace.step_time_ms, alone.step_time_ms)
        assert np.array_equal(trace.step_voltage_mV, alone.step_voltage_mV)


GATES = {"V": -80, "x": 0.5, "y": 0.5}
CULPRITS = {  # rates of x and y; the state that fails, the status, the time
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


def test_the_final_state_is_that_of_the_last_step(tmp_path):
    """x blows up at 1 ms as 1 / (1 - t)."""
    cell = small_cell(tmp_path, {"V": 0, "x": 1}, {"V": "1", "x": "x^2"})
    (trace,) = simulate(cell, [], 10.0, rtol=1e-8, record=["x"])
    v, x = trace.final_state
    assert v == pytest.approx(trace.end_ms, abs=1e-8)
    assert np.float32(x) == trace.recorded["x"].step_value[-1]
    assert x > 1e5
    np.testing.assert_allclose(trace.recorded["x"].at(0.9), 10, rtol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_step_limit_counts_for_each_cell(tmp_path, solver):
    if solver == "cvodes":
        skip_without_cvodes()
    cell = small_cell(tmp_path, {"V": 1, "x": 0}, {"V": "-w * x", "x": "w * V"}, "w = 1e6", {"w": "m.w"})
    fast, slow = simulate(cell, [[1.0], [0.0]], 1.0, solver)
    assert fast.status.startswith("too many steps")
    assert slow.status == "ok"
    if solver == "rodas":
        assert 0.01 < fast.end_ms < 0.1  # a hundred thousand attempts
