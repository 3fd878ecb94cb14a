"""NumPy functions of a cell model in addition to its right-hand side: Jacobian, and recorded quantities with slopes."""

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any, TypeAlias

import myokit
import numpy as np

from cardioemu.simulation.cell import Cell
from cardioemu.simulation.equations import Assignment, compile_numpy, jacobian, numpy_source, recorded_variables

Function: TypeAlias = Callable[[Any, np.ndarray, np.ndarray, np.ndarray], list]
Jacobian: TypeAlias = Callable[[float, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@lru_cache(maxsize=8)
def channels(cell: Cell, record: tuple[str, ...]) -> Function:
    """Return a function that computes [value, slope, value, slope, ...] of V and of the recorded quantities.

    The slope of a variable is its derivative along the trajectory, by the chain rule.
    """
    e = cell.equations
    recorded = recorded_variables(e, record)
    variables = [v for v in recorded if not v.is_state()]
    partials, entries = jacobian(e, variables) if variables else ([], {})
    rates = [*(s.lhs() for s in e.states), myokit.Number(1)]
    outputs: list[myokit.Expression] = []
    row = len(e.states)
    for variable in (e.states[cell.potential], *recorded):
        if variable.is_state():
            outputs += [myokit.Name(variable), variable.lhs()]
            continue
        slope: myokit.Expression = myokit.Number(0)
        for column, rate in enumerate(rates):
            if (row, column) in entries:
                slope = myokit.Plus(slope, myokit.Multiply(entries[row, column], rate))
        outputs += [myokit.Name(variable), slope]
        row += 1
    return _compile(cell, partials, outputs)


@lru_cache(maxsize=8)
def jacobian_function(cell: Cell) -> Jacobian:
    """Return a function that computes the derivatives (states, states) of all rates with respect to all states."""
    partials, entries = jacobian(cell.equations)
    n = len(cell.states)
    by_state = {index: entry for index, entry in entries.items() if index[1] < n}
    function = _compile(cell, partials, by_state.values())
    rows, columns = np.array(list(by_state), dtype=int).reshape(-1, 2).T

    def evaluate(time_ms: float, y: np.ndarray, p: np.ndarray, q: np.ndarray) -> np.ndarray:
        matrix = np.zeros((n, n))
        matrix[rows, columns] = function(time_ms, y, p, q)
        return matrix

    return evaluate


def _compile(cell: Cell, partials: list[Assignment], outputs: Collection[myokit.Expression]) -> Function:
    """Compile a function that computes a list of expressions, including only the assignments they need."""
    needed = {lhs for expression in outputs for lhs in expression.references()}
    assignments: list[Assignment] = []
    for lhs, rhs in reversed([*cell.equations.assignments, *partials]):
        if lhs in needed:
            assignments.insert(0, (lhs, rhs))
            needed |= rhs.references()
    return compile_numpy(numpy_source(cell.equations, assignments, outputs), cell.name)
