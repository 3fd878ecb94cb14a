"""The analytic Jacobian of a cell model: sparse, without expression swell."""

from collections.abc import Sequence

import myokit

from cardioemu.simulation.equations.right_hand_side import Assignment, Equations

Entries = dict[tuple[int, int], myokit.Expression]


def jacobian(equations: Equations, recorded: Sequence[myokit.Variable] = ()) -> tuple[list[Assignment], Entries]:
    """Differentiate every right-hand side with respect to every state, by the chain rule over named intermediates.

    Variables in `recorded` are differentiated too, as further rows.

    Myokit differentiates one expression at a time and leaves a partial derivative for each variable in it. Each partial
    derivative becomes one assignment, so an intermediate used in several places is differentiated once.

    Returns:
        The assignments of the partial derivatives in evaluation order, and the non-zero entries by (row, column). If
        the right-hand side depends on time, time is an additional column after the states.
    """
    assignments: dict[myokit.PartialDerivative, myokit.Expression] = {}

    def differentiate(expression: myokit.Expression, by: myokit.Variable) -> myokit.Expression | None:
        derivative = _differentiable(expression).diff(myokit.Name(by))
        partials = [r for r in derivative.references() if isinstance(r, myokit.PartialDerivative)]
        for partial in sorted(partials, key=equations.name):  # sets have no order; the generated source needs one
            if partial not in assignments:
                inner = differentiate(partial.dependent_expression().var().rhs(), by)
                assignments[partial] = inner or myokit.Number(0)
        return None if isinstance(derivative, myokit.Number) and derivative.eval() == 0 else derivative

    columns = (*equations.states, *([] if equations.time is None else [equations.time]))
    entries = {}
    for i, row in enumerate((*equations.states, *recorded)):
        for j, column in enumerate(columns):
            entry = differentiate(row.rhs(), column)
            if entry is not None:
                entries[i, j] = entry
    return list(assignments.items()), entries


def _differentiable(expression: myokit.Expression) -> myokit.Expression:
    """Rewrite a^b with a variable exponent as exp(b log a), since Myokit 1.39 differentiates 2^x to 2^x / log 2.

    At a <= 0, where the logarithm does not exist, the derivative is 0: inexact at one point, at the cost of a shorter
    step.
    """
    changed = {}
    for power in expression.walk(myokit.Power):
        if power[1].depends_on_state(deep=True):
            base, exponent = _differentiable(power[0]), _differentiable(power[1])
            positive = myokit.Exp(myokit.Multiply(exponent, myokit.Log(base)))
            changed[power] = myokit.If(myokit.More(base, myokit.Number(0)), positive, myokit.Number(0))
    return expression.clone(subst=changed) if changed else expression
