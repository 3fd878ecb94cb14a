"""The Jacobian of the Akwaboah model against differences, and the static LU against numpy.linalg."""

import json
import re

import numpy as np
import pytest
from jacobians import analytic_jacobian, differences
from small_cells import small_cell
from trace_shapes import REFERENCE

from cardioemu.simulation import load_cell
from cardioemu.simulation.solvers.rodas.jacobian import jacobian
from cardioemu.simulation.solvers.rodas.lu import static_lu

RECORDS = json.loads((REFERENCE / "derivatives.json").read_text())["records"]


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: f"{r['variant']}-{r['state_name']}-{r['scales'][0]}")
def test_jacobian_of_the_akwaboah_model(record):
    cell = load_cell("akwaboah2021", record["variant"])
    state, scales = np.array(list(record["state"].values())), np.array(record["scales"])
    # Occupancies and gates near zero are linear in their equations, so their steps need not be small against them.
    concentration = np.array([name.startswith(("Ca_", "Na_", "K_")) for name in cell.states])
    steps = np.where(concentration, 1e-4 * abs(state), 1e-4)
    ours, exact = analytic_jacobian(cell)(state, scales), differences(cell, state, scales, steps)
    scale = abs(exact).max(axis=1, keepdims=True)
    np.testing.assert_allclose(ours / scale, exact / scale, rtol=1e-4, atol=1e-7)


def test_fill_in_of_the_akwaboah_model():
    _, entries = jacobian(load_cell("akwaboah2021").equations)
    lu = static_lu(set(entries), 30)
    assert len(entries) == len(lu.pattern) == 111
    assert len(lu.filled - lu.pattern) == 3
    assert sorted(lu.order) == list(range(30))


def test_each_shared_intermediate_is_differentiated_once(tmp_path):
    more = "a = V * x\nb = a * a + exp(a)\nc = a + b\nd = b * c"
    cell = small_cell(tmp_path, {"V": 1, "x": 2}, {"V": "a + b + c + d", "x": "d - c"}, more)
    assignments, entries = jacobian(cell.equations)
    assert sorted(cell.equations.name(lhs)[-4:] for lhs, _ in assignments) == 4 * ["y0_V"] + 4 * ["y1_x"]
    assert set(entries) == {(0, 0), (0, 1), (1, 0), (1, 1)}


def run(statements, values):
    """Runs C assignments as Python."""
    exec("\n".join(re.sub(r"^(const )?vec ", "", line).rstrip(";") for line in statements), values)


@pytest.mark.parametrize("seed", range(12))
def test_static_lu_solves_sparse_systems(seed):
    random = np.random.default_rng(seed)
    n = random.integers(1, 12)
    A = random.normal(size=(n, n)) * (random.uniform(size=(n, n)) < random.uniform(0.05, 0.7))
    A[np.diag_indices(n)] = 5 + random.uniform(size=n)
    rhs = random.normal(size=n)
    off_diagonal = {(int(i), int(j)) for i, j in np.argwhere(A) if i != j}

    lu = static_lu(off_diagonal, int(n))
    values = {f"a_{i}_{j}": A[i, j] for i, j in lu.pattern} | {f"x{i}": b for i, b in enumerate(rhs)}
    run([*lu.factorise(), *lu.solve("x")], values)
    np.testing.assert_allclose([values[f"x{i}"] for i in range(n)], np.linalg.solve(A, rhs), rtol=1e-10, atol=1e-12)


def test_an_arrow_is_ordered_without_fill_in():
    arrow = {(0, i) for i in range(1, 8)} | {(i, 0) for i in range(1, 8)}
    lu = static_lu(arrow, 8)
    assert lu.filled == lu.pattern == arrow | {(i, i) for i in range(8)}
    assert static_lu(arrow, 8) == lu
