"""The right-hand side of a cell model as an ordered list of assignments, ready to be written in any language."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import myokit
import numpy as np
from myokit.formats.ansic import AnsiCExpressionWriter
from myokit.formats.python import NumPyExpressionWriter

from cardioemu.errors import UserError

Assignment = tuple[myokit.LhsExpression, myokit.Expression]


@dataclass(frozen=True)
class Equations:
    """Assignments in an order in which they can be evaluated, plain constants folded into numbers.

    Attributes:
        states: in the model's order.
        assignments: of the derivatives and what they need; the scaled constants are given, not assigned.
        controls: values of the scaled constants at scale 1.
        name: what a variable, derivative or partial derivative is called in the generated source.
    """

    states: tuple[myokit.Variable, ...]
    assignments: tuple[Assignment, ...]
    controls: np.ndarray
    name: Callable[[myokit.LhsExpression], str]


def equations(model: myokit.Model, scaled: Mapping[str, str]) -> Equations:
    """Orders the equations of a model whose constants `scaled` (name -> variable) become inputs.

    Raises:
        UserError: the right-hand side depends on time other than through its states, or two of `scaled` on each other.
    """
    model = model.clone()
    for variable in model.variables(bound=True):
        if variable.binding() == "time":
            _refuse_explicit_time(variable)
        else:
            _unbind(variable)
    inputs = [model.get(qname) for qname in scaled.values()]
    _refuse_entangled(inputs)
    controls = np.array([variable.eval() for variable in inputs], dtype=float)
    for i, variable in enumerate(inputs):
        variable.set_binding(f"scaled_{i}")
    order = {variable: i for i, variable in enumerate(model.variables(deep=True))}
    states = tuple(model.states())

    def name(lhs: myokit.LhsExpression) -> str:
        # The number makes the name unique: a.b_c and a_b.c would otherwise be the same word.
        if isinstance(lhs, myokit.PartialDerivative):
            return f"{name(lhs.dependent_expression())}_by_{name(lhs.independent_expression())}"
        variable = lhs.var()
        if variable in inputs:
            return f"p{inputs.index(variable)}"
        prefix = "d" if isinstance(lhs, myokit.Derivative) else "y" if variable.is_state() else "v"
        return f"{prefix}{states.index(variable) if variable.is_state() else order[variable]}_{variable.name()}"

    blocks = model.solvable_order().values()
    assignments = tuple(
        (equation.lhs, equation.rhs)
        for block in blocks
        for equation in block
        if not (equation.lhs.var().is_constant() or equation.lhs.var().is_bound())
    )
    return Equations(states, assignments, controls, name)


def _refuse_explicit_time(time: myokit.Variable) -> None:
    users = sorted(variable.qname() for variable in time.refs_by())
    if users:
        raise UserError(
            f"cell model: {', '.join(users)} uses time directly, which the solvers do not offer; "
            "write it with states, or as a pacing protocol"
        )


def _refuse_entangled(inputs: Sequence[myokit.Variable]) -> None:
    # Each is replaced by its own scaled value, so a scale of one would not reach the other.
    for i, variable in enumerate(inputs):
        for j, other in enumerate(inputs):
            if i != j and (variable is other or variable.rhs().depends_on(other.lhs(), deep=True)):
                raise UserError(
                    f"scaled: {variable.qname()} is scaled twice, directly and as {other.qname()}; leave one out"
                )


def _unbind(variable: myokit.Variable) -> None:
    # Without a protocol a bound input (pace, diffusion current, ...) keeps the value its file gives it.
    variable.set_binding(None)


class _Folding:
    """Writes every constant subexpression as one number, without the branches that a constant condition rules out."""

    SELECT: str

    def ex(self, e: myokit.Expression) -> str:
        if isinstance(e, myokit.If | myokit.Piecewise):
            e = _possible(e)
        if e.is_constant() and not isinstance(e, myokit.Condition | myokit.PartialDerivative):
            value = _constant(e)
            return f"({value!r})" if value < 0 else repr(value)
        return super().ex(e)  # type: ignore[misc]

    def _ex_piecewise(self, e: myokit.Piecewise) -> str:
        *branches, otherwise = [self.ex(x) for x in e.pieces()]
        for condition, branch in reversed(list(zip(e.conditions(), branches, strict=True))):
            otherwise = f"{self.SELECT}({self.ex(condition)}, {branch}, {otherwise})"
        return otherwise


def _possible(e: myokit.If | myokit.Piecewise) -> myokit.Expression:
    """Leaves the first branch whose condition always holds as the last, and none whose condition never does."""
    *branches, otherwise = e.pieces() if isinstance(e, myokit.Piecewise) else (e.value(True), e.value(False))
    conditions = e.conditions() if isinstance(e, myokit.Piecewise) else [e.condition()]
    possible: list[myokit.Expression] = []
    for condition, branch in zip(conditions, branches, strict=True):
        if not condition.is_constant():
            possible += [condition, branch]
        elif condition.eval():
            otherwise = branch
            break
    return myokit.Piecewise(*possible, otherwise) if possible else otherwise


def _constant(e: myokit.Expression) -> float:
    try:
        with np.errstate(all="ignore"):
            value = float(e.eval())
    except (myokit.NumericalError, TypeError):  # a division by zero, or a complex number
        value = np.nan
    if not np.isfinite(value):
        raise UserError(f"cell model: the constant expression {e.code()} has no finite value")
    return value


class NumPyWriter(_Folding, NumPyExpressionWriter):
    """Expressions as NumPy source, elementwise over cells."""

    SELECT = "numpy.where"


class CWriter(_Folding, AnsiCExpressionWriter):
    """Expressions as C source on SIMD vectors, in the vocabulary of `kernel.c`.

    No operator branches: a conditional computes both sides and selects lane by lane.
    """

    SELECT = "SELECT"

    def _ex_function(self, e: myokit.Expression, func: str) -> str:
        return f"v_{func}({', '.join(f'VEC({self.ex(x)})' for x in e)})"

    def _ex_log(self, e: myokit.Log) -> str:
        base = f" / v_log(VEC({self.ex(e[1])}))" if len(e) == 2 else ""
        return f"(v_log(VEC({self.ex(e[0])})){base})"

    def _ex_power(self, e: myokit.Power) -> str:
        base = f"VEC({self.ex(e[0])})"
        if e[1].is_constant():
            n = float(e[1].eval())
            if n.is_integer() and abs(n) <= 64:
                return f"v_ipow({base}, {int(n)})"
            if n in (0.5, 1.5):
                return f"v_sqrt({base})" if n == 0.5 else f"({base} * v_sqrt({base}))"
        return f"v_pow({base}, VEC({self.ex(e[1])}))"

    def _ex_infix_comparison(self, e: myokit.Expression, op: str) -> str:
        return f"(VEC({self.ex(e[0])}) {op} VEC({self.ex(e[1])}))"

    def _ex_and(self, e: myokit.And) -> str:
        return f"({self.ex(e[0])} & {self.ex(e[1])})"

    def _ex_or(self, e: myokit.Or) -> str:
        return f"({self.ex(e[0])} | {self.ex(e[1])})"

    def _ex_not(self, e: myokit.Not) -> str:
        return f"(~{self.ex(e[0])})"
