"""The right-hand side of a cell model as an ordered list of assignments, ready to be written in any language."""

from collections.abc import Callable, Mapping
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

    Scaled constants are inputs: `inputs` are their names in the generated source, `controls` their values at scale 1.
    """

    states: tuple[myokit.Variable, ...]
    assignments: tuple[Assignment, ...]
    controls: np.ndarray
    name: Callable[[myokit.LhsExpression], str]


def equations(model: myokit.Model, scaled: Mapping[str, str]) -> Equations:
    """Orders the equations of a model whose constants `scaled` (name -> variable) become inputs.

    Raises:
        UserError: the right-hand side depends on time other than through its states.
    """
    model = model.clone()
    for variable in model.variables(bound=True):
        if variable.binding() == "time":
            _refuse_explicit_time(variable)
        else:
            _unbind(variable)
    inputs = [model.get(qname) for qname in scaled.values()]
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


def _unbind(variable: myokit.Variable) -> None:
    # Without a protocol a bound input (pace, diffusion current, ...) keeps the value its file gives it.
    variable.set_binding(None)


class _Folding:
    """Writes every constant subexpression as one number, and a conditional with a constant condition as its branch."""

    def ex(self, e: myokit.Expression) -> str:
        if not isinstance(e, myokit.Condition | myokit.PartialDerivative):
            if e.is_constant():
                return self.number(float(e.eval()))
            if isinstance(e, myokit.If) and e._i.is_constant():
                return self.ex(e._t if e._i.eval() else e._e)
        return super().ex(e)  # type: ignore[misc]

    def number(self, value: float) -> str:
        return f"({value!r})" if value < 0 else repr(value)


class NumPyWriter(_Folding, NumPyExpressionWriter):
    """Expressions as NumPy source, elementwise over cells."""

    def _ex_if(self, e: myokit.If) -> str:
        return f"numpy.where({self.ex(e._i)}, {self.ex(e._t)}, {self.ex(e._e)})"


class CWriter(_Folding, AnsiCExpressionWriter):
    """Expressions as C source on SIMD vectors, in the vocabulary of `kernel.c`.

    No operator branches: a conditional computes both sides and selects lane by lane.
    """

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

    def _ex_if(self, e: myokit.If) -> str:
        return f"SELECT({self.ex(e._i)}, {self.ex(e._t)}, {self.ex(e._e)})"

    def _ex_piecewise(self, e: myokit.Piecewise) -> str:
        *branches, otherwise = [self.ex(x) for x in e._e]
        for condition, branch in reversed(list(zip(e._i, branches, strict=True))):
            otherwise = f"SELECT({self.ex(condition)}, {branch}, {otherwise})"
        return otherwise
