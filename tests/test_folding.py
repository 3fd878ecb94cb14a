"""Constants in IEEE arithmetic and reserved names, in the generated NumPy and C."""

import warnings

import myokit
import numpy as np
import pytest
from small_cells import mmt, small_cell

from cardioemu.simulation import load_cell, simulate
from cardioemu.simulation.equations.folding import evaluate, fold_constants
from cardioemu.simulation.equations.writers import CWriter, NumPyWriter

# Constant expressions of zero = 0, two = 2, big = 1e308, and their values in IEEE arithmetic.
CONSTANTS = {
    "10 / (1 + 9.13652 / (zero / 1)^two)": 0.0,
    "two / zero": np.inf,
    "-two / zero": -np.inf,
    "two / (-zero)": -np.inf,
    "zero / zero": np.nan,
    "log(zero)": -np.inf,
    "log10(zero)": -np.inf,
    "log(-two)": np.nan,
    "log(8, two)": 3.0,
    "sqrt(-two)": np.nan,
    "(-two)^0.5": np.nan,
    "zero^-1": np.inf,
    "big * 10": np.inf,
    "exp(1000)": np.inf,
    "exp(-1000)": 0.0,
    "1 / (1 + exp(1000))": 0.0,
    "asin(two)": np.nan,
    "two // zero": np.inf,
    "7 // -two": -4.0,
    "-7 % two": 1.0,
    "7 % -two": -1.0,
    "if(zero == 0, two, 1 / zero)": 2.0,
    "if(zero / zero == zero / zero, 1, two)": 2.0,
    "piecewise(zero > 1, 1 / zero, two > 1 and not (two > 3), 5, zero / zero)": 5.0,
    "if(zero > 1 or two != 2, 1, ceil(1.5) + floor(-0.5) + abs(-two))": 3.0,
    "tan(zero) + sin(zero) + cos(zero) + acos(1) + atan(zero) + +two": 3.0,
}
MORE = "zero = 0\ntwo = 2\nbig = 1e308\n"


def constant(tmp_path, expression):
    return small_cell(tmp_path, {"V": 0.5}, {"V": f"if(V > 0, {expression}, V)"}, MORE)


@pytest.mark.parametrize("expression", CONSTANTS)
def test_constants_are_their_ieee_values(tmp_path, expression):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cell = constant(tmp_path, expression)
        derivative = cell.derivatives([0.5], [])
    np.testing.assert_allclose(derivative, [CONSTANTS[expression]], rtol=1e-15)


@pytest.mark.parametrize(
    ("value", "c", "python"),
    [
        (np.inf, "INFINITY", "numpy.inf"),
        (-np.inf, "(-INFINITY)", "(-numpy.inf)"),
        (np.nan, "NAN", "numpy.nan"),
        (-2.5, "(-2.5)", "(-2.5)"),
        (-0.0, "(-0.0)", "(-0.0)"),
        (0.1, "0.1", "0.1"),
        (1e300, "1e+300", "1e+300"),
    ],
)
def test_numbers_in_source_code(value, c, python):
    assert CWriter().ex(myokit.Number(value)) == c
    assert NumPyWriter().ex(myokit.Number(value)) == python


@pytest.mark.parametrize(
    ("rate", "value"), [("V / (1 / zero)", 0.0), ("V - 1 / (1 / zero)", 0.5), ("exp(-V / zero)", 0)]
)
def test_harmless_infinite_constants(tmp_path, rate, value):
    cell = small_cell(tmp_path, {"V": 0.5}, {"V": rate}, MORE)
    (trace,) = simulate(cell, [], 0.1)
    assert trace.status == "ok"
    assert trace.step_dvdt_mV_per_ms[0] == pytest.approx(value)


@pytest.mark.parametrize("solver", ["rodas", "scipy"])
def test_status_of_a_cell_that_becomes_nan(tmp_path, solver):
    cell = small_cell(tmp_path, {"V": 0.5}, {"V": "V * (zero / zero)"}, MORE)
    (trace,) = simulate(cell, [], 1.0, solver=solver)
    assert trace.status.startswith("not finite")


def test_expressions_have_myokits_values():
    m = myokit.parse_model(mmt({"V": 0}, {"V": "0"}, "a = 0.3\nb = 1.7\nc = -42.3\n"))
    texts = """a + b; a - b; a * b; a / b; -a; +a; a^b; a^-2; c // b; c % b; b % -a; sqrt(a); sin(c); cos(c); tan(a);
    asin(a); acos(a); atan(c); exp(a); log(b); log(b, 3); log10(b); floor(c); ceil(c); abs(c); if(a > b, a, b);
    if(a < b, a, b); if(a >= b, a, b); if(a <= b, a, b); if(a == b, a, b); if(a != b, a, b); if(not (a > b), a, b);
    if(a < b and c < 0, a, b); if(a > b or c > 0, a, b); piecewise(a > b, 1, c < b, 2, 3)"""
    for text in texts.split(";"):
        expression = myokit.parse_expression(text.strip(), context=m.get("m"))
        assert evaluate(expression) == pytest.approx(float(expression.eval()), rel=1e-15), text
        assert fold_constants(expression).is_number(evaluate(expression))


def test_evaluation_is_elementwise():
    m = myokit.parse_model(mmt({"V": 0, "n": 0}, {"V": "piecewise(V < 1, -V, V < 2, V^2, 7) + dot(n)", "n": "3"}))
    values = {myokit.Name(m.get("m.V")): np.array([0.5, 1.5, 2.5])}
    np.testing.assert_array_equal(evaluate(m.get("m.V").rhs(), values), [2.5, 5.25, 10.0])


def test_folded_assignments_are_removed(tmp_path):
    more = "mode = 2\nlost = if(mode == 1, V, 4)\nkept = if(mode == 2, V * lost, 1 / V)\ntwice = lost + kept\n"
    cell = small_cell(tmp_path, {"V": 3}, {"V": "twice"}, more)
    assert [lhs.code() for lhs, _ in cell.equations.assignments] == ["m.kept", "m.twice", "dot(m.V)"]
    assert "/" not in cell.python_source
    assert cell.derivatives([3], []) == 16


def test_chains_of_constants_are_evaluated_once(tmp_path):
    """Recursive substitution of 200 doublings would take 2^200 steps."""
    chain = "c0 = 1e-60\n" + "".join(f"c{i + 1} = c{i} + c{i}\n" for i in range(200))
    cell = small_cell(tmp_path, {"V": "m.c200"}, {"V": "c200"}, chain)
    assert cell.initial_state == cell.derivatives([0], []) == 1e-60 * 2.0**200


@pytest.mark.parametrize("pieces", [1, 50, 51, 300])
def test_a_table_of_many_pieces(tmp_path, pieces):
    table = ", ".join(f"V < {i + 1}, {i}^2" for i in range(pieces))
    cell = small_cell(tmp_path, {"V": 0}, {"V": f"piecewise({table}, -1)"})
    V = np.array([[-3.0], [0.5], [pieces - 0.5], [pieces], [1e9]])
    expected = np.array([[0], [0], [(pieces - 1) ** 2], [-1], [-1]])
    np.testing.assert_array_equal(cell.derivatives(V, []), expected)
    for start, slope in zip(V, expected, strict=True):
        (trace,) = simulate(cell, [], 1e-6, initial_state=start)
        assert trace.step_dvdt_mV_per_ms[0] == slope


RESERVED = """int double float return static const vec ivec ONE VEC SELECT LANES NAN INFINITY STATES lambda None numpy
array exp v_exp select_lanes h ih Y Z k0_0 a_0_0 r_0 P Q p0 q0 y0_V d0_V v0_g time time_ y p q derivatives y0 j1 main"""


def test_reserved_names_in_both_languages(tmp_path):
    """Each name is a state, a constant, an intermediate variable and a nested one, in different components."""
    reserved = RESERVED.split()
    states = "".join(f"s.{name} = {0.5 + i / 64}\n" for i, name in enumerate(reserved))
    equations = "".join(f"dot({name}) = {name} * c.{name} + i.{name}\n" for name in reserved)
    constants = "".join(f"{name} = {2 + i}\n" for i, name in enumerate(reserved))
    between = "".join(f"{name} = 3 * n_{name}\n    n_{name} = s.{name} * engine.pace\n" for name in reserved)
    path = tmp_path / "reserved.mmt"
    engine = "[engine]\ntime = 0 bind time\npace = 0.5 bind pace\n"
    path.write_text(f"[[model]]\n{states}{engine}[s]\n{equations}[c]\n{constants}[i]\n{between}")
    cell = load_cell(path, scaled={name: f"c.{name}" for name in reserved}, potential="s.Y")
    n = np.arange(len(reserved))
    start, scales = 0.5 + n / 64, 1 / (1 + n)
    expected = start * (2 + n) * scales + 1.5 * start
    np.testing.assert_allclose(cell.derivatives(cell.initial_state, scales), expected, rtol=1e-14)
    for i in (0, len(n) - 1):
        cell = load_cell(path, scaled={name: f"c.{name}" for name in reserved}, potential=f"s.{reserved[i]}")
        (trace,) = simulate(cell, scales, 0.01, protocol={"pace": myokit.pacing.constant(0.5)})
        assert trace.step_dvdt_mV_per_ms[0] == pytest.approx(expected[i], rel=1e-6)
