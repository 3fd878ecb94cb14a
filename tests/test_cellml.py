"""CellML 1.0, 1.1 and 2.0: three files of one membrane, in three sets of units, against the same model as .mmt."""

from pathlib import Path

import myokit
import numpy as np
import pytest

from cardioemu.common.errors import UserError
from cardioemu.simulation import load_cell, simulate

DATA = Path(__file__).parent / "data"
VERSIONS = {"1.0": 1000.0, "1.1": 1.0, "2.0": 1000.0}
STATE = {"V": -33.0, "n": 0.6}


def file(version):
    return DATA / f"relaxation_{version}.cellml"


@pytest.mark.parametrize("version", VERSIONS)
def test_rates_equal_those_of_the_mmt_file(version):
    twin, cell = (load_cell(path, scaled={"g": "membrane.g"}) for path in (DATA / "relaxation.mmt", file(version)))
    assert cell.ms_per_file_time == VERSIONS[version]
    assert dict(zip(cell.states, cell.initial_state, strict=True)) == pytest.approx({"V": -80, "n": 0.3}, rel=1e-15)
    assert cell.states[cell.potential] == "V"
    assert cell.protocol is None
    assert cell.equations.time is None
    assert {i.binding for i in cell.equations.inputs} == {"time"}
    for t in np.random.default_rng(0).uniform(0, 90, 200):
        paced = t < 60 and 3 <= t % 20 < 4.5
        expected = twin.derivatives([STATE[name] for name in twin.states], [0.7], inputs=[paced])
        ours = cell.derivatives([STATE[name] for name in cell.states], [0.7], t)
        order = [cell.states.index(name) for name in twin.states]
        np.testing.assert_allclose(ours[order], expected, rtol=1e-13)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_stimulus_in_the_equations_acts_like_the_protocol_of_the_mmt_file(version):
    (paced,) = simulate(load_cell(DATA / "relaxation.mmt"), [], 90.0, rtol=1e-8)
    (trace,) = simulate(load_cell(file(version)), [], 90.0, rtol=1e-8)
    t = np.linspace(0, 90, 9001)
    assert np.ptp(paced.voltage_mV(t)) > 30
    np.testing.assert_allclose(trace.voltage_mV(t), paced.voltage_mV(t), atol=2e-5)


@pytest.mark.parametrize("version", VERSIONS)
def test_rates_equal_those_of_myokit(version):
    cell, original = load_cell(file(version)), myokit.formats.importer("cellml").model(str(file(version)))
    V = original.get("membrane.V")
    per_mV = 1e-3 if V.unit() == myokit.units.V else 1.0
    start = original.initial_values(as_floats=True)
    unit = np.ones(2)
    unit[V.index()] = per_mV
    for t in (0.0, 3.2, 30.0, 43.1):
        expected = original.evaluate_derivatives(start, {"time": t / VERSIONS[version]})
        ours = cell.derivatives(cell.initial_state, [], t)
        np.testing.assert_allclose(ours, expected / unit / VERSIONS[version], rtol=1e-13)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("</model>", ""), "Unable to parse XML"),
        (('units="volt"', 'units="vault"'), "Error on line 3. Unable to resolve network of units"),
        (("<ci>amplitude</ci>", "<ci>amplitute</ci>"), "Error on line 27.* must name a variable from the local comp"),
        (("cellml/1.0#", "cellml/3.0#"), "Unknown CellML version"),
        (('variable_1="rate"', 'variable_1="rat"'), "rat"),
        (("<floor/>", "<flor/>"), "flor"),
        (('name="V" units="volt"', 'name="V" units="ampere"'), r"membrane.V has the unit \[A\]; allowed is a unit li"),
        (('units="second" public', 'units="metre" public'), r"environment.time has the unit \[m\]; allowed is a un"),
        (('<units name="per_second">', '<import/><units name="per_second">'), "Imports are not allowed"),
    ],
)
def test_files_with_errors(tmp_path, change, message):
    text = file("1.0").read_text()
    assert change[0] in text
    (tmp_path / "wrong.cellml").write_text(text.replace(*change))
    with pytest.raises(UserError, match=rf"(?s)simulator.model: .*{message}") as caught:
        load_cell(tmp_path / "wrong.cellml", potential="membrane.V")
    assert "\n" not in str(caught.value)


def test_a_state_without_initial_value_causes_a_warning(tmp_path):
    (tmp_path / "m.cellml").write_text(file("1.0").read_text().replace(' initial_value="0.3"', ""))
    with pytest.warns(UserWarning, match='name="n".* has no initial value'):
        load_cell(tmp_path / "m.cellml")


def test_imports_of_cellml_1_1_are_refused(tmp_path):
    importing = '<import xlink:href="other.cellml" xmlns:xlink="http://www.w3.org/1999/xlink"/>\n  <units name="ms">'
    text = file("1.1").read_text().replace('<units name="ms">', importing)
    (tmp_path / "importing.cellml").write_text(text)
    with pytest.raises(UserError, match=r"importing.cellml cannot be read .* Imports are not supported"):
        load_cell(tmp_path / "importing.cellml")


def test_a_file_without_derivatives_is_refused(tmp_path):
    text = '<model name="x" xmlns="http://www.cellml.org/cellml/2.0#"/>'
    (tmp_path / "empty.cellml").write_text(text)
    with pytest.raises(UserError, match=r"empty.cellml cannot be read"):
        load_cell(tmp_path / "empty.cellml")


def test_a_derivative_in_another_equation_is_converted(tmp_path):
    """n' = 100 (...) becomes n' = V' (...), in s and V."""
    rate = '<cn cellml:units="per_second">100</cn>'
    derivative = "<apply><diff/><bvar><ci>time</ci></bvar><ci>V</ci></apply>"
    (tmp_path / "d.cellml").write_text(file("1.0").read_text().replace(rate, derivative))
    cell, original = load_cell(tmp_path / "d.cellml"), load_cell(file("1.0"))
    assert cell.states == ("V", "n")
    dV, dn = original.derivatives(original.initial_state, [])
    assert cell.derivatives(cell.initial_state, []) == pytest.approx([dV, dn / 0.1 * dV / 1000], rel=1e-13)
