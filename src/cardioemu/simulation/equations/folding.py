"""Constant folding in the arithmetic of compiled code (IEEE 754): 1/0 is infinite, 0/0 is NaN."""

from collections.abc import Callable, Mapping
from typing import Any

import myokit
import numpy as np


def _quotient(a: Any, b: Any) -> Any:
    return np.floor(np.divide(a, b))


def _log(a: Any, base: Any = np.e) -> Any:
    return np.log(a) / np.log(base)


def _piecewise(*operands: Any) -> Any:
    *branches, value = operands
    for i in range(len(branches) - 2, -1, -2):
        value = np.where(branches[i], branches[i + 1], value)
    return value


OPERATIONS: Mapping[type[myokit.Expression], Callable[..., Any]] = {
    myokit.PrefixPlus: np.positive,
    myokit.PrefixMinus: np.negative,
    myokit.Plus: np.add,
    myokit.Minus: np.subtract,
    myokit.Multiply: np.multiply,
    myokit.Divide: np.divide,
    myokit.Quotient: _quotient,
    myokit.Remainder: lambda a, b: a - b * _quotient(a, b),
    myokit.Power: np.power,
    myokit.Sqrt: np.sqrt,
    myokit.Sin: np.sin,
    myokit.Cos: np.cos,
    myokit.Tan: np.tan,
    myokit.ASin: np.arcsin,
    myokit.ACos: np.arccos,
    myokit.ATan: np.arctan,
    myokit.Exp: np.exp,
    myokit.Log: _log,
    myokit.Log10: np.log10,
    myokit.Floor: np.floor,
    myokit.Ceil: np.ceil,
    myokit.Abs: np.abs,
    myokit.Equal: np.equal,
    myokit.NotEqual: np.not_equal,
    myokit.More: np.greater,
    myokit.Less: np.less,
    myokit.MoreEqual: np.greater_equal,
    myokit.LessEqual: np.less_equal,
    myokit.And: np.logical_and,
    myokit.Or: np.logical_or,
    myokit.Not: np.logical_not,
    myokit.If: _piecewise,
    myokit.Piecewise: _piecewise,
}


def evaluate(expression: myokit.Expression, values: dict[myokit.LhsExpression, Any] | None = None) -> Any:
    """Evaluate an expression elementwise in IEEE arithmetic.

    Variables that are not in `values` follow from their equations; those that the expression needs are added to it.
    """
    values = {} if values is None else values
    pending = [r for r in expression.references() if r not in values]  # a stack: chains of variables may be long
    with np.errstate(all="ignore"):
        while pending:
            missing = [r for r in pending[-1].rhs().references() if r not in values]
            pending += missing
            if not missing:
                lhs = pending.pop()
                values[lhs] = _evaluate(lhs.rhs(), values)
        return _evaluate(expression, values)


def _evaluate(e: myokit.Expression, values: Mapping[myokit.LhsExpression, Any]) -> Any:
    if isinstance(e, myokit.Number):
        return np.float64(e.value())
    if isinstance(e, myokit.LhsExpression):
        return values[e]
    return OPERATIONS[type(e)](*(_evaluate(operand, values) for operand in e))


def fold(model: myokit.Model) -> list[myokit.Variable]:
    """Fold all equations of a model, constants to numbers, without units; return its variables in evaluation order."""
    order = [equation.lhs.var() for block in model.solvable_order().values() for equation in block]
    for variable in order:
        variable.set_unit(None)
        variable.set_rhs(fold_constants(variable.rhs()))
    return order


def fold_constants(e: myokit.Expression) -> myokit.Expression:
    """Return the expression with every constant subexpression as one number; see `simplify`."""
    e = simplify(e)
    if isinstance(e, myokit.LhsExpression | myokit.Number):
        return e
    return type(e)(*(fold_constants(operand) for operand in e))


def simplify(e: myokit.Expression) -> myokit.Expression:
    """Simplify the outermost operator: a constant becomes a number, unreachable branches are removed.

    `a // b` and `a % b` are replaced by their definitions with floor(a / b), so that all solvers round them equally.
    """
    if isinstance(e, myokit.If | myokit.Piecewise):
        *branches, otherwise = _reachable(e)
        if not branches:
            return simplify(otherwise)
        e = myokit.Piecewise(*branches, otherwise)
    elif isinstance(e, myokit.Quotient | myokit.Remainder):
        floor = myokit.Floor(myokit.Divide(e[0], e[1]))
        e = floor if isinstance(e, myokit.Quotient) else myokit.Minus(e[0], myokit.Multiply(e[1], floor))
    if e.is_constant() and not isinstance(e, myokit.Condition | myokit.Number):
        return myokit.Number(float(evaluate(e)))
    return e


def _reachable(e: myokit.If | myokit.Piecewise) -> list[myokit.Expression]:
    """Return condition, branch, condition, branch, ..., otherwise, without constant conditions."""
    *pairs, otherwise = e
    reachable: list[myokit.Expression] = []
    for condition, branch in zip(pairs[::2], pairs[1::2], strict=True):
        if not condition.is_constant():
            reachable += [condition, branch]
        elif evaluate(condition):
            return [*reachable, branch]
    return [*reachable, otherwise]
