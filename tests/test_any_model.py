"""Loading of other models: units, the membrane potential, protocols, and constants and states set by name."""

import os
import warnings
from pathlib import Path

import myokit
import numpy as np
import pytest
from small_cells import small_cell

from cardioemu.common.errors import UserError
from cardioemu.simulation import CellSettings, SolverSettings, load_cell, simulate

TEXT = """[[model]]
m.V = -2 * m.base
m.n = 0.1
gate.n = 0.3
[engine]
time = 0 TIME bind time
pace = 0 bind pace
[m]
base = 10
g = 0.05 * half label g_Kr
    half = 1
twice = 2 * g
dot(V) = -twice * gate.n * (V - E) - dot(n) + 3 * engine.pace POTENTIAL label membrane_potential
E = 4 * base
dot(n) = (1 / (1 + exp(-V / 8)) - n) / 5 + 0.001 * V
current = g * V label I_Kr
[gate]
dot(n) = -n * m.n
[[protocol]]
1 0.5 0.1 2 0
"""


def load(folder, time="in [ms]", volt="in [mV]", change=("", ""), **settings):
    path = folder / "any.mmt"
    path.write_text(TEXT.replace("TIME", time).replace("POTENTIAL", volt).replace(*change))
    return load_cell(path, **settings)


# Units


@pytest.mark.parametrize(("volt", "mV"), [("in [mV]", 1), ("", 1), ("in [1]", 1), ("in [V]", 1000), ("in [uV]", 1e-3)])
@pytest.mark.parametrize(
    ("time", "ms"),
    [("in [ms]", 1), ("", 1), ("in [1]", 1), ("in [s]", 1000), ("in [minute]", 60000), ("in [us]", 1e-3)],
)
def test_rates_equal_those_of_myokit_in_ms_and_mV(tmp_path, time, ms, volt, mV):
    cell = load(tmp_path, time, volt, scaled={"a": "m.g"})
    original = myokit.load_model(tmp_path / "any.mmt")
    assert cell.ms_per_file_time == pytest.approx(ms, rel=1e-14)
    assert cell.initial_state == pytest.approx([-20 * mV, 0.1, 0.3])
    for V in (-20, 3.0):
        expected = np.array(original.evaluate_derivatives([V, 0.1, 0.3], {"pace": 0.7})) / ms
        expected[0] *= mV
        ours = cell.derivatives([V * mV, 0.1, 0.3], [1], inputs=[0.7])
        np.testing.assert_allclose(ours, expected, rtol=1e-13)


def test_the_protocol_keeps_the_unit_of_the_file(tmp_path):
    cell = load(tmp_path, "in [s]")
    (event,) = cell.protocol.events()
    assert (event.start(), event.duration(), event.period()) == (0.5, 0.1, 2)
    assert load(tmp_path, change=("[[protocol]]\n1 0.5 0.1 2 0\n", "")).protocol is None


# The membrane potential


@pytest.mark.parametrize(
    ("change", "settings", "expected"),
    [
        (("", ""), {}, "V"),
        (("", ""), {"potential": "gate.n"}, "gate.n"),
        (("", ""), {"potential": "m.n"}, "m.n"),
        (("in [mV] label membrane_potential", "in [mV]"), {}, "V"),
        (("in [mV] label membrane_potential", "in [V]"), {}, "V"),
        (("in [mV] label membrane_potential\n", "\n    label membrane_potential\n"), {}, "V"),
        (("dot(n) = -n * m.n", "dot(n) = -n * m.n in [mV]"), {}, "V"),
    ],
)
def test_unambiguous_potential(tmp_path, change, settings, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cell = load(tmp_path, change=change, **settings)
    assert cell.states[cell.potential] == expected


def test_a_guessed_potential_causes_a_warning(tmp_path):
    with pytest.warns(UserWarning, match=r"no state is labelled membrane_potential; using m.V; set simulator.pot"):
        cell = load(tmp_path, volt="", change=("label membrane_potential", ""))
    assert cell.states[cell.potential] == "V"


def test_without_a_voltage_the_first_state_is_the_potential(tmp_path):
    growth = "dot(a) = 0.5 * a in [mM]\ndot(b) = -b in [mM]\n"
    (tmp_path / "growth.mmt").write_text(f"[[model]]\np.a = 2\np.b = 1\n[p]\ntime = 0 bind time\n{growth}")
    with pytest.warns(UserWarning, match="using p.a"):
        cell = load_cell(tmp_path / "growth.mmt")
    (trace,) = simulate(cell, [], 4.0, rtol=1e-8)
    assert trace.voltage_mV(4.0) == pytest.approx(2 * np.exp(2), rel=1e-6)


# Constants and states by name


def test_parameters_change_everything_that_depends_on_them(tmp_path):
    cell = load(tmp_path, "in [s]", "in [V]", parameters={"m.base": 7, "g_Kr": np.float64(0.25), "m.g.half": 9})
    E, V, n = 28, -14, 0.1  # g is computed from m.g.half in the file, and is 0.25 now
    dn = (1 / (1 + np.exp(-V / 8)) - n) / 5 + 0.001 * V
    assert cell.initial_state[0] == -14000
    expected = [1000 * (-2 * 0.25 * 0.3 * (V - E) - dn), dn, -0.3 * 0.1]
    np.testing.assert_allclose(cell.derivatives(cell.initial_state, []), np.array(expected) / 1000, rtol=1e-13)


def test_a_scaled_parameter_is_scaled_from_its_new_value(tmp_path):
    cell = load(tmp_path, parameters={"m.g": 0.2}, scaled={"IKr": "g_Kr"})
    assert cell.scaled_constants == {"IKr": "m.g"}
    other = load(tmp_path, parameters={"m.g": 0.1})
    np.testing.assert_allclose(cell.derivatives([-9, 0.1, 0.3], [0.5]), other.derivatives([-9, 0.1, 0.3], []))


def test_initial_states_are_set_in_the_units_of_the_cell(tmp_path):
    cell = load(tmp_path, volt="in [V]", initial_state={"V": -85, "m.n": 0.2})
    assert cell.states == ("V", "m.n", "gate.n")
    np.testing.assert_array_equal(cell.initial_state, [-85, 0.2, 0.3])
    np.testing.assert_array_equal(load(tmp_path, initial_state={"m.V": 1, "gate.n": 0}).initial_state, [1, 0.1, 0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parameters": {"m.bas": 1}}, r"parameters.m.bas: the model has no constant 'm.bas'; did you mean m.base"),
        ({"parameters": {"g_K": 1}}, r"the model has no constant 'g_K'; did you mean g_Kr"),
        ({"parameters": {"m.V": 1}}, r"parameters.m.V: 'm.V' is not a constant of the model but a state"),
        ({"parameters": {"engine.pace": 1}}, r"'engine.pace' is not a constant of the model but an input"),
        ({"parameters": {"m.current": 1}}, r"'m.current' is not a constant of the model but computed; choose a const"),
        ({"parameters": {"m.base": np.nan}}, r"simulator.parameters.m.base: got nan; allowed is a finite number"),
        ({"parameters": {"m.base": True}}, r"parameters.m.base: got True; allowed is a finite number"),
        ({"parameters": {"m.base": np.inf}}, r"parameters.m.base: got inf; allowed is a finite number"),
        ({"initial_state": {"n": 1}}, r"initial_state.n: the model has no state 'n'; did you mean m.n or gate.n\?"),
        ({"initial_state": {"m.g": 1}}, r"simulator.initial_state.m.g: the model has no state 'm.g'"),
        ({"initial_state": {"V": np.nan}}, r"simulator.initial_state.V: got nan; allowed is a finite number"),
        ({"scaled": {"IKr": "I_Kr"}}, r"scaled.IKr: 'I_Kr' is not a constant of the model but the label of m.current"),
        ({"scaled": {"V": "membrane_potential"}}, r"but the label of m.V, which is a state; choose a constant"),
        ({"scaled": {"IKr": "g_Ks"}}, r"simulator.scaled.IKr: the model has no constant 'g_Ks'; did you mean g_Kr"),
        ({"potential": "m.g"}, r"simulator.potential: the model has no state 'm.g'"),
        ({"potential": "n"}, r"simulator.potential: the model has no state 'n'; did you mean m.n or gate.n\?"),
    ],
)
def test_wrong_settings(tmp_path, settings, message):
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path, **settings)
    assert "\n" not in str(caught.value)


def test_the_variant_is_not_a_parameter():
    with pytest.raises(UserError, match=r"simulator.parameters.variant.choice: .* set simulator.variant"):
        load_cell("akwaboah2021", parameters={"variant.choice": 1})
    ours = load_cell("akwaboah2021", "notebook", parameters={"phys.T": 300})
    assert ours.variant == "notebook"
    assert (ours.derivatives(ours.initial_state, np.ones(5)) != 0).all()


# The same in the config


def test_simulator_refuses_a_wrong_model_when_it_is_made():
    assert CellSettings("akwaboah2021", 10.0).cell.variant == "program"
    with pytest.raises(ValueError, match="allowed is a bundled model"):
        CellSettings("akwaboah", 10.0)
    for duration in (0, -1, float("inf")):
        with pytest.raises(ValueError, match="duration_ms"):
            CellSettings(model="akwaboah2021", duration_ms=duration)


def test_simulator_sets_parameters_states_and_pacing(tmp_path):
    small_cell(tmp_path, {"V": 0}, {"V": "a * pace - V"}, "a = 1\npace = 0 bind pace")
    facts = {"model": str(tmp_path / "small.mmt"), "duration_ms": 10.0, "parameters": {"m.a": 3.0}}
    pacing = {"period_ms": 4.0, "amplitude": 5.0, "count": 1}
    cell = CellSettings(**facts, initial_state={"V": -2.0}, pacing=pacing).cell
    (trace,) = simulate(cell, [], 1.0, rtol=1e-8)
    assert trace.voltage_mV(1.0) == pytest.approx(15 - 17 * np.exp(-1), rel=1e-6)
    with pytest.raises(ValueError, match=r"the model has no constant 'm\.b'"):
        CellSettings(**facts | {"parameters": {"m.b": 1.0}})
    with pytest.raises(ValueError, match=r"set pacing\.period_ms"):
        CellSettings(**facts, pacing={"amplitude": 2.0})
    with pytest.raises(ValueError, match="cannot be paced"):
        CellSettings("akwaboah2021", 10.0, pacing={"period_ms": 4.0})


@pytest.mark.parametrize("wrong", [{"name": "euler"}, {"rtol": 0}, {"rtol": 1}, {"threads": 0}])
def test_solver_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SolverSettings(**wrong)


# The public collection github.com/myokit/models


COLLECTION = sorted(Path(os.environ.get("CARDIOEMU_MODELS", "nowhere")).rglob("*.mmt"))


@pytest.mark.skipif(not COLLECTION, reason="CARDIOEMU_MODELS names no folder with .mmt files")
@pytest.mark.filterwarnings("ignore:simulator.model", "ignore::RuntimeWarning")
@pytest.mark.parametrize("path", COLLECTION, ids=lambda path: path.stem)
def test_public_models_have_the_rates_of_myokit(path):
    cell, original = load_cell(path), myokit.load_model(str(path))
    factor = np.full(len(cell.states), 1 / cell.ms_per_file_time)
    in_mV = np.ones(len(cell.states))
    if original.get(cell.model.label("membrane_potential").qname()).unit() == myokit.units.V:
        in_mV[cell.potential] = 1000
    start = np.array(original.initial_values(as_floats=True))
    for shake in (0, 0.01, 0.05):
        state = start * (1 + shake * np.random.default_rng(0).uniform(-1, 1, len(start)))
        expected = np.array(original.evaluate_derivatives(state, ignore_errors=True)) * factor * in_mV
        ours = cell.derivatives(state * in_mV, [])
        assert np.isfinite(ours).all()
        finite = np.isfinite(expected)  # aguilar-2017 divides by an infinite constant, which fails in Myokit's Python
        assert finite.sum() >= len(start) - 1
        np.testing.assert_allclose(ours[finite], expected[finite], rtol=1e-10)


@pytest.mark.skipif(not COLLECTION, reason="CARDIOEMU_MODELS names no folder with .mmt files")
def test_public_models_scale_by_label():
    labelled = [path for path in COLLECTION if "label g_Kr" in path.read_text()]
    assert len(labelled) > 20
    for path in labelled:
        cell = load_cell(path, scaled={"IKr": "g_Kr"})
        state = cell.initial_state + 0.01
        blocked, control = (cell.derivatives(state, [scale]) for scale in (0.0, 1.0))
        assert (blocked != control).any()
