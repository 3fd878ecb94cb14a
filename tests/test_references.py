"""The reference solvers: SciPy's BDF, and CVODES where it can be built."""

from threading import Thread

import myokit
import numpy as np
import pytest
from jacobians import differences
from small_cells import skip_without_cvodes, small_cell

from cardioemu.common.errors import UserError
from cardioemu.simulation import load_cell, simulate
from cardioemu.simulation.pacing import Pacing
from cardioemu.simulation.solvers.numpy_functions import jacobian_function

PACE = "pace = 0 bind pace"
# FitzHugh and Nagumo's model, which a stimulus excites.
EXCITABLE = ({"V": -1.2, "w": -0.6}, {"V": "V - V^3 / 3 - w + 0.8 * pace", "w": "0.08 * (V + 0.7 - g * w)"})


@pytest.fixture(params=["cvodes", "scipy"])
def solver(request):
    if request.param == "cvodes":
        skip_without_cvodes()
    return request.param


def relaxation(t):
    """V of dV/dt = pace - V, V(0) = 0, for a stimulus of 1 from 2 to 5 ms."""
    during = 1 - np.exp(-np.clip(t - 2, 0, 3))
    return during * np.exp(-np.clip(t - 5, 0, None))


def test_a_stimulus_in_closed_form(tmp_path, solver):
    cell = small_cell(tmp_path, {"V": 0}, {"V": "pace - V"}, PACE)
    (trace,) = simulate(cell, [], 20.0, solver, rtol=1e-8, protocol=Pacing(100, 3, 2))
    t, V, slope = trace.step_time_ms, trace.step_voltage_mV, trace.step_dvdt_mV_per_ms
    np.testing.assert_allclose(V, relaxation(t), atol=1e-6)
    between = np.linspace(0, 20, 999)
    np.testing.assert_allclose(trace.voltage_mV(between), relaxation(between), atol=1e-6)
    assert t[-1] == 20
    for edge, jump in ((2, 1), (5, -1)):
        left, right = np.flatnonzero(t == edge)
        assert right == left + 1
        assert V[left] == V[right]
        assert slope[right] - slope[left] == pytest.approx(jump, abs=1e-6)
    assert trace.final_state == pytest.approx([relaxation(20.0)], abs=1e-8)


TIMED = {  # rate of V, its solution from V(0) = 0
    "smooth": ("cos(engine.time) * V + cos(engine.time)", lambda t: np.exp(np.sin(t)) - 1),
    "jumps": ("if(engine.time >= 2 and engine.time < 5, 1, 0) - V", relaxation),
    "short jumps": ("if(engine.time >= 10 and engine.time < 10.001, 1000, 0)", lambda t: np.clip(1e3 * (t - 10), 0, 1)),
}


@pytest.mark.parametrize("name", TIMED)
def test_explicit_time_in_closed_form(tmp_path, solver, name):
    rate, exact = TIMED[name]
    cell = small_cell(tmp_path, {"V": 0}, {"V": rate})
    (trace,) = simulate(cell, [], 20.0, solver, rtol=1e-8)
    np.testing.assert_allclose(trace.step_voltage_mV, exact(trace.step_time_ms), atol=1e-5)


def test_recorded_in_closed_form(tmp_path, solver):
    """Recordings that depend on other variables, on time and on the stimulus, with slopes along the trajectory."""
    more = f"{PACE}\nu = V^2\nz = u * sin(engine.time) + 3 * pace\nc = 7"
    rates = {"V": "-V * g", "x": "-x", "integral": "z"}
    cell = small_cell(tmp_path, {"V": 1, "x": 2, "integral": 0}, rates, f"g = 1\n{more}", {"g": "m.g"})
    names = ("x", "m.u", "m.z", "m.c", "m.g", "m.pace")
    (trace,) = simulate(cell, [0.5], 10.0, solver, rtol=1e-9, record=names, protocol=Pacing(100, 3, 2))
    t, u = np.linspace(0, 10, 501), np.exp(-np.linspace(0, 10, 501))
    pace = ((t >= 2) & (t < 5)).astype(float)
    exact = {
        "x": (2 * u, -2 * u),
        "m.u": (u, -u),
        "m.z": (u * np.sin(t) + 3 * pace, u * (np.cos(t) - np.sin(t))),
        "m.c": (7 + 0 * t, 0 * t),
        "m.g": (0.5 + 0 * t, 0 * t),
        "m.pace": (pace, 0 * t),
    }
    assert tuple(trace.recorded) == names
    for name, (value, slope) in exact.items():
        np.testing.assert_allclose(trace.recorded[name].at(t), value, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(trace.recorded[name].slope(t), slope, atol=1e-4, err_msg=name)


def test_constants_follow_the_scaled_one(tmp_path, solver):
    more = "a = 2\ng = 3 * a\nh = g + 1"
    cell = small_cell(tmp_path, {"V": 1}, {"V": "-h * V"}, more, {"g": "m.g"})
    traces = simulate(cell, [[0.5], [0.0], [1.0]], 0.5, solver, rtol=1e-9)
    expected = np.exp(-0.5 * np.array([4, 1, 7]))
    np.testing.assert_allclose([t.voltage_mV(0.5) for t in traces], expected, atol=1e-7)


def excitable(folder):
    return small_cell(folder, *EXCITABLE, f"g = 0.8\n{PACE}", {"g": "m.g"})


def test_cvodes_equals_a_simulation_by_myokit_alone(tmp_path):
    skip_without_cvodes()
    cell, t = excitable(tmp_path), np.linspace(0, 400, 801)[:-1]
    protocol = myokit.pacing.blocktrain(period=90, duration=2, offset=5)
    simulation = myokit.Simulation(cell.model, protocol)
    simulation.set_tolerance(1e-10, 1e-10)
    log = simulation.run(400, log_times=t)
    for name in ("cvodes", "scipy"):
        (trace,) = simulate(cell, [1.0], 400.0, name, 1e-9, protocol=protocol, record=["w"])
        np.testing.assert_allclose(trace.voltage_mV(t), log["m.V"], atol=1e-6)
        np.testing.assert_allclose(trace.recorded["w"].at(t), log["m.w"], atol=1e-6)
    assert np.ptp(log["m.V"]) > 3


@pytest.mark.long
def test_on_the_akwaboah_model(solver):
    scales = [[1, 1, 1, 1, 1], [0.4, 1.2, 0.6, 1, 1.6]]
    cell, t = load_cell("akwaboah2021"), np.linspace(0, 600, 6001)
    rodas, traces = (simulate(cell, scales, 600.0, s, rtol=1e-9, record=["ical.I_CaL"]) for s in ("rodas", solver))
    for trace, expected in zip(traces, rodas, strict=True):
        np.testing.assert_allclose(trace.voltage_mV(t), expected.voltage_mV(t), atol=0.01)
        ours, theirs = trace.recorded["ical.I_CaL"], expected.recorded["ical.I_CaL"]
        np.testing.assert_allclose(ours.at(t), theirs.at(t), atol=1e-3 * np.ptp(theirs.at(t)))


def test_jacobian_of_the_akwaboah_model():
    cell = load_cell("akwaboah2021")
    state, scale = cell.initial_state, np.array([1, 0.5, 2, 1, 1.0])
    J = jacobian_function(cell)(0.0, state, scale * cell.equations.control_values, np.zeros(len(cell.equations.inputs)))
    steps = 1e-5 * np.maximum(np.abs(state), 1e-3)
    np.testing.assert_allclose(J, differences(cell, state, scale, steps), rtol=1e-4, atol=1e-7)


def test_tolerances_of_single_states_count(tmp_path, solver):
    cell = small_cell(tmp_path, {"V": 1, "x": 0}, {"V": "-V", "x": "cos(V) - x"})
    steps = [len(simulate(cell, [], 20.0, solver, atol={"x": atol})[0].step_time_ms) for atol in (1e-3, 1e-6, 1e-9)]
    assert steps[0] < steps[1] < steps[2]


def test_cvodes_from_several_threads(tmp_path):
    skip_without_cvodes()
    cell, results = excitable(tmp_path), {}

    def work(scale):
        results[scale] = simulate(cell, [[scale]] * 5, 200.0, "cvodes", protocol=Pacing(90, 2))

    threads = [Thread(target=work, args=(scale,)) for scale in (0.7, 0.8, 0.9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for scale, traces in results.items():
        (alone,) = simulate(cell, [scale], 200.0, "cvodes", protocol=Pacing(90, 2))
        assert all(np.array_equal(trace.step_voltage_mV, alone.step_voltage_mV) for trace in traces)


@pytest.mark.parametrize(
    "error", [myokit.CompilationError("line 1\nline 2\ncvodes.h: no such file"), ImportError("no lib")]
)
def test_message_without_sundials(tmp_path, monkeypatch, error):
    def broken(*args, **kwargs):
        raise error

    monkeypatch.setattr(myokit, "Simulation", broken)
    with pytest.raises(UserError, match=r"^solver: 'cvodes' needs SUNDIALS .*apt-get install libsundials-dev") as info:
        simulate(small_cell(tmp_path, {"V": 1}, {"V": "-V"}), [], 10.0, "cvodes")
    assert "\n" not in str(info.value)
