"""The population solver: closed forms, accuracy, independence of the lanes, failing cells."""

import os
import subprocess
import sys

import numpy as np
import pytest
from small_cells import small_cell

from cardioemu.errors import UserError
from cardioemu.simulation import design, load_cell, simulate
from cardioemu.simulation.simulate import cores
from cardioemu.simulation.solvers import SOLVERS
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
}


@pytest.mark.parametrize("solver", list(SOLVERS))
@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_forms(tmp_path, name, solver):
    initial, rates, exact = CLOSED_FORMS[name]
    cell = small_cell(tmp_path, initial, rates, "g = 1", {"g": "m.g"})
    (trace,) = simulate(cell, [1.0], 30.0, solver=solver, rtol=1e-8)
    assert trace.status == "ok"
    # float32 holds V to 6e-8 of its size.
    t = trace.step_time_ms
    np.testing.assert_allclose(trace.step_voltage_mV, exact(t), rtol=1e-6, atol=3e-6)
    between = np.linspace(0, 30, 997)
    np.testing.assert_allclose(trace.voltage_mV(between), exact(between), atol=2e-4)


def test_tighter_tolerance_smaller_error(tmp_path):
    """With an error per step of rtol, the global error follows it; an order of 4 asks for 10^(1/4) as many steps."""
    initial, rates, exact = CLOSED_FORMS["oscillator"]
    cell = small_cell(tmp_path, initial, rates, "g = 1", {"g": "m.g"})
    errors, steps = [], []
    for rtol in (1e-3, 1e-4, 1e-5, 1e-6):
        (trace,) = simulate(cell, [1.0], 50.0, rtol=rtol)
        errors.append(abs(trace.step_voltage_mV - exact(trace.step_time_ms)).max())
        steps.append(len(trace.step_time_ms))
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert -5 < slope < -3.5, (errors, steps)
    assert (np.diff(steps) > 0).all()
    assert errors[-1] < 1e-3


def identical(a, b):
    return (
        a.status == b.status
        and np.array_equal(a.step_time_ms, b.step_time_ms)
        and np.array_equal(a.step_voltage_mV, b.step_voltage_mV)
        and np.array_equal(a.step_dvdt_mV_per_ms, b.step_dvdt_mV_per_ms)
    )


@pytest.fixture(scope="module")
def cell():
    return load_cell("akwaboah2021")


@pytest.fixture(scope="module")
def alone(cell):
    """Nineteen cells, each simulated by itself on one thread."""
    return [simulate(cell, scale, 400.0, threads=1)[0] for scale in design("sobol", n=19)]


@pytest.mark.parametrize("threads", [1, 2, 3, None])
@pytest.mark.parametrize("count", [*range(1, 10), 19])
def test_a_cell_does_not_feel_its_neighbours(cell, alone, count, threads):
    traces = simulate(cell, design("sobol", n=19)[:count], 400.0, threads=threads)
    assert all(map(identical, traces, alone[:count]))


def test_nor_their_order(cell, alone):
    order = np.random.default_rng(0).permutation(19)
    traces = simulate(cell, design("sobol", n=19)[order], 400.0, threads=2)
    assert all(identical(trace, alone[i]) for trace, i in zip(traces, order, strict=True))


def test_each_cell_has_its_own_initial_state(tmp_path):
    cell = small_cell(tmp_path, {"V": 1}, {"V": "-g * V"}, "g = 1", {"g": "m.g"})
    states = np.arange(1.0, 12.0)[:, None]
    for given in (states, states.astype(np.float32), np.asfortranarray(states)):
        traces = simulate(cell, np.ones((11, 1)), 2.0, rtol=1e-8, initial_state=given)
        np.testing.assert_allclose([t.voltage_mV(2) for t in traces], states[:, 0] * np.exp(-2), rtol=1e-6)
    (trace,) = simulate(cell, [1.0], 2, initial_state=[3.0])
    assert trace.voltage_mV(0) == 3


FAILURES = {  # rate of V, V where it fails, time of the failure at scale 1, the status
    "blow-up in finite time": ("g * V^2", 1, 1.0, "step too small"),
    "beyond float32": ("g * V", 1, np.log(3.4e38), "not finite"),
    "NaN from the start": ("if(g > 0, log(-V), 0)", 1, 0.0, "not finite"),
    "division by zero from the start": ("if(g > 0, 1 / (V - 1), 0)", 1, 0.0, "not finite"),
    "division by zero later": ("if(V >= 2 and g > 0, V / (g - g), 1)", 1, 1.0, "not finite"),
    "a huge state": ("g * V", 1e300, 0.0, "not finite"),
}


# LSODA does not come back from a trial step into NaN: it stops earlier than it must.
@pytest.mark.parametrize(
    ("name", "solver"), [(n, s) for n in FAILURES for s in SOLVERS if (n, s) != ("division by zero later", "scipy")]
)
def test_failing_cell_has_a_reason_and_no_company(tmp_path, name, solver):
    rate, start, fails_at, status = FAILURES[name]
    cell = small_cell(tmp_path, {"V": 1}, {"V": rate}, "g = 1", {"g": "m.g"})
    scales = np.zeros((11, 1))
    scales[4] = 1
    initial = np.ones((11, 1))
    initial[4] = start
    traces = simulate(cell, scales, 200.0, solver=solver, initial_state=initial, threads=1)
    failed = traces.pop(4)
    assert failed.end_ms == pytest.approx(fails_at, abs=0.02, rel=0.01)
    assert failed.label is None
    assert failed.status.endswith(f"(stopped at {failed.end_ms:.6g} ms)")
    assert np.isnan(failed.voltage_mV(200))
    assert failed.status.startswith(status)
    (untouched,) = simulate(cell, [0.0], 200.0, solver=solver)
    assert all(identical(trace, untouched) for trace in traces)
    assert untouched.status == "ok"


def test_cell_that_needs_too_many_steps(tmp_path):
    rates = {"V": "-w * x", "x": "w * V"}
    cell = small_cell(tmp_path, {"V": 1, "x": 0}, rates, "w = 1e6", {"w": "m.w"})
    fast, slow = simulate(cell, [[1.0], [0.0]], 1.0)
    assert fast.status.startswith("too many steps")
    assert len(fast.step_time_ms) < 1.2e5
    assert slow.status == "ok"


@pytest.mark.parametrize("duration", [1e-9, 0.01, 1 / 3, 7.0, 123.456])
def test_last_step_is_the_duration(tmp_path, duration):
    cell = small_cell(tmp_path, {"V": 1}, {"V": "-V"})
    (trace,) = simulate(cell, [], duration)
    assert trace.step_time_ms[-1] == duration
    assert trace.voltage_mV(duration) == pytest.approx(np.exp(-duration), abs=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scales": np.ones(4)}, r"scales: got shape \(4,\), allowed is \(cells, 5\)"),
        ({"scales": np.ones((0, 5))}, "scales: got no cells"),
        ({"scales": [1, 1, -1, 1, 1]}, "scales: cell 0 has IKr = -1"),
        ({"duration_ms": 0}, "duration_ms: got 0"),
        ({"duration_ms": np.inf}, "duration_ms: got inf"),
        ({"duration_ms": np.nan}, "duration_ms: got nan"),
        ({"solver": "rodos"}, "solver: got 'rodos', allowed is one of rodas, scipy"),
        ({"rtol": 0.0}, "rtol: got 0.0, allowed is 1e-13 to 0.1"),
        ({"rtol": float("nan")}, "rtol: got nan"),
        ({"threads": 0}, "threads: got 0"),
        ({"initial_state": np.ones(29)}, r"initial_state: got shape \(29,\), allowed is \(30,\) or \(1, 30\)"),
        ({"initial_state": np.full(30, np.nan)}, "all finite"),
    ],
)
def test_wrong_arguments(cell, change, message):
    with pytest.raises(UserError, match=message):
        simulate(cell, **{"scales": np.ones(5), "duration_ms": 10.0, **change})


def test_progress_and_its_exceptions(cell):
    seen = []
    simulate(cell, np.ones((5, 5)), 50.0, progress=seen.append)
    assert seen[-1] == 5
    assert seen == sorted(seen)

    def stop(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(cell, np.ones((5, 5)), 1e6, progress=stop)


def test_cores():
    assert 1 <= cores() <= (os.cpu_count() or 1)


def test_generated_source_is_the_same_in_every_process():
    code = "from cardioemu.simulation import load_cell; from cardioemu.simulation.solvers.rodas import generate; "
    code += "import sys; sys.stdout.write(generate(load_cell('akwaboah2021')))"
    texts = [
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True)
        for seed in ("1", "2")
    ]
    assert texts[0].stdout.decode() == texts[1].stdout.decode() == generate(load_cell("akwaboah2021"))


def test_explicit_time_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"m.stimulus uses time directly, which the solvers do not offer"):
        small_cell(tmp_path, {"V": 1}, {"V": "stimulus - V"}, "stimulus = sin(engine.time)")
