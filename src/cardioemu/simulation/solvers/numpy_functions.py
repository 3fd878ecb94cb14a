"""NumPy functions of a cell model in addition to its right-hand side: Jacobian, and recorded quantities with slopes."""

from collections.abc import Callable, Collection
from functools import lru_cache, reduce
from typing import Any, TypeAlias

import myokit
import numpy as np

from cardioemu.simulation.cell import Cell
from cardioemu.simulation.equations import Assignment, compile_numpy, jacobian, numpy_source, recorded_variables

Function: TypeAlias = Callable[[Any, np.ndarray, np.ndarray, np.ndarray], list]


@lru_cache(maxsize=8)
def channels(cell: Cell, record: tuple[str, ...]) -> Function:
    """Return a function that computes [value, slope, value, slope, ...] of V and of the recorded quantities.

    The slope of a variable is its derivative along the trajectory, by the chain rule.
    """
    e = cell.equations
    recorded = recorded_variables(e, record)
    potential = e.states[cell.potential]
    partials, entries = jacobian(e, recorded) if recorded else ([], {})
    rates = [*(state.lhs() for state in e.states), myokit.Number(1)]
    outputs = [myokit.Name(potential), potential.lhs()]
    for row, variable in enumerate(recorded, start=len(e.states)):
        columns = [column for column in range(len(rates)) if (row, column) in entries]
        terms = [myokit.Multiply(entries[row, column], rates[column]) for column in columns]
        slope = variable.lhs() if variable.is_state() else reduce(myokit.Plus, terms, myokit.Number(0))
        outputs += [myokit.Name(variable), slope]
    return _compile(cell, partials, outputs)


@lru_cache(maxsize=8)
def jacobian_function(cell: Cell) -> Callable[[float, np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """Return a function that computes the derivatives (states, states) of all rates with respect to all states."""
    partials, entries = jacobian(cell.equations)
    n = len(cell.states)
    function = _compile(cell, partials, [entries.get(index, myokit.Number(0)) for index in np.ndindex(n, n)])
    return lambda time_ms, y, p, q: np.array(function(time_ms, y, p, q), dtype=float).reshape(n, n)


def _compile(cell: Cell, partials: list[Assignment], outputs: Collection[myokit.Expression]) -> Function:
    """Compile a function that computes a list of expressions, including only the assignments they need."""
    needed = {lhs for expression in outputs for lhs in expression.references()}
    assignments: list[Assignment] = []
    for lhs, rhs in reversed([*cell.equations.assignments, *partials]):
        if lhs in needed:
            assignments.insert(0, (lhs, rhs))
            needed |= rhs.references()
    return compile_numpy(numpy_source(cell.equations, assignments, outputs), cell.name)
