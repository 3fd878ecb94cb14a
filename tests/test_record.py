"""Recorded states and currents: at the steps, between them, at the edges of stimuli; and their names."""

from functools import cache

import myokit
import numpy as np
import pytest
from small_cells import small_cell

from cardioemu.common.errors import UserError
from cardioemu.simulation import load_cell, simulate
from cardioemu.simulation.pacing import Pacing

SCALES = np.array([0.8, 1.1, 0.7, 1.0, 1.3])
ENDS_ms = np.linspace(3, 700, 40)


@cache
def akwaboah():
    """The cell, the names of its computed variables, and traces of several lengths that record all of them.

    The final state of each trace is in double precision.
    """
    cell = load_cell("akwaboah2021")
    computed = [v.qname() for v in cell.model.variables(state=False, const=False, bound=False, deep=True)]
    return cell, computed, [simulate(cell, SCALES, end, record=[*cell.states, *computed])[0] for end in ENDS_ms]


def test_states_and_slopes_at_the_steps():
    cell, _, traces = akwaboah()
    states = np.array([trace.final_state for trace in traces])
    last = [[trace.recorded[name] for name in cell.states] for trace in traces]
    values = np.array([[recording.step_value[-1] for recording in row] for row in last])
    slopes = np.array([[recording.step_slope[-1] for recording in row] for row in last])
    np.testing.assert_array_equal(values, states.astype(np.float32))
    rates = cell.derivatives(states, SCALES)
    size = np.abs(rates).max(axis=0)
    np.testing.assert_allclose(slopes / size, rates / size, rtol=1e-6, atol=1e-9)
    for trace in traces:
        np.testing.assert_array_equal(trace.recorded["V"].step_value, trace.step_voltage_mV)
        np.testing.assert_array_equal(trace.recorded["V"].step_slope, trace.step_dvdt_mV_per_ms)


def test_every_variable_equals_its_evaluation_by_myokit():
    """Values at the steps; slopes as differences along the trajectory."""
    cell, computed, traces = akwaboah()
    assert len(computed) > 80
    model, dt = cell.model.clone(), 1e-5
    for name, scale in zip(cell.scaled_constants.values(), SCALES, strict=True):
        model.set_value(name, scale * model.get(name).eval())
    of = np.empty((len(traces), len(computed), 3))
    for row, trace in enumerate(traces):
        state = trace.final_state
        rates = cell.derivatives(state, SCALES)
        for column, moved in enumerate((state, state + dt * rates, state - dt * rates)):
            values = dict(zip(map(myokit.Name, model.states()), moved, strict=True))
            of[row, :, column] = [model.get(name).rhs().eval(values) for name in computed]
    for k, name in enumerate(computed):
        last = [(trace.recorded[name].step_value[-1], trace.recorded[name].step_slope[-1]) for trace in traces]
        value, slope = np.transpose(last)
        change = (of[:, k, 1] - of[:, k, 2]) / (2 * dt)
        noise = 5e-11 * np.abs(of[:, k]).max() / dt
        np.testing.assert_allclose(value, of[:, k, 0], rtol=1e-6, atol=1e-12 * np.abs(value).max(), err_msg=name)
        np.testing.assert_allclose(slope, change, rtol=1e-4, atol=noise, err_msg=name)


@pytest.mark.parametrize(("rtol", "limit"), [(1e-4, 2e-3), (1e-6, 1e-4)])
def test_between_the_steps_against_a_tight_run(rtol, limit):
    cell, names = load_cell("akwaboah2021"), ["ikr.I_Kr", "ical.I_CaL", "inaca.I_NaCa", "Ca_i", "x_ks"]
    tight, trace = (simulate(cell, SCALES, 700.0, rtol=r, record=names)[0] for r in (1e-9, rtol))
    t = np.linspace(0, 700, 7001)
    for name in names:
        expected = tight.recorded[name].at(t)
        error = np.abs(trace.recorded[name].at(t) - expected)
        assert np.sqrt(np.mean(error**2)) < limit * np.ptp(expected), name


def test_recording_does_not_change_the_trace():
    cell, _, (*_, trace) = akwaboah()
    (bare,) = simulate(cell, SCALES, 700.0)
    assert bare.recorded == {}
    t = np.linspace(0, 700, 701)
    np.testing.assert_allclose(trace.voltage_mV(t), bare.voltage_mV(t), atol=0.1)


MORE = """use engine.time as t
pace = 0 bind pace
amplitude = -80
area = 2 * amplitude
i_stim = amplitude * pace
i_leak = g * (V + 70)
    g = 0.2
i_clock = sin(t) * V
gain = 3
i_all = i_stim + gain * i_leak + i_clock
unused = x^2 + area"""


@pytest.fixture
def cell(tmp_path):
    initial, rates = {"V": -70, "x": 0.5}, {"V": "-i_all", "x": "-x / 3"}
    return small_cell(tmp_path, initial, rates, MORE, {"gain": "m.gain"})


def test_values_and_slopes_on_both_sides_of_an_edge(cell):
    names = ["m.i_stim", "m.i_all", "m.i_leak", "m.pace", "m.i_clock", "x"]
    (trace,) = simulate(cell, [1.5], 20.0, rtol=1e-6, record=names, protocol=Pacing(100, 2, 5))
    t, V = trace.step_time_ms, trace.step_voltage_mV.astype(float)
    pace = trace.recorded["m.pace"].step_value
    begin, end = np.flatnonzero(t == 5)[1], np.flatnonzero(t == 7)[0]  # each edge has two steps
    assert np.flatnonzero(pace).tolist() == [*range(begin, end + 1)]
    assert set(pace) == {0, 1}
    slope = trace.step_dvdt_mV_per_ms.astype(float)
    leak, clock = 0.2 * (V + 70), np.sin(t) * V
    expected = {
        "m.i_stim": (-80 * pace, 0 * t),
        "m.i_leak": (leak, 0.2 * slope),
        "m.i_clock": (clock, np.cos(t) * V + np.sin(t) * slope),
        "m.i_all": (-80 * pace + 4.5 * leak + clock, 4.5 * 0.2 * slope + np.cos(t) * V + np.sin(t) * slope),
        "x": (0.5 * np.exp(-t / 3), -0.5 / 3 * np.exp(-t / 3)),
    }
    for name, (value, change) in expected.items():
        np.testing.assert_allclose(trace.recorded[name].step_value, value, rtol=1e-5, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(trace.recorded[name].step_slope, change, rtol=1e-5, atol=1e-4, err_msg=name)
    stimulus = trace.recorded["m.i_stim"]
    assert stimulus.at([4.999, 5, 6.999, 7, 20]).tolist() == [0, -80, -80, 0, 0]
    np.testing.assert_allclose(-trace.recorded["m.i_all"].step_value, slope, rtol=1e-6)


def test_constants(cell):
    names = ["m.amplitude", "m.area", "m.gain", "m.pace", "m.i_leak.g"]
    (trace,) = simulate(cell, [1.5], 3.0, record=names)
    for name, value in zip(names, (-80, -160, 4.5, 0, 0.2), strict=True):
        recording = trace.recorded[name]
        np.testing.assert_array_equal(recording.step_value, np.full(len(trace.step_time_ms), value, np.float32), name)
        assert not recording.step_slope.any()


def test_a_variable_that_no_equation_uses(cell):
    (trace,) = simulate(cell, [1.0], 3.0, record=["m.unused", "x"])
    x, dx = trace.recorded["x"].step_value, trace.recorded["x"].step_slope
    np.testing.assert_allclose(trace.recorded["m.unused"].step_value, x**2 - 160, rtol=1e-6)
    np.testing.assert_allclose(trace.recorded["m.unused"].step_slope, 2 * x * dx, rtol=1e-5)


def test_names(cell):
    (trace,) = simulate(cell, [1.0], 3.0, record=["x", "m.x", "V", "m.V", "x", "m.x"])
    assert list(trace.recorded) == ["x", "m.x", "V", "m.V"]
    assert np.array_equal(trace.recorded["x"].step_value, trace.recorded["m.x"].step_value)
    assert np.array_equal(trace.recorded["m.V"].step_value, trace.step_voltage_mV)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (["m.i_leek"], "record: the model has no state or variable 'm.i_leek'; did you mean m.i_leak?"),
        (["x", "y"], "record: the model has no state or variable 'y'"),
        (["zzzzzz"], "record: the model has no state or variable 'zzzzzz'; known are m.V, m.amplitude, .*, V, x$"),
        (["engine.time"], "record: the model has no state or variable 'engine.time'"),
        (["i_leak"], "record: the model has no state or variable 'i_leak'; did you mean m.i_leak?"),
        ("x", "record: got the text 'x'; allowed is a list of names"),
    ],
)
def test_wrong_names(cell, record, message):
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        simulate(cell, [1.0], 3.0, record=record)


def test_at_most_40_names_are_listed():
    cell = load_cell("akwaboah2021")
    with pytest.raises(UserError, match=r"; known are (\S+, ){39}\S+ and [1-9]\d+ more$"):
        simulate(cell, np.ones(5), 3.0, record=["zzzzzz"])


def test_nan_and_infinity_are_recorded(tmp_path):
    cell = small_cell(tmp_path, {"V": 1}, {"V": "-1"}, "root = sqrt(V)\nhuge = 1e30 * exp(40 * V)\ninverse = 1 / V")
    (trace,) = simulate(cell, [], 2.0, record=["m.root", "m.huge", "m.inverse"])
    assert trace.status == "ok"
    V = trace.step_voltage_mV.astype(float)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        np.testing.assert_allclose(trace.recorded["m.root"].step_value, np.sqrt(V), rtol=1e-4)
        np.testing.assert_array_equal(np.isinf(trace.recorded["m.huge"].step_value), 1e30 * np.exp(40 * V) > 3.5e38)
        np.testing.assert_allclose(trace.recorded["m.inverse"].step_value, 1 / V, rtol=1e-4)
