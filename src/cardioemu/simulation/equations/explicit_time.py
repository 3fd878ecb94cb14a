"""Explicit time: what jumps at moments known beforehand becomes an input with edges, as a stimulus is.

CellML models write their stimulus as `piecewise(time >= start and ..., amplitude, 0)`. A solver that steps across such
a jump loses its order; one that is told when it comes ends a step there.
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
    """Replaces all of a folded model that is piecewise constant in time by inputs, new variables of the model.

    What follows time smoothly and is needed by no derivative then (the phase of a stimulus) is removed from the model.

    Args:
        model: the model, changed here.
        order: its variables in an order in which they can be evaluated.

    Returns:
        The inputs and the variables that are left, in order, and each input's level as a function of time: (n,) in ms
        -> (n,).
    """
    replacement = _Replacement(model)
    for variable in order:
        if not variable.is_bound():
            variable.set_rhs(replacement.of(variable))
    time = myokit.Name(model.time())
    order = [*replacement.levels, *order]
    for variable in reversed(order):
        unused = not (variable.is_state() or variable.is_referenced() or variable.parent() is None)
        if unused and (variable in replacement.levels or variable.rhs().depends_on(time, deep=True)):
            variable.parent().remove_variable(variable, recursive=True)
    order = [variable for variable in order if variable.parent() is not None]
    return order, {variable: level for variable, level in replacement.levels.items() if variable in order}


class _Replacement:
    """What is known about a model while its equations are gone through in order.

    Attributes:
        of_time: the variables that depend on nothing but time, and their equations before the change.
        smooth: those of them that are not piecewise constant.
        inputs: what has been replaced.
        levels: the inputs' levels as functions of time.
    """

    def __init__(self, model: myokit.Model) -> None:
        self.time = model.time()
        self.component = model.add_component_allow_renaming("explicit_time")
        self.of_time = {self.time: self.time.rhs()}
        self.smooth = {self.time}
        self.inputs: dict[myokit.Expression, myokit.Variable] = {}
        self.levels: dict[myokit.Variable, LevelAt] = {}

    def of(self, variable: myokit.Variable) -> myokit.Expression:
        """Returns the right-hand side of the next variable with inputs in it."""
        rhs = variable.rhs()
        if not variable.is_state() and _refers_to(rhs, self.of_time, all):
            self.of_time[variable] = rhs
            if self.is_smooth(rhs):
                self.smooth.add(variable)
        return self.replaced(rhs)

    def is_smooth(self, e: myokit.Expression) -> bool:
        if isinstance(e, myokit.Name):
            return e.var() in self.smooth
        return not isinstance(e, JUMPING) and any(self.is_smooth(operand) for operand in e)

    def replaced(self, e: myokit.Expression) -> myokit.Expression:
        if isinstance(e, myokit.Name) or not _refers_to(e, self.smooth, any):
            return e  # what refers to piecewise constant variables only is made of inputs already
        if not _refers_to(e, self.of_time, all) or self.is_smooth(e):
            return type(e)(*(self.replaced(operand) for operand in e))
        if e not in self.inputs:
            self.add_input(e)
        level = myokit.Name(self.inputs[e])
        return myokit.NotEqual(level, myokit.Number(0)) if isinstance(e, myokit.Condition) else level

    def add_input(self, e: myokit.Expression) -> None:
        of_time = self.level(e)
        variable = self.component.add_variable(f"level_{len(self.inputs)}", rhs=float(of_time(np.zeros(1))[0]))
        variable.set_binding(f"time_{len(self.inputs)}")
        self.inputs[e], self.levels[variable] = variable, of_time

    def level(self, e: myokit.Expression) -> LevelAt:
        needed, unknown = {self.time}, [e]
        while unknown:
            new = {reference.var() for reference in unknown.pop().references()} - needed
            needed |= new
            unknown += [self.of_time[variable] for variable in new]
        time, *names = (myokit.Name(v) for v in self.of_time if v in needed)  # in the order of evaluation
        definitions = [(name, self.of_time[name.var()]) for name in names]

        def of_time(time_ms: np.ndarray) -> np.ndarray:
            given: dict[myokit.LhsExpression, Any] = {time: np.asarray(time_ms, dtype=float)}
            for name, rhs in definitions:
                given[name] = evaluate(rhs, given)
            return np.broadcast_to(np.asarray(evaluate(e, given), dtype=float), np.shape(time_ms))

        return of_time


def _refers_to(
    e: myokit.Expression, variables: Collection[myokit.Variable], how_many: Callable[[list[bool]], bool]
) -> bool:
    references = [isinstance(r, myokit.Name) and r.var() in variables for r in e.references()]
    return bool(references) and how_many(references)
