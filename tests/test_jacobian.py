"""The Jacobian of the Akwaboah model against differences, and the static LU against numpy.linalg."""

import json

import numpy as np
import pytest
from jacobians import analytic_jacobian, differences
from small_cells import small_cell
from trace_shapes import REFERENCE

from cardioemu.simulation import load_cell
from cardioemu.simulation.equations import jacobian
from cardioemu.simulation.solvers.rodas.lu import static_lu

RECORDS = json.loads((REFERENCE / "derivatives.json").read_text())["records"]


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: f"{r['variant']}-{r['state_name']}-{r['scales'][0]}")
def test_jacobian_of_the_akwaboah_model(record):
    cell = load_cell("akwaboah2021", record["variant"])
    state, scales = np.array(list(record["state"].values())), np.array(record["scales"])
    # The equations are linear in occupancies and gates near zero, so the steps may exceed their values.
    concentration = np.array([name.startswith(("Ca_", "Na_", "K_")) for name in cell.states])
    steps = np.where(concentration, 1e-4 * abs(state), 1e-4)
    ours, exact = analytic_jacobian(cell)(state, scales), differences(cell, state, scales, steps)
    scale = abs(exact).max(axis=1, keepdims=True)
    np.testing.assert_allclose(ours / scale, exact / scale, rtol=1e-4, atol=1e-7)


def test_fill_in_of_the_akwaboah_model():
    _, entries = jacobian(load_cell("akwaboah2021").equations)
    lu = static_lu(set(entries), 30)
    assert len(entries) == 111
    assert len(lu.filled - set(entries)) == 3
    assert sorted(lu.position.values()) == list(range(114))
    assert sorted(lu.order) == list(range(30))


def test_each_shared_intermediate_is_differentiated_once(tmp_path):
    more = "a = V * x\nb = a * a + exp(a)\nc = a + b\nd = b * c"
    cell = small_cell(tmp_path, {"V": 1, "x": 2}, {"V": "a + b + c + d", "x": "d - c"}, more)
    assignments, entries = jacobian(cell.equations)
    assert sorted(cell.equations.name(lhs)[-4:] for lhs, _ in assignments) == 4 * ["y0_V"] + 4 * ["y1_x"]
    assert set(entries) == {(0, 0), (0, 1), (1, 0), (1, 1)}


def run(statements, a, x):
    """Run C statements on arrays as Python."""
    exec("\n".join(line.rstrip(";") for line in statements), {"a": a, "x": x})


@pytest.mark.parametrize("seed", range(12))
def test_static_lu_solves_sparse_systems(seed):
    random = np.random.default_rng(seed)
    n = random.integers(1, 12)
    A = random.normal(size=(n, n)) * (random.uniform(size=(n, n)) < random.uniform(0.05, 0.7))
    A[np.diag_indices(n)] = 5 + random.uniform(size=n)
    off_diagonal = {(int(i), int(j)) for i, j in np.argwhere(A) if i != j}
    lu = static_lu(off_diagonal, int(n))
    assert off_diagonal <= lu.filled
    assert [lu.position[i, i] for i in range(n)] == list(range(n))

    factors = np.array([A[at] for at in sorted(lu.position, key=lu.position.get)])
    run(lu.factorise("a"), factors, None)
    for _ in range(2):  # one factorisation for several right-hand sides
        rhs = random.normal(size=n)
        x = rhs.copy()
        run(lu.solve("a", "x"), factors, x)
        np.testing.assert_allclose(x, np.linalg.solve(A, rhs), rtol=1e-10, atol=1e-12)


def test_an_arrow_is_ordered_without_fill_in():
    arrow = {(0, i) for i in range(1, 8)} | {(i, 0) for i in range(1, 8)}
    lu = static_lu(arrow, 8)
    assert lu.filled == arrow | {(i, i) for i in range(8)}
    assert static_lu(arrow, 8) == lu


# Other elements of a right-hand side: time, a stimulus, conditions, powers with a variable exponent.
MIXED = """use engine.time as t
pace = 0 bind pace
a = V * x + sin(t) * x
b = if(V > x, a^2, x^a)
c = sqrt(abs(b)) + pace * V
d = atan(c) - log(1 + V^2) / (1 + exp(-a))"""


def test_mixed_equations_against_differences(tmp_path):
    cell = small_cell(tmp_path, {"V": 1, "x": 2}, {"V": "a - d * c", "x": "d + dot(V) / 3"}, MIXED)
    for state in ([0.7, 1.9], [2.3, 1.1], [-0.4, 0.6]):
        for inputs in ([0.0], [1.5]):
            ours = analytic_jacobian(cell)(state, np.ones(0), 3.0, inputs)
            np.testing.assert_allclose(ours, differences(cell, state, [], [1e-5, 1e-5], 3.0, inputs), rtol=1e-7)


def test_time_is_the_last_column(tmp_path):
    cell = small_cell(tmp_path, {"V": 1, "x": 2}, {"V": "a - d * c", "x": "d + dot(V) / 3"}, MIXED)
    _, entries = jacobian(cell.equations)
    assert set(entries) == {(i, j) for i in range(2) for j in range(3)}
    column = analytic_jacobian(cell, columns=3)([0.7, 1.9], np.ones(0), 3.0, [1.0])[:, 2]
    later, earlier = (cell.derivatives([0.7, 1.9], [], 3.0 + dt, [1.0]) for dt in (1e-5, -1e-5))
    np.testing.assert_allclose(column, (later - earlier) / 2e-5, rtol=1e-7)


def test_recorded_variables_are_further_rows(tmp_path):
    cell = small_cell(tmp_path, {"V": 1, "x": 2}, {"V": "a", "x": "-x"}, "a = V * x\nshown = a^2 + x")
    recorded = [cell.equations.states[0].model().get(name) for name in ("m.shown", "m.a")]
    _, entries = jacobian(cell.equations, recorded)
    assert {row for row, _ in entries} == {0, 1, 2, 3}
    rows = analytic_jacobian(cell, recorded=recorded)([3.0, 5.0], np.ones(0))[2:]
    np.testing.assert_allclose(rows, [[2 * 15 * 5, 2 * 15 * 3 + 1], [5, 3]])
