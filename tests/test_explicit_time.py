"""Right-hand sides that use time: expressions that jump become inputs, smooth expressions stay."""

import myokit
import numpy as np
import pytest
from small_cells import mmt

from cardioemu.simulation import load_cell, simulate

PHASE = "phase = t - floor(t / period) * period\n"
ON = PHASE + "on = if(phase >= 1 and phase < 3, amp, 0)\n"
MORE = {"phase": PHASE, "on": ON, "late": "late = t - start\n    start = 4.5\n", "twice": ON + "twice = 2 * on\n"}


def model(rates, more=""):
    initial = {name: {"V": -58, "n": 0.4}[name] for name in rates}
    return mmt(initial, rates, "use engine.time as t\nperiod = 7\namp = 3\n" + more)


def timed_cell(folder, rates, more="", **settings):
    path = folder / "s.mmt"
    path.write_text(model(rates, more))
    return load_cell(path, **settings)


# expression -> number of inputs that replace it, and whether time remains in the equations
EXPRESSIONS = {
    "if(t >= 4.5 and t - floor((t - 4.5) / period) * period <= 2, amp, 0)": (1, False),
    "piecewise(t < 3, 1, t < 7.5, 2 * amp, 3)": (1, False),
    "on": (1, False),
    "twice * n": (1, False),
    "if(on > 0, V, n)": (1, False),
    "if(phase < 2, amp, 0)": (1, False),
    "if(late > 0 and n < 1, 1, 0)": (1, False),
    "if(t > 3 and V > -50, 1, 2)": (1, False),
    "if(V > -50 or not (t > 3 and t < 5), 1, 2)": (1, False),
    "if(t > 3, V, n) + if(t > 3, n, V)": (1, False),
    "if(t > 3, V, n) + if(t > 4, n, V)": (2, False),
    "t // 4 + ceil(t / 3) * n": (2, False),
    "floor(sin(t) * 3)^2 / (0.5 + ceil(late))": (1, False),
    "floor(t) * dot(n)": (1, False),
    "sin(t)": (0, True),
    "exp(-t / 5) * n": (0, True),
    "abs(t - 5)": (0, True),
    "phase": (1, True),
    "t % 4": (1, True),
    "late % -period": (1, True),
    "t % n": (0, True),
    "if(t < 5, late, 3)": (1, True),
    "if(V < -60 + t, 1, 2)": (0, True),
    "floor(t + n)": (0, True),
    "floor(t) * sin(t)": (1, True),
    "if(floor(t / 2) > 3, floor(t), n)": (2, False),
}
STATE = np.array([-58.0, 0.4])


def in_seconds(text):
    """The model with time in s and the same numbers, a thousand times slower."""
    return text.replace("[ms]", "[s]")


@pytest.mark.parametrize("file_time", ["ms", "s"])
@pytest.mark.parametrize("keeps_time", [False, True])
def test_derivatives_equal_those_of_the_file_at_every_time(tmp_path, keeps_time, file_time):
    for expression, (inputs, time) in EXPRESSIONS.items():
        if time != keeps_time:
            continue
        more = next((text for name, text in MORE.items() if name in expression), "")
        text = model({"V": expression, "n": "(1 - n) / 10"}, more)
        path = tmp_path / "timed.mmt"
        path.write_text(in_seconds(text) if file_time == "s" else text)
        cell, original = load_cell(path), myokit.load_model(path)
        assert len(cell.equations.inputs) == inputs, expression
        assert (cell.equations.time is not None) == keeps_time, expression
        per_ms = 1.0 if file_time == "ms" else 1000.0
        assert cell.ms_per_file_time == per_ms
        for t in np.random.default_rng(0).uniform(0, 30, 100):
            expected = original.evaluate_derivatives(STATE, {"time": t})
            ours = cell.derivatives(STATE, [], t * per_ms) * per_ms
            np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-11, err_msg=f"{expression} at {t}")


def test_levels_before_and_after_each_edge(tmp_path):
    stimulus = "if(t >= 4.5 and t - floor((t - 4.5) / 7) * 7 <= 6.5 and t < 20, -amp, 0)"
    (drive,) = timed_cell(tmp_path, {"V": stimulus}).equations.inputs
    assert drive.binding == "time"
    assert drive.value == 0
    edges = np.array([4.5, 6.5, 11.5, 13.5, 18.5])
    on = np.array([True, False, True, False, True])
    np.testing.assert_array_equal(drive.level_at(edges - 1e-9), np.where(on, 0, -3))
    np.testing.assert_array_equal(drive.level_at(edges + 1e-9), np.where(on, -3, 0))
    np.testing.assert_array_equal(drive.level_at(np.array([0, 19.999, 20, 1e6])), [0, -3, 0, 0])
    assert drive.level_at(edges).dtype == np.float64


def test_conditions_are_one_and_zero(tmp_path):
    (drive,) = timed_cell(tmp_path, {"V": "if(t > 2, V, n)", "n": "0"}).equations.inputs
    np.testing.assert_array_equal(drive.level_at(np.array([0, 2, 2.1])), [0, 0, 1])
    assert drive.value == 0


def test_a_scaled_amplitude_is_scaled(tmp_path):
    cell = timed_cell(tmp_path, {"V": "if(phase < 2, amp, 0)"}, PHASE, scaled={"amplitude": "m.amp"})
    assert len(cell.equations.inputs) == 1
    levels = [cell.derivatives([0], [0.5], t)[0] for t in (1, 3, 8)]
    assert levels == [1.5, 0, 1.5]


def test_functions_of_time_that_no_derivative_needs_are_removed(tmp_path):
    equations = timed_cell(tmp_path, {"V": "on"}, ON + "shown = V * phase\nkept = V * on\n").equations
    names = {lhs.var().qname() for lhs, _ in equations.assignments}
    assert names == {"m.V", "m.on", "m.kept"}


def test_pace_and_time_are_separate_inputs(tmp_path):
    cell = timed_cell(tmp_path, {"V": "pace * 2 + if(t > 3 and pace > 0.5, 10, 0)"}, "pace = 0.25 bind pace\n")
    inputs = [(i.binding, i.value, i.level_at is None) for i in cell.equations.inputs]
    assert inputs == [("pace", 0.25, True), ("time", 0.0, False)]
    assert cell.derivatives([0], [], 4.0) == [0.5]
    assert cell.derivatives([0], [], 4.0, inputs=[1, 1]) == [12]
    assert cell.derivatives([0], [], 4.0, inputs=[1, 0]) == [2]


def test_a_bound_variable_with_an_equation_keeps_it(tmp_path):
    cell = timed_cell(tmp_path, {"V": "diffusion"}, "diffusion = 3 * V bind diffusion_current\n")
    assert cell.equations.inputs == ()
    assert cell.derivatives([2], []) == [6]


@pytest.mark.parametrize("solver", ["rodas", "scipy"])
def test_relaxation_under_a_stimulus_is_its_closed_form(tmp_path, solver):
    """V' = (s - V) / 2 with s = 3 in [1, 3) + 7k and 0 elsewhere; time appears in conditions only."""
    (trace,) = simulate(timed_cell(tmp_path, {"V": "(on - V) / 2"}, ON), [], 20.0, solver=solver, rtol=1e-8)
    t = np.linspace(0, 20, 2001)
    edges = {edge + 7 * k: sign for k in range(3) for edge, sign in ((1, 1), (3, -1))}
    responses = (3 * sign * np.where(t > edge, -np.expm1(-(t - edge) / 2), 0) for edge, sign in edges.items())
    V = -58 * np.exp(-t / 2) + sum(responses)
    np.testing.assert_allclose(trace.voltage_mV(t), V, atol=2e-6)


def test_smooth_time_is_integrated(tmp_path):
    (trace,) = simulate(timed_cell(tmp_path, {"V": "cos(t / 3) + (t % 2 - 1)"}), [], 20.0, rtol=1e-7)
    t = np.linspace(0, 20, 401)
    sawtooth = (t % 2) ** 2 / 2 - t % 2
    np.testing.assert_allclose(trace.voltage_mV(t), -58 + 3 * np.sin(t / 3) + sawtooth, atol=1e-4)
