"""Every Myokit operator in the generated NumPy and C, and its derivative, against Myokit's own evaluation."""

import myokit
import numpy as np
import pytest
from jacobians import analytic_jacobian, differences
from small_cells import small_cell

from cardioemu.simulation import simulate

# x in (0, 1), y in (1, 2), V in (-60, 30); c is a constant.
OPERATORS = """
x + y; x - y; x * y; x / y; -x; +x; --x; -(-x); x - (y - V); x / (y / V); x / (y * V); x * (y + V); -(x + y); x - -y
x^2; x^-2; x^64; x^65; x^3.7; x^0.5; x^1.5; x^-1.5; x^y; 2^x; 2^x^y; -2^x; (-2)^2 * x; y^(x - 0.5); -x^2
x^c; (x * y)^(c / 2)
V // 7; V % 7; V % -7; V // y; x % 0.3; V % y; -x % 0.3; x * (V // y); (x + V) // y; x // y * V
exp(x); exp(-V / 10); log(x); log(x, 3); log(3, y); log(x, y); log10(x); sqrt(y)
sin(V); cos(V); tan(x); asin(x); acos(x); atan(V); floor(V * y); ceil(V * y); floor(V) * x; abs(V); abs(V) * x
if(V > -20, x, y); if(V < -20 or x >= 0.7, x * y, y); if(V > -20 and x <= 0.7, x * y, y); if(not (V > -20), x, y)
if(x == y, y, x); if(x != y, y, x); if(c == 2, x, x / (c - 2)); if(c > 2, x / (c - 2), y)
if((V > -20 and not (x < 0.5)) or y > 1.5, x, y)
piecewise(V < -40, x, V < 0, x * y, V); piecewise(c == 1, x / (c - 2), V < 0, x * y, V)
piecewise(V < -40, x, c == 2, x * y, x / (c - 2)); if(if(V > -20, 1, 2) == 2, x, y); if(V > -20, if(x > 0.5, 1, x), V)
x * between; between * between; if(x > 0.5, between, dot(y)) * dot(x); dot(x) * V; dot(x)
c; 3; c * x; c - 1 / c; nested + x
"""
EXPRESSIONS = [e.strip() for e in OPERATORS.replace("\n", ";").split(";") if e.strip()]
MORE = "between = x * y + sin(V)\n    in [1]\nnested = inner * x\n    inner = V * y\nc = 2\n"


@pytest.fixture(scope="module")
def states():
    random = np.random.default_rng(1)
    low, high = np.array([-60, 0.05, 1.05]), np.array([30, 0.95, 2])
    return random.uniform(low, high, (40, 3))


def cell_of_all(folder, rate="{}"):
    """A cell whose dV/dt depends on the sum of all expressions, each multiplied by its own scale."""
    switches = "".join(f"s{i} = 1\nterm{i} = {e}\n" for i, e in enumerate(EXPRESSIONS))
    total = " + ".join(f"s{i} * term{i}" for i in range(len(EXPRESSIONS)))
    rates = {"V": rate.format(total), "x": "-x / 10", "y": "(V / 100 - y) / 20"}
    scaled = {f"s{i}": f"m.s{i}" for i in range(len(EXPRESSIONS))}
    return small_cell(folder, {"V": -20, "x": 0.5, "y": 1.5}, rates, MORE + switches, scaled)


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    return cell_of_all(tmp_path_factory.mktemp("o"))


@pytest.fixture(scope="module")
def expected(cell, states):
    """The value of every expression at every state, by Myokit."""
    names = [myokit.Name(s) for s in cell.model.states()]
    terms = [cell.model.get(f"m.term{i}").rhs() for i in range(len(EXPRESSIONS))]
    return np.array([[term.eval(dict(zip(names, state, strict=True))) for state in states] for term in terms])


def test_numpy(cell, states, expected):
    for expression, scales, values in zip(EXPRESSIONS, np.eye(len(EXPRESSIONS)), expected, strict=True):
        rates = cell.derivatives(states, scales)[:, 0]
        np.testing.assert_allclose(rates, values, rtol=1e-13, atol=1e-13, err_msg=expression)


def test_c(cell, states, expected):
    """The only term in dV/dt of each cell is one expression; dV/dt at time 0 is its value, as float32."""
    for j, state in enumerate(states[:10]):
        traces = simulate(cell, np.eye(len(EXPRESSIONS)), 1e-6, initial_state=state)
        for expression, trace, values in zip(EXPRESSIONS, traces, expected, strict=True):
            rate = trace.step_dvdt_mV_per_ms[0]
            np.testing.assert_allclose(rate, values[j], rtol=2e-7, atol=1e-12, err_msg=expression)


def test_jacobian(cell, states):
    jacobian = analytic_jacobian(cell)
    for expression, scales in zip(EXPRESSIONS, np.eye(len(EXPRESSIONS)), strict=True):
        for state in states[:5]:
            exact = differences(cell, state, scales, [1e-5, 1e-6, 1e-6])
            atol = 1e-7 * abs(exact).max()
            np.testing.assert_allclose(jacobian(state, scales), exact, rtol=1e-5, atol=atol, err_msg=expression)
