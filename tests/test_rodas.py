"""The population solver: closed forms, accuracy, arguments, memory; the generated source."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from small_cells import small_cell

from cardioemu.common.errors import UserError
from cardioemu.simulation import load_cell, simulate
from cardioemu.simulation.solvers.rodas.solve import generate

# name: states at 0, rates, and V(t) of scale 1 in closed form.
CLOSED_FORMS = {
    "decay": ({"V": -80}, {"V": "-g * V / 7"}, lambda t: -80 * np.exp(-t / 7)),
    "logistic": ({"V": 0.01}, {"V": "g * V * (1 - V)"}, lambda t: 1 / (1 + 99 * np.exp(-t))),
    "oscillator": ({"V": 10, "x": 0}, {"V": "-g * x", "x": "V"}, lambda t: 10 * np.cos(t)),
    "stiff": ({"V": 1, "x": 1}, {"V": "-1000 * g * (V - x^2) - 2 * x^2", "x": "-x"}, lambda t: np.exp(-2 * t)),
    "chain": ({"V": 0, "x": 1, "y": 0}, {"V": "y", "x": "-g * x", "y": "x - y"}, lambda t: 1 - np.exp(-t) * (1 + t)),
    "rate of a rate": ({"V": 0, "x": 1}, {"V": "g * dot(x)", "x": "-x"}, lambda t: np.exp(-t) - 1),
    "switch": ({"V": 0}, {"V": "if(V < 5, g, 2 * g)"}, lambda t: np.where(t < 5, t, 2 * t - 5)),
    "explicit time": ({"V": 1}, {"V": "g * cos(engine.time) * V"}, lambda t: np.exp(np.sin(t))),
    "jumps in time": ({"V": 0}, {"V": "if(engine.time < 5, g, 2 * g)"}, lambda t: np.where(t < 5, t, 2 * t - 5)),
}


def closed_form_cell(folder, name):
    initial, rates, _ = CLOSED_FORMS[name]
    return small_cell(folder, initial, rates, "g = 1", {"g": "m.g"})


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_forms(tmp_path, name):
    (trace,) = simulate(closed_form_cell(tmp_path, name), [1.0], 30.0, rtol=1e-8)
    assert trace.status == "ok"
    # float32 rounds V by 6e-8 of its size.
    t, exact = trace.step_time_ms, CLOSED_FORMS[name][2]
    np.testing.assert_allclose(trace.step_voltage_mV, exact(t), rtol=1e-6, atol=3e-6)
    between = np.linspace(0, 30, 997)
    np.testing.assert_allclose(trace.voltage_mV(between), exact(between), atol=2e-4)


def test_tighter_tolerance_smaller_error(tmp_path):
    """The global error is proportional to rtol; a method of order 4 needs 10^(1/4) as many steps for a tenth of it."""
    cell, exact = closed_form_cell(tmp_path, "oscillator"), CLOSED_FORMS["oscillator"][2]
    errors, steps = [], []
    for rtol in (1e-3, 1e-4, 1e-5, 1e-6):
        (trace,) = simulate(cell, [1.0], 50.0, rtol=rtol)
        errors.append(abs(trace.step_voltage_mV - exact(trace.step_time_ms)).max())
        steps.append(len(trace.step_time_ms))
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert -5 < slope < -3.5, (errors, steps)
    assert (np.diff(steps) > 0).all()
    assert errors[-1] < 1e-3


def test_each_cell_has_its_own_initial_state(tmp_path):
    cell = small_cell(tmp_path, {"V": 1}, {"V": "-g * V"}, "g = 1", {"g": "m.g"})
    states = np.arange(1.0, 12.0)[:, None]
    for given in (states, states.astype(np.float32), np.asfortranarray(states)):
        traces = simulate(cell, np.ones((11, 1)), 2.0, rtol=1e-8, initial_state=given)
        np.testing.assert_allclose([t.voltage_mV(2) for t in traces], states[:, 0] * np.exp(-2), rtol=1e-6)
    (trace,) = simulate(cell, [1.0], 2, initial_state=[3.0])
    assert trace.voltage_mV(0) == 3


def test_a_run_continues_from_the_final_state(tmp_path):
    cell = small_cell(tmp_path, {"V": 10, "x": 0}, {"V": "-x", "x": "V"})
    (whole,) = simulate(cell, [], 20.0, rtol=1e-9)
    (first,) = simulate(cell, [], 7.0, rtol=1e-9)
    (second,) = simulate(cell, [], 13.0, rtol=1e-9, initial_state=first.final_state)
    np.testing.assert_allclose(first.final_state, [10 * np.cos(7), 10 * np.sin(7)], atol=1e-6)
    np.testing.assert_allclose(second.final_state, whole.final_state, atol=1e-6)
    assert whole.final_state.dtype == np.float64


@pytest.mark.parametrize("duration", [1e-9, 0.01, 1 / 3, 7.0, 123.456])
def test_last_step_is_the_duration(tmp_path, duration):
    cell = small_cell(tmp_path, {"V": 1}, {"V": "-V"})
    (trace,) = simulate(cell, [], duration)
    assert trace.step_time_ms[-1] == duration
    assert trace.voltage_mV(duration) == pytest.approx(np.exp(-duration), abs=1e-3)


def test_the_last_step_equals_the_duration_to_the_last_bit(tmp_path):
    """In double precision t + (end - t) is not always end."""
    cell = small_cell(tmp_path, {"V": 0}, {"V": "0"})
    for duration in np.random.default_rng(0).uniform(0.02, 0.5, 300):
        (trace,) = simulate(cell, [], duration)
        assert trace.step_time_ms[-1] == duration
        assert np.diff(trace.step_time_ms).min() > 1e-3


@pytest.fixture(scope="module")
def cell():
    return load_cell("akwaboah2021")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scales": np.ones(4)}, r"scales: got shape \(4,\); allowed is \(cells, 5\)"),
        ({"scales": np.ones((0, 5))}, "scales: got no cells"),
        ({"scales": [1, 1, -1, 1, 1]}, "scales: cell 0 has IKr = -1"),
        ({"duration_ms": 0}, "duration_ms: got 0"),
        ({"duration_ms": np.inf}, "duration_ms: got inf"),
        ({"duration_ms": np.nan}, "duration_ms: got nan"),
        ({"solver": "rodos"}, "solver: got 'rodos'; allowed is one of rodas, "),
        ({"rtol": 0.0}, "rtol: got 0.0; it must be greater than or equal to 0.0000000000001"),
        ({"rtol": float("nan")}, "rtol: got nan"),
        ({"threads": 0}, "threads: got 0"),
        ({"initial_state": np.ones(29)}, r"initial_state: got shape \(29,\); allowed is \(30,\) or \(1, 30\)"),
        ({"initial_state": np.full(30, np.nan)}, "all finite"),
        ({"initial_state": ["rest"] * 30}, "initial_state: allowed is a table of numbers"),
        ({"atol": [1e-6] * 29}, r"atol: got shape \(29,\); allowed is one number or \(30,\)"),
        ({"atol": 0}, "atol: got 0; allowed are finite numbers above 0"),
        ({"atol": np.nan}, "atol: got nan; allowed are finite numbers above 0"),
        ({"atol": "small"}, "atol: got a str .*; allowed are numbers"),
        ({"atol": {"W": 1e-3}}, "atol.W: the model has no state 'W'"),
    ],
)
def test_wrong_arguments(cell, change, message):
    with pytest.raises(UserError, match=message):
        simulate(cell, **{"scales": np.ones(5), "duration_ms": 10.0, **change})


def test_progress_and_its_exceptions(cell):
    counts = []
    simulate(cell, np.ones((5, 5)), 50.0, progress=counts.append)
    assert counts[-1] == 5
    assert counts == sorted(counts)

    def stop(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(cell, np.ones((5, 5)), 1e6, progress=stop)


def test_generated_source_is_the_same_in_every_process():
    code = "from cardioemu.simulation import load_cell; from cardioemu.simulation.solvers.rodas import generate; "
    code += "import sys; sys.stdout.write(generate(load_cell('akwaboah2021')))"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        text = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
        assert text == generate(load_cell("akwaboah2021"))


# A process of its own, whose peak is that of the population; a small one before it loads all that it needs.
POPULATION = """
import json, resource, sys
import numpy as np
from cardioemu.simulation import design, load_cell, simulate

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

cell, scales = load_cell("akwaboah2021"), design("sobol", n=20_000)
simulate(cell, scales[:100], 500.0)
before = peak()
traces = simulate(cell, scales, 500.0)
recorded = sum(a.nbytes for t in traces for a in (t.step_time_ms, t.step_voltage_mV, t.step_dvdt_mV_per_ms))
print(json.dumps({"cells": len(traces), "recorded": recorded, "grown": peak() - before}))
"""


@pytest.mark.memory
def test_memory_is_bounded_by_what_is_recorded():
    """No cell is stored twice: the solver's steps go into traces while others are still integrated."""
    result = subprocess.run([sys.executable, "-c", POPULATION], capture_output=True, text=True, check=True)
    found = json.loads(result.stdout)
    assert found["recorded"] > 5e7
    assert found["grown"] < 1.25 * found["recorded"] + 2500 * found["cells"], found
