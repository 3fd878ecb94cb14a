"""Loaded cell models and their right-hand side in NumPy."""

import json
from dataclasses import replace

import myokit
import myokit.formats
import numpy as np
import pytest
from small_cells import RELAXES, START, mmt, small_cell
from trace_shapes import REFERENCE

from cardioemu.common.errors import UserError
from cardioemu.simulation import Cell, Pacing, load_cell, simulate

RECORDS = json.loads((REFERENCE / "derivatives.json").read_text())["records"]
VARIANTS = ["notebook", "program", "corrected"]
SCALED = ("ICaL", "IK1", "IKr", "IKur", "INa")


def values(table):
    return np.array(list(table.values()))


# The bundled model


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: f"{r['variant']}-{r['state_name']}-{r['scales'][0]}")
def test_derivatives_agree_with_the_reference(record):
    cell = load_cell("akwaboah2021", record["variant"])
    derivatives = cell.derivatives(values(record["state"]), record["scales"])
    np.testing.assert_allclose(derivatives, values(record["derivatives"]), rtol=1e-8, atol=1e-12)


def test_names_of_states_and_scales():
    cell = load_cell("akwaboah2021")
    assert cell.states == tuple(RECORDS[0]["state"])
    assert cell.scaled == SCALED
    assert cell.potential == 0
    assert cell.name == "akwaboah2021"


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_start_from_their_own_state(variant):
    cell = load_cell("akwaboah2021", variant)
    name = "notebook_initial" if variant == "notebook" else "program_initial"
    expected = next(values(r["state"]) for r in RECORDS if r["state_name"] == name)
    np.testing.assert_array_equal(cell.initial_state, expected)
    assert cell.initial_state.dtype == np.float64
    assert cell.variant == variant


def test_many_cells_have_the_derivatives_of_each_cell_alone():
    cell = load_cell("akwaboah2021")
    states = np.stack([values(r["state"]) for r in RECORDS[:6]])
    scales = np.random.default_rng(0).uniform(0, 2, (6, 5))
    alone = np.stack([cell.derivatives(y, p) for y, p in zip(states, scales, strict=True)])
    assert alone.shape == (6, 30)
    # NumPy's vector functions may differ from its scalar ones by a rounding.
    np.testing.assert_allclose(cell.derivatives(states, scales), alone, rtol=1e-8, atol=1e-12)
    same = np.broadcast_to(scales[0], (6, 5))
    np.testing.assert_array_equal(cell.derivatives(states, scales[0]), cell.derivatives(states, same))
    assert cell.derivatives(states[:1], scales[:1]).shape == (1, 30)


@pytest.mark.parametrize(
    ("state", "scales", "message"),
    [
        ((29,), (5,), r"state: got shape \(29,\); allowed is \(30,\) or \(cells, 30\)"),
        ((2, 3, 30), (5,), r"state: got shape \(2, 3, 30\)"),
        ((30,), (4,), r"scales: got shape \(4,\); allowed is \(5,\) or \(cells, 5\)"),
        ((30,), (), r"scales: got shape \(\)"),
    ],
)
def test_wrong_shapes(state, scales, message):
    with pytest.raises(ValueError, match=message):
        load_cell("akwaboah2021").derivatives(np.ones(state), np.ones(scales))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "akwaboah2021", "variant": "Program"}, r"notebook, program, corrected$"),
        ({"name": "akwaboah2021", "scaled": {"IKr": "ikr.K_K"}}, "scaled.IKr: .* no constant 'ikr.K_K'; did you mean"),
        ({"name": "akwaboah2021", "scaled": {"V": "membrane.V"}}, "scaled.V: 'membrane.V' is not a constant"),
        ({"name": "akwaboah2021", "scaled": {"a": "phys.T", "b": "phys.T"}}, "phys.T is scaled twice"),
        ({"name": "akwaboah2021", "scaled": {"a": "phys.T", "b": "phys.RTF"}}, "phys.RTF is scaled twice.*as phys.T"),
    ],
)
def test_wrong_names(arguments, message):
    with pytest.raises(UserError, match=message):
        load_cell(**arguments)


# Other models


def test_scaled_constant_of_another_model(tmp_path):
    cell = small_cell(tmp_path, START, RELAXES, "g = 0.05", {"IKr": "m.g"})
    assert cell.scaled == ("IKr",)
    assert cell.name == "small"
    assert cell.variant is None
    state, scales = np.array([[-20.0, 0.3], [0.0, 0.9]]), np.array([[1.0], [0.4]])
    V, n, g = *state.T, 0.05 * scales[:, 0]
    np.testing.assert_allclose(cell.derivatives(state, scales), np.stack([-g * (V + 80) * n, (1 - n) / 10], axis=1))


def test_nothing_scaled(tmp_path):
    cell = small_cell(tmp_path, START, RELAXES, "g = 0.05")
    assert cell.scaled == ()
    assert cell.derivatives(cell.initial_state, []) == pytest.approx([-0.9, 0.07])


def test_constants_derived_from_a_scaled_one_follow_it(tmp_path):
    cell = small_cell(tmp_path, START, RELAXES, "g0 = 0.05\nhalf = g0 / 2\ng = half + 0.1 * half * 10", {"x": "m.g0"})
    for scale in (0.0, 1.0, 3.0):
        assert cell.derivatives(cell.initial_state, [scale])[0] == pytest.approx(-0.05 * scale * 60 * 0.3)
    # A scaled constant may itself be derived.
    cell = small_cell(tmp_path, START, RELAXES, "h = 0.1\ng = h / 2", {"x": "m.g"})
    assert cell.derivatives(cell.initial_state, [2.0])[0] == pytest.approx(-0.1 * 60 * 0.3)


def test_names_with_a_meaning_in_generated_code(tmp_path):
    more = "[other]\nn = 0.5 + m.n\nint = double\n    double = 2 * n\n[m_n]\nn = other.int + m.if_"
    start = {"V": -20, "n": 0.3, "if_": 0.1, "p0": 0.2, "numpy": 0.5, "VEC": 0.7}
    rates = {"V": "m_n.n + P", "n": "p0 * numpy", "if_": "VEC - numpy", "p0": "-p0 * Y", "numpy": "-numpy", "VEC": "V"}
    path = tmp_path / "names.mmt"
    path.write_text(mmt(start, rates, "P = 3\nY = 2 * P") + more)
    cell = load_cell(path, scaled={"while": "m.P"})
    state = np.array([-20, 0.3, 0.1, 0.2, 0.5, 0.7])
    V, n, if_, p0, numpy, VEC = state
    P = 3 * 1.5
    expected = [2 * (0.5 + n) + if_ + P, p0 * numpy, VEC - numpy, -p0 * 2 * P, -numpy, V]
    np.testing.assert_allclose(cell.derivatives(state, [1.5]), expected, rtol=1e-14)
    assert simulate(cell, [1.5], 0.01)[0].dvdt_mV_per_ms(0) == pytest.approx(expected[0], rel=1e-6)


def test_same_name_in_two_components(tmp_path):
    path = tmp_path / "two.mmt"
    path.write_text("[[model]]\na.n = 1\n" + mmt(START, RELAXES, "g = 1")[10:] + "[a]\ndot(n) = -n * m.n\n")
    cell = load_cell(path)
    assert sorted(cell.states) == ["V", "a.n", "m.n"]
    derivatives = dict(zip(cell.states, cell.derivatives(cell.initial_state, []), strict=True))
    assert derivatives == pytest.approx({"a.n": -0.3, "V": -18, "m.n": 0.07})


def test_seconds_and_volts_become_ms_and_mV(tmp_path):
    usual = (
        "[[model]]\nm.V = -80\nm.n = 0.1\n[engine]\ntime = 0 [ms] in [ms] bind time\n[m]\ng = 0.05 [1/ms] in [1/ms]\n"
    )
    usual += "dot(V) = -g * n * (V - 20 [mV]) in [mV] label membrane_potential\n"
    usual += "dot(n) = (1 / (1 + exp(-(V + 40 [mV]) / 8 [mV])) + 0.1 - n) / 5 [ms]\n"
    other = usual.replace("0 [ms] in [ms]", "0 [s] in [s]").replace("0.05 [1/ms] in [1/ms]", "50 [1/s] in [1/s]")
    other = other.replace("5 [ms]", "0.005 [s]").replace("20 [mV]", "0.02 [V]").replace("40 [mV]", "0.04 [V]")
    other = other.replace("8 [mV]", "0.008 [V]").replace("in [mV]", "in [V]").replace("m.V = -80", "m.V = -0.08")
    traces = []
    for name, text in (("usual", usual), ("other", other)):
        (tmp_path / f"{name}.mmt").write_text(text)
        cell = load_cell(tmp_path / f"{name}.mmt", scaled={"g": "m.g"})
        assert cell.initial_state == pytest.approx([-80, 0.1])
        traces.append(simulate(cell, [0.8], 100.0, rtol=1e-8)[0])
    t = np.linspace(0, 100, 1001)
    assert np.ptp(traces[0].voltage_mV(t)) > 70
    np.testing.assert_allclose(traces[1].voltage_mV(t), traces[0].voltage_mV(t), atol=1e-4)


def test_cellml(tmp_path):
    exact = small_cell(tmp_path, START, RELAXES, "g = 0.05", {"g": "m.g"})
    myokit.formats.exporter("cellml").model(str(tmp_path / "small.cellml"), myokit.load_model(tmp_path / "small.mmt"))
    cell = load_cell(tmp_path / "small.cellml", scaled={"g": "m.g"})
    state = np.array([-33.0, 0.6])
    assert sorted(cell.states) == ["V", "n"]
    order = [cell.states.index(name) for name in exact.states]
    ours = cell.derivatives(state[np.argsort(order)], [0.7])[order]
    np.testing.assert_allclose(ours, exact.derivatives(state, [0.7]), rtol=1e-14)


def test_component_named_variant_without_a_choice_is_no_variant(tmp_path):
    text = mmt(START, RELAXES, "g = variant.size") + "[variant]\nsize = 1\n"
    (tmp_path / "v.mmt").write_text(text)
    assert load_cell(tmp_path / "v.mmt").variant is None
    with pytest.raises(UserError, match="got 'a'; this model has no variants"):
        load_cell(tmp_path / "v.mmt", "a")


def test_cell_is_a_plain_value():
    cell = load_cell("akwaboah2021")
    other = replace(cell, name="renamed")
    assert isinstance(other, Cell)
    assert other.states == cell.states
    assert repr(cell) == "Cell(name='akwaboah2021', variant='program')"


def test_different_cells_have_different_digests():
    names = load_cell("akwaboah2021").scaled_constants
    paced = Pacing(period_ms=800.0)
    stimulus = myokit.pacing.blocktrain(800, 1)
    cells = [
        load_cell("akwaboah2021"),
        load_cell("akwaboah2021", variant="corrected"),
        load_cell("akwaboah2021", scaled=dict(reversed(names.items()))),
        load_cell("akwaboah2021", parameters={"phys.T": 300}),
        load_cell("akwaboah2021", initial_state={"V": -70}),
        replace(load_cell("akwaboah2021"), protocol=paced),
        replace(load_cell("akwaboah2021"), protocol=stimulus),
        replace(load_cell("akwaboah2021"), protocol={"pace": stimulus}),
        replace(load_cell("akwaboah2021"), protocol=myokit.TimeSeriesProtocol([0, 1], [0, 2])),
    ]
    digests = [cell.digest for cell in cells]
    assert len(set(digests)) == len(cells)
    assert load_cell("akwaboah2021", variant="program").digest == digests[0]
    assert replace(cells[0], protocol=Pacing(period_ms=800.0)).digest == digests[5]
    assert replace(cells[0], protocol=myokit.pacing.blocktrain(800, 1)).digest == digests[6]
