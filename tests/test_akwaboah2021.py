"""The model file akwaboah2021.mmt, read by Myokit alone, against the reference derivatives and mpmath."""

import json
from importlib.resources import files
from pathlib import Path

import mpmath
import myokit
import numpy as np
import pytest

REFERENCE = json.loads((Path(__file__).parent / "data" / "akwaboah2021" / "derivatives.json").read_text())
RECORDS = REFERENCE["records"]
SCALES = REFERENCE["meta"]["scale_order"]
VARIANTS = ["notebook", "program", "corrected"]
STATES = list(RECORDS[0]["state"])
CURRENTS = list(RECORDS[0]["currents_A_per_F"])

# Voltages in mV at which a published expression is 0/0 or has a pole.
SINGULAR_VOLTAGES = [-47.13, -35, -4.8e-8, 0, 0.09457633, 5, 19.9]


@pytest.fixture(scope="module")
def parsed() -> myokit.Model:
    return myokit.load_model(str(files("cardioemu") / "simulation" / "models" / "akwaboah2021.mmt"))


@pytest.fixture
def model(parsed) -> myokit.Model:
    return parsed.clone()


def reference_state(name: str) -> list[float]:
    return list(next(r for r in RECORDS if r["state_name"] == name)["state"].values())


def evaluate(variables, state, **changed) -> np.ndarray:
    """Values of ``variables`` (of a state: its derivative) at ``state``, with the states in ``changed`` replaced."""
    variables = list(variables)
    names = [myokit.Name(s) for s in variables[0].model().states()]
    values = {name: changed.get(name.var().name(), x) for name, x in zip(names, state, strict=True)}
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        return np.array([v.rhs().eval(values) for v in variables])


def by_name(model: myokit.Model) -> dict[str, myokit.Variable]:
    return {v.name(): v for v in model.variables()}


# The file


def test_is_valid_and_consistent_in_units(model):
    model.validate()
    assert not model.has_warnings()
    model.check_units(myokit.UNIT_STRICT)
    assert all(v.unit() is not None for v in model.variables(deep=True))


def test_names_required_by_the_loader(model):
    assert model.label("membrane_potential") is model.get("membrane.V")
    assert model.time().unit() == myokit.units.ms
    assert [v.name() for v in model.get("scales").variables()] == SCALES
    assert [v.eval() for v in model.get("scales").variables()] == [1] * 5
    assert [model.get("variant").get(v).eval() for v in VARIANTS] == [0, 1, 2]
    assert model.get("variant.choice").eval() == 1
    for current in CURRENTS:
        assert by_name(model)[current].unit() == myokit.parse_unit("A/F")


# The equations


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: f"{r['variant']}-{r['state_name']}-{r['scales'][0]}")
def test_derivatives_and_currents_agree_with_the_reference(model, record):
    model.set_value("variant.choice", VARIANTS.index(record["variant"]))
    for name, scale in zip(SCALES, record["scales"], strict=True):
        model.set_value(f"scales.{name}", scale)
    state = list(record["state"].values())

    derivatives = model.evaluate_derivatives(state)
    np.testing.assert_allclose(derivatives, list(record["derivatives"].values()), rtol=1e-8, atol=1e-12)

    currents = evaluate((by_name(model)[c] for c in CURRENTS), state)
    np.testing.assert_allclose(currents, list(record["currents_A_per_F"].values()), rtol=1e-12)


@pytest.mark.parametrize("state_name", ["program_initial", "notebook_initial", "plateau"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_only_the_corrected_variant_conserves_charge(model, variant, state_name):
    """The charge of the membrane equals the charge of the ions inside, except for a constant."""
    model.set_value("variant.choice", VARIANTS.index(variant))
    var = by_name(model)
    rate = dict(zip(STATES, evaluate(model.states(), reference_state(state_name)), strict=True))

    def const(name):
        return var[name].eval()

    calcium = [
        const("V_i") * rate["Ca_i"],
        const("V_i") * const("CM_tot") * rate["b_CMi"],
        const("V_i") * const("TC_tot") * rate["b_TC"],
        const("V_i") * const("TMC_tot") * rate["b_TMC"],
        const("V_sub") * rate["Ca_sub"],
        const("V_sub") * const("CM_tot") * rate["b_CMs"],
        const("V_up") * rate["Ca_up"],
        const("V_rel") * rate["Ca_rel"],
        const("V_rel") * const("CQ_tot") * rate["b_CQ"],
    ]
    monovalent = [const("V_i") * rate["Na_i"], const("V_i") * rate["K_i"]]
    terms = np.array([const("C_m") * rate["V"]] + [-const("F") * q for q in monovalent + [2 * c for c in calcium]])

    imbalance = abs(terms.sum()) / abs(terms).sum()
    assert imbalance < 1e-13 if variant == "corrected" else imbalance > 1e-4


def test_sodium_inactivation_jumps_at_minus_40_mV(model):
    """The voltage -40 mV itself belongs to the upper branch."""
    rates = [model.get(f"ina.{name}") for name in ("alpha_h", "beta_h", "alpha_j", "beta_j")]
    state = reference_state("plateau")
    below = evaluate(rates, state, V=np.nextafter(-40, -41))
    at = evaluate(rates, state, V=-40)
    np.testing.assert_allclose(below, [0.000518366, 0.323056, 4.00014e-06, 0.0791485], rtol=2e-6)
    np.testing.assert_allclose(at, [0, 0.0658961, 0, 0.250818], rtol=2e-6)


# The singular voltages


def test_finite_from_minus_200_to_200_mV(model):
    for V in np.linspace(-200, 200, 161):
        assert np.isfinite(evaluate(model.states(), reference_state("plateau"), V=V)).all()


@pytest.mark.parametrize("voltage", SINGULAR_VOLTAGES)
def test_derivatives_are_finite_and_continuous_at_singular_voltages(model, voltage):
    def derivatives(offset):
        values = evaluate(model.states(), reference_state("plateau"), V=voltage + offset)
        assert np.isfinite(values).all()
        return values

    centre = derivatives(0)
    rounding = 1e-12 + 1e-10 * abs(centre)
    slope = np.maximum(abs(derivatives(1e-4) - centre), abs(derivatives(-1e-4) - centre)) / 1e-4
    for offset in (1e-12, 1e-9, 1e-6):
        for sign in (1, -1):
            assert (abs(derivatives(sign * offset) - centre) <= 2 * slope * offset + rounding).all()


def phi(x, k):
    """``x / (exp(x/k) - 1)`` with many digits."""
    return x / mpmath.expm1(x / k) if x else mpmath.mpf(k)


# Expression: (its singular voltage, k, its value at V given the model and mpmath).
SINGULAR_EXPRESSIONS = {
    "ina.alpha_m": (-47.13, 10, lambda V: 0.281165049 * phi(-(V + mpmath.mpf(47.13)), 10)),
    "ical.alpha_d1": (-35, 2.5, lambda V: 0.02839 * phi(-(V + 35), 2.5)),
    "ical.beta_d": (5, 2.5, lambda V: 0.01143 * phi(V - 5, 2.5)),
    "iks.alpha_ks": (19.9, 17, lambda V: 4e-5 * phi(-(V - mpmath.mpf(19.9)), 17)),
    "iks.beta_ks": (19.9, 9, lambda V: 3.5e-5 * phi(V - mpmath.mpf(19.9), 9)),
}
# Distances from the singular voltage in units of k: zero, small, across the edge of the series (0.02), large.
DISTANCES = [0, 1e-15, 1e-12, 1e-9, 1e-6, 1e-4, 1e-3, 0.01, 0.0199999, 0.02, 0.0200001, 0.021, 0.05, 0.3, 1, 4, 8]


@pytest.mark.parametrize("name", SINGULAR_EXPRESSIONS)
def test_singular_rates_keep_their_digits(model, name):
    voltage, k, exact = SINGULAR_EXPRESSIONS[name]
    for z in DISTANCES:
        for V in (voltage + z * k, voltage - z * k):
            (value,) = evaluate([model.get(name)], reference_state("plateau"), V=V)
            with mpmath.workdps(50):
                assert abs(value / exact(mpmath.mpf(V)) - 1) < 1e-13


def test_calcium_driving_force_keeps_its_digits(model):
    state = reference_state("plateau")
    Ca_i = state[STATES.index("Ca_i")]
    for z in DISTANCES:
        for V in (0.09457633 + z * 13.36, 0.09457633 - z * 13.36):
            (value,) = evaluate([model.get("ical.ghk")], state, V=V)
            with mpmath.workdps(50):
                RTF = mpmath.mpf(8.3143) * 310 / 96.4867
                u = mpmath.mpf(V) - 0.09457633
                exact = 4 * 96.4867 / RTF * phi(u, RTF / 2) * (Ca_i * mpmath.exp(2 * u / RTF) - mpmath.mpf(0.341) * 2)
                assert abs(value / exact - 1) < 1e-13


@pytest.mark.parametrize("V", [-100, -10, -1, -0.01, -0.0010001, 0.0010001, 0.01, 1, 10, 100])
def test_alpha_d_keeps_the_published_1e_8_away_from_zero(model, V):
    (value,) = evaluate([model.get("ical.alpha_d2")], reference_state("plateau"), V=V)
    with mpmath.workdps(50):
        exact = 0.0849 * mpmath.mpf(V) / (mpmath.mpf("1.00000001") - mpmath.exp(-mpmath.mpf(V) / 4.8))
    # The denominator is a small difference of two numbers near one.
    assert value == pytest.approx(float(exact), rel=1e-14 + 3e-16 / abs(np.expm1(-V / 4.8)))


@pytest.mark.parametrize("V", [-0.000999, -1e-6, -4.8e-8, 0, 1e-12, 1e-6, 0.000999])
def test_alpha_d_drops_the_published_1e_8_near_zero(model, V):
    (value,) = evaluate([model.get("ical.alpha_d2")], reference_state("plateau"), V=V)
    with mpmath.workdps(50):
        exact = 0.0849 * phi(-mpmath.mpf(V), mpmath.mpf(4.8))
    assert value == pytest.approx(float(exact), rel=4e-9)
