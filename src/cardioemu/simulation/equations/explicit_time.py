"""Explicit time: expressions that jump at known times become inputs with edges, like a stimulus.

CellML models write their stimulus as `piecewise(time >= start and ..., amplitude, 0)`. A solver that steps across such
a jump loses its order; a solver that knows the edge ends a step there (docs/decisions/0006).
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeAlias

import myokit
import numpy as np

from cardioemu.simulation.equations.folding import evaluate

LevelAt: TypeAlias = Callable[[np.ndarray], np.ndarray]

JUMPING = myokit.Floor | myokit.Ceil | myokit.Condition


def extract_time_inputs(
    model: myokit.Model, order: Sequence[myokit.Variable]
) -> tuple[list[myokit.Variable], dict[myokit.Variable, LevelAt]]:
    """Replace every expression of a folded model that is piecewise constant in time by an input, a new variable.

    The model, whose variables are given in evaluation order, is modified in place. Smooth functions of time that no
    derivative needs any more (the phase of a stimulus) are removed from it.

    Returns:
        The inputs and the remaining variables, in evaluation order, and the level of each input as a function of time:
        (n,) in ms -> (n,).
    """
    replacement = _Replacement(model)
    for variable in order:
        if not variable.is_bound():
            variable.set_rhs(replacement.rewrite(variable))
    time = myokit.Name(model.time())
    order = [*replacement.levels, *order]
    for variable in reversed(order):
        unused = not (variable.is_state() or variable.is_referenced() or variable.parent() is None)
        if unused and (variable in replacement.levels or variable.rhs().depends_on(time, deep=True)):
            variable.parent().remove_variable(variable, recursive=True)
    order = [variable for variable in order if variable.parent() is not None]
    return order, {variable: level for variable, level in replacement.levels.items() if variable in order}


class _Replacement:
    """State of the replacement while it visits the equations of a model in order.

    Attributes:
        timed: the variables that depend on time alone, with their original equations.
        smooth: the timed variables that are not piecewise constant.
        inputs: the input that replaces each expression.
        levels: the level of each input as a function of time.
    """

    def __init__(self, model: myokit.Model) -> None:
        self.time = model.time()
        self.component = model.add_component_allow_renaming("explicit_time")
        self.timed = {self.time: self.time.rhs()}
        self.smooth = {self.time}
        self.inputs: dict[myokit.Expression, myokit.Variable] = {}
        self.levels: dict[myokit.Variable, LevelAt] = {}

    def rewrite(self, variable: myokit.Variable) -> myokit.Expression:
        """Return the right-hand side of the next variable, with inputs in it."""
        rhs = variable.rhs()
        if not variable.is_state() and _refers_to(rhs, self.timed, all):
            self.timed[variable] = rhs
            if self.is_smooth(rhs):
                self.smooth.add(variable)
        return self.replace(rhs)

    def is_smooth(self, e: myokit.Expression) -> bool:
        if isinstance(e, myokit.Name):
            return e.var() in self.smooth
        return not isinstance(e, JUMPING) and any(self.is_smooth(operand) for operand in e)

    def replace(self, e: myokit.Expression) -> myokit.Expression:
        if isinstance(e, myokit.Name) or not _refers_to(e, self.smooth, any):
            return e  # its piecewise constant references consist of inputs already
        if not _refers_to(e, self.timed, all) or self.is_smooth(e):
            return type(e)(*(self.replace(operand) for operand in e))
        if e not in self.inputs:
            level_at = self.level(e)
            variable = self.component.add_variable(f"level_{len(self.inputs)}", rhs=float(level_at(np.zeros(1))[0]))
            variable.set_binding(f"time_{len(self.inputs)}")
            self.inputs[e], self.levels[variable] = variable, level_at
        level = myokit.Name(self.inputs[e])
        return myokit.NotEqual(level, myokit.Number(0)) if isinstance(e, myokit.Condition) else level

    def level(self, e: myokit.Expression) -> LevelAt:
        needed, pending = {self.time}, [e]
        while pending:
            new = {reference.var() for reference in pending.pop().references()} - needed
            needed |= new
            pending += [self.timed[variable] for variable in new]
        time, *names = (myokit.Name(v) for v in self.timed if v in needed)  # in evaluation order
        definitions = [(name, self.timed[name.var()]) for name in names]

        def level_at(time_ms: np.ndarray) -> np.ndarray:
            values: dict[myokit.LhsExpression, Any] = {time: np.asarray(time_ms, dtype=float)}
            for name, rhs in definitions:
                values[name] = evaluate(rhs, values)
            return np.broadcast_to(np.asarray(evaluate(e, values), dtype=float), np.shape(time_ms))

        return level_at


def _refers_to(
    e: myokit.Expression, variables: Collection[myokit.Variable], quantifier: Callable[[list[bool]], bool]
) -> bool:
    references = [isinstance(r, myokit.Name) and r.var() in variables for r in e.references()]
    return bool(references) and quantifier(references)
