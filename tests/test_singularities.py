"""Removed singularities against 80-digit arithmetic, poles that must stay, and cells at a singularity."""

from dataclasses import dataclass

import myokit
import numpy as np
import pytest
from jacobians import analytic_jacobian
from mpmath import mp
from scipy.integrate import solve_ivp
from small_cells import small_cell

from cardioemu.simulation import load_cell, simulate

mp.dps = 80
SODIUM = "0.32 * (V + 47.13) / (1 - exp(-0.1 * (V + 47.13)))"
SERIES = "1 + x / 2 + x^2 / 12 * (1 - x^2 / 60)"
X = "x = (V + 40) / 10\n"
VFRT = "F = 96485.0\nR = 8314.0\nT = 310.0\nvfrt = V * F / R / T\n"
STATES = {"Ca": 1e-4, "K": 130.0}
NONE = np.empty(0)  # no scales


@dataclass(frozen=True)
class Rate:
    """A rate singular at V0; `more` defines intermediates, `formula` is the rate without rounding and guards."""

    name: str
    V0: float
    rate: str
    more: str = ""
    formula: str = ""


RATES = [
    Rate("sodium", -47.13, SODIUM),
    Rate("with a sign", -55, "-0.01 * (V + 55) / (exp(-(V + 55) / 10) - 1)"),
    Rate("steep", 30, "(V - 30) / (1 - exp(-5 * (V - 30)))"),
    Rate("rounded", -47.13, SODIUM.replace("-0.1 * (V + 47.13)", "-0.1 * V - 4.713"), formula=SODIUM),
    Rate("even", -10, "(1 - exp((V + 10) / -6.24)) / (0.035 * (V + 10) * (1 + exp((V + 10) / -6.24)))"),
    Rate(
        "ghk",
        0,
        "4 * V * F^2 / (R * T) * (Ca * exp(2 * V * F / (R * T)) - 0.341 * 1.8) / (exp(2 * V * F / (R * T)) - 1)",
        VFRT,
    ),
    Rate("ghk named", 0, "vfrt * F * (Ca * exp(2 * vfrt) - 0.341 * K) / (exp(2 * vfrt) - 1)", VFRT),
    Rate("ghk in parts", 0, "part * vfrt", VFRT + "e = exp(vfrt)\nbelow = e - 1\npart = (K * e - 5.4) / below\n"),
    Rate("ghk inside out", 0, "(vfrt * K * exp(vfrt) - vfrt * 5.4) / (exp(vfrt) - 1)", VFRT),
    Rate("times an inverse", -40, "x * (1 / (1 - exp(-x)))", X),
    Rate("over a quotient", -40, "x / ((1 - exp(-x)) / (1 + 0.1 * exp(x)))", X),
    Rate("power -1", -40, "x * (1 - exp(-x))^(-1)", X),
    Rate("power -2", -40, "-x^2 * exp(x) * (1 - exp(-x))^(-2)", X),
    Rate("a pole in a variable", -40, "3 * x * pole", X + "below = 1 - exp(-x)\npole = 1 / below\n"),
    Rate("a pole in a sum", -40, "x * (2 + pole)", X + "pole = 1 / (1 - exp(-x))\n"),
    Rate(
        "in a sum",
        -30,
        "1 / (alpha + beta)",
        "alpha = 7.19e-5 * (V + 30) / (1 - exp(-0.148 * (V + 30)))\n"
        "beta = 1.31e-4 * (V + 30) / (exp(0.0687 * (V + 30)) - 1)\n",
    ),
    Rate("two at a time", 5, "x / (1 - exp(-x)) * (V - 5) / (exp((V - 5) / 8) - 1) / K", X),
    Rate("periodic", 0, "sin(V / 10) / sin(V / 20)"),
    Rate("own guard", -47.13, f"if(V == -47.13, 3.2, {SODIUM})", formula=SODIUM),
    Rate("own window", -47.13, f"if(abs(V + 47.13) < 1e-6, 3.2, {SODIUM})", formula=SODIUM),
    Rate("own wide window", -47.13, f"if(abs(V + 47.13) > 0.001, {SODIUM}, 3.2)", formula=SODIUM),
    Rate("own series", -40, f"if(abs(x) < 0.02, {SERIES}, x / (1 - exp(-x)))", X, "x / (1 - exp(-x))"),
    Rate("own guard, named", -40, "if(below == 0, 1, x / below)", X + "below = 1 - exp(-x)\n", "x / below"),
]


@pytest.fixture
def cell_with(tmp_path):
    """A function that builds cells with a given dV/dt and constant other states."""

    def make(rate, more="", scaled=None):
        rates = {"V": rate, **dict.fromkeys(STATES, "0")}
        return small_cell(tmp_path, {"V": -80, **STATES}, rates, more, scaled)

    return make


def at(V_mV):
    return np.array([V_mV, *STATES.values()])


def windows(cell):
    """The voltages around which the equations of a cell switch to a cubic."""
    pieces = [e for _, rhs in cell.equations.assignments for e in rhs.walk(myokit.Piecewise)]
    guards = [e for e in pieces if isinstance(e[0], myokit.Less) and isinstance(e[0][0], myokit.Abs)]
    distances = [(e[0][0][0], e[1]) for e in guards]
    return sorted(d[1].value() for d, cubic in distances if isinstance(d, myokit.Minus) and d in cubic.walk())


def exact(rate, V_mV):
    """Value and slope at a distance of 1e-25 mV, where the formula has a value even if V_mV is V0."""

    def formula(V):
        known = {"V": V, "exp": mp.exp, "sin": mp.sin, **STATES}
        exec(rate.more.replace("^", "**"), known)
        return eval((rate.formula or rate.rate).replace("^", "**"), known)

    V, h = mp.mpf(float(V_mV)) + mp.mpf("1e-25"), mp.mpf("1e-20")
    return float(formula(V)), float((formula(V + h) - formula(V - h)) / (2 * h))


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: rate.name)
def test_value_and_slope_at_every_distance(rate, cell_with):
    cell = cell_with(rate.rate, rate.more)
    jacobian = analytic_jacobian(cell)
    distances = np.concatenate([[0.0], 10.0 ** np.arange(-16, 1.01, 0.25)])
    potentials = np.unique(np.concatenate([rate.V0 - distances, rate.V0 + distances]))
    expected = np.array([exact(rate, V) for V in potentials])
    values = [cell.derivatives(at(V), NONE)[0] for V in potentials]
    with np.errstate(all="ignore"):  # raised at V0 by the expression outside the window
        slopes = [jacobian(at(V), NONE)[0, 0] for V in potentials]
    np.testing.assert_allclose(values, expected[:, 0], rtol=1e-11)
    np.testing.assert_allclose(slopes, expected[:, 1], rtol=1e-8, atol=1e-8 * abs(expected[:, 1]).max())


@pytest.mark.parametrize(("name", "left"), [("ghk", {"V"}), ("ghk in parts", {"V"}), ("ghk inside out", {"V", "K"})])
def test_a_window_contains_numbers_and_only_inseparable_states(name, left, cell_with):
    (rate,) = (rate for rate in RATES if rate.name == name)
    equations = cell_with(rate.rate, rate.more).equations
    (window,) = (e for _, rhs in equations.assignments for e in rhs.walk(myokit.Piecewise))
    assert {reference.var().name() for reference in window[1].references()} == left


def test_every_root_of_a_periodic_denominator_is_removed(cell_with):
    centres = windows(cell_with("sin(V / 10) / sin(V / 20)"))
    np.testing.assert_allclose(centres, 20 * np.pi * np.arange(-3, 4), atol=1e-8)


@pytest.mark.parametrize(
    "rate",
    [
        "1 / (V + 10)",
        "x^2 / (1 - exp(-x))^3",
        "(V + 40.001) / (1 - exp(-x))",
        "x / (exp(-x) - 1.00000001)",
        "Ca * abs(x) / (1 - exp(-x))",
        "1 + 1e-12 / (V + 10)",
        "x / (1 - exp(-x * Ca))",
        "x / (1 - exp(-x * g))",
        "x / (1 - exp(-x * pace))",
        "if(V == -40, 1, x) / K",
        f"if(abs(x) < 0.02, {SERIES}, x / (1 - exp(-x)))",
    ],
)
def test_other_singularities_stay(rate, cell_with):
    cell = cell_with(rate, X + "g = 1\npace = 0.5 bind pace\n", {"g": "m.g"})
    assert windows(cell) == []
    known = {"g": 1, "pace": 0.5, "exp": np.exp, "abs": abs, "either": lambda *e: e[1] if e[0] else e[2], **STATES}
    code = rate.replace("^", "**").replace("if(", "either(")
    with np.errstate(all="ignore"):
        for V in np.array([-40, -40 + 1e-9, -10, 7.5]):
            expected = eval(code, {"V": V, "x": (V + 40) / 10, **known})
            np.testing.assert_allclose(cell.derivatives(at(V), [1])[0], expected, rtol=1e-12)


def test_a_pole_stays_next_to_a_removed_singularity(cell_with):
    cell = cell_with("x / (1 - exp(-x)) / (V - 3)", X)
    assert windows(cell) == [-40]
    assert np.isinf(cell.derivatives(at(3.0), NONE)[0])
    assert cell.derivatives(at(-40.0), NONE)[0] == pytest.approx(-1 / 43, rel=1e-12)


def test_a_guard_value_that_is_not_the_limit_stays(cell_with):
    cell = cell_with(f"if(V == -47.13, 7, {SODIUM})")
    assert cell.derivatives(at(-47.13), NONE)[0] == 7
    assert cell.derivatives(at(-47.13 + 1e-14), NONE)[0] == pytest.approx(3.2, rel=1e-11)


@pytest.mark.parametrize("solver", ["rodas", "scipy"])
def test_a_cell_that_begins_on_a_singularity(solver, tmp_path):
    rates = {"V": "-2 * m * (V - 40) - (V + 80) / 10", "m": f"{SODIUM} * (1 - m) - 0.08 * exp(-V / 11) * m"}
    cell = small_cell(tmp_path, {"V": -47.13, "m": 0.05}, rates)

    def guarded(_, y):
        x = 0.1 * (y[0] + 47.13)
        alpha = 3.2 * (x / -np.expm1(-x) if x else 1)
        return [-2 * y[1] * (y[0] - 40) - (y[0] + 80) / 10, alpha * (1 - y[1]) - 0.08 * np.exp(-y[0] / 11) * y[1]]

    times = np.linspace(0, 20, 401)
    expected = solve_ivp(guarded, (0, 20), [-47.13, 0.05], "Radau", times, rtol=1e-10, atol=1e-10).y[0]
    (trace,) = simulate(cell, np.empty((1, 0)), 20, solver=solver, rtol=1e-6)
    assert trace.status == "ok"
    np.testing.assert_allclose(trace.voltage_mV(times), expected, atol=1e-3)


@pytest.mark.parametrize("solver", ["rodas", "scipy"])
def test_a_cell_clamped_to_a_singularity(solver, tmp_path):
    rates = {"V": "0", "m": f"{SODIUM} * (1 - m) - 0.08 * exp(-V / 11) * m"}
    cell = small_cell(tmp_path, {"V": -47.13, "m": 0.05}, rates)
    (trace,) = simulate(cell, np.empty((1, 0)), 1, solver=solver, rtol=1e-8)
    alpha, beta = 3.2, 0.08 * np.exp(47.13 / 11)
    limit = alpha / (alpha + beta)
    assert trace.status == "ok"
    assert trace.final_state == pytest.approx([-47.13, limit + (0.05 - limit) * np.exp(-(alpha + beta))], rel=1e-7)


def test_the_guards_of_the_bundled_model_are_kept():
    assert windows(load_cell("akwaboah2021")) == []
