"""The right-hand side of a cell model as an ordered list of assignments, ready to be written in any language."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import myokit
import numpy as np
from myokit.formats.ansic import AnsiCExpressionWriter
from myokit.formats.python import NumPyExpressionWriter

from cardioemu.common.errors import UserError
from cardioemu.simulation.equations.explicit_time import LevelAt, extract_time_inputs
from cardioemu.simulation.equations.folding import evaluate, fold, simplify
from cardioemu.simulation.equations.singularities import remove_singularities

Assignment = tuple[myokit.LhsExpression, myokit.Expression]


@dataclass(frozen=True)
class Input:
    """What drives the cell from outside, constant between edges in time: a stimulus.

    Attributes:
        binding: the name a protocol drives it by ("pace"), or "time".
        value: what the model file gives it, at time 0.
        of_time: its level as a function of time, (n,) ms -> (n,), where the model file itself gives it one.
    """

    binding: str
    value: float
    level_at: LevelAt | None = None


@dataclass(frozen=True)
class Equations:
    """Assignments in an order in which they can be evaluated, plain constants folded into numbers.

    Attributes:
        states: in the model's order.
        assignments: of the derivatives and what they need; scaled constants, inputs and time are given, not assigned.
        controls: values of the scaled constants at scale 1.
        inputs: what protocols drive, and what the model lets jump in time.
        time: the time variable where the right-hand side depends on it other than through `inputs`, else None.
        name: what a variable, derivative or partial derivative is called in the generated source: scaled constants are
            p0, p1, ..., inputs q0, q1, ..., time is `time`.
    """

    states: tuple[myokit.Variable, ...]
    assignments: tuple[Assignment, ...]
    control_values: np.ndarray
    inputs: tuple[Input, ...]
    time: myokit.Variable | None
    name: Callable[[myokit.LhsExpression], str]

    def file_levels(self, time_ms: float | int) -> np.ndarray:
        """Returns the levels (inputs,) that the model file gives its inputs at a time."""
        return np.array([i.value if i.level_at is None else i.level_at(np.array([time_ms]))[0] for i in self.inputs])


def build_equations(model: myokit.Model, scaled: Mapping[str, str]) -> Equations:
    """Orders the equations of a model whose constants `scaled` (name -> variable) become inputs.

    Raises:
        UserError: two of `scaled` depend on each other.
    """
    model = model.clone()
    scaled_constants = [model.get(qname) for qname in scaled.values()]
    _refuse_entangled(scaled_constants)
    driven = _driven(model)
    for i, variable in enumerate(scaled_constants):
        variable.set_binding(f"scaled_{i}")
    order, timed = extract_time_inputs(model, fold(model))
    for variable, rhs in remove_singularities(order, model.label("membrane_potential")).items():
        variable.set_rhs(rhs)
    time = model.time() if model.time().is_referenced() else None
    inputs = [Input(binding, float(evaluate(v.rhs()))) for v, binding in driven.items()]
    inputs += [Input("time", float(evaluate(v.rhs())), of_time) for v, of_time in timed.items()]
    assignments = [(v.lhs(), v.rhs()) for v in order if not (v.is_constant() or v.is_bound())]
    return Equations(
        tuple(model.states()),
        tuple(assignments),
        np.array([evaluate(variable.rhs()) for variable in scaled_constants], dtype=float),
        tuple(inputs),
        time,
        _names(order, time, scaled_constants, [*driven, *timed]),
    )


def _driven(model: myokit.Model) -> dict[myokit.Variable, str]:
    """The variables that a protocol may drive -> the names they are bound by; others are as their equations say."""
    bound = {v: v.binding() for v in model.variables(bound=True, deep=True, sort=True) if v.binding() != "time"}
    for variable in bound:
        variable.set_binding(None)
    driven = {v: binding for v, binding in bound.items() if v.is_constant() and v.is_referenced()}
    for i, variable in enumerate(driven):
        variable.set_binding(f"driven_{i}")
    return driven


def _names(
    order: Sequence[myokit.Variable],
    time: myokit.Variable | None,
    scaled: Sequence[myokit.Variable],
    inputs: Sequence[myokit.Variable],
) -> Callable[[myokit.LhsExpression], str]:
    given = {variable: f"p{i}" for i, variable in enumerate(scaled)}
    given |= {variable: f"q{i}" for i, variable in enumerate(inputs)}
    if time is not None:
        given[time] = "time"
    number = {variable: i for i, variable in enumerate(order)}

    def name(lhs: myokit.LhsExpression) -> str:
        # The number makes the name unique: a.b_c and a_b.c would otherwise be the same word.
        if isinstance(lhs, myokit.PartialDerivative):
            return f"{name(lhs.dependent_expression())}_by_{name(lhs.independent_expression())}"
        variable = lhs.var()
        if variable in given:
            return given[variable]
        if variable.is_state():
            return f"{'d' if isinstance(lhs, myokit.Derivative) else 'y'}{variable.index()}_{variable.name()}"
        return f"v{number[variable]}_{variable.name()}"

    return name


def _refuse_entangled(constants: Sequence[myokit.Variable]) -> None:
    # Each is replaced by its own scaled value, so a scale of one would not reach the other.
    for i, variable in enumerate(constants):
        for j, other in enumerate(constants):
            if i != j and (variable is other or variable.rhs().depends_on(other.lhs(), deep=True)):
                raise UserError(
                    f"simulator.scaled: {variable.qname()} is scaled twice, directly and as {other.qname()}; "
                    "leave one out"
                )


class _Folding:
    """Writes every constant part as one number, without the branches that are never taken."""

    SELECT: str
    INFINITY: str
    NAN: str

    def ex(self, e: myokit.Expression) -> str:
        return super().ex(simplify(e))  # type: ignore[misc]

    def _ex_number(self, e: myokit.Number) -> str:
        value = e.value()
        if np.isnan(value):
            return self.NAN
        magnitude = repr(abs(value)) if np.isfinite(value) else self.INFINITY
        return f"(-{magnitude})" if np.signbit(value) else magnitude

    def _ex_piecewise(self, e: myokit.Piecewise) -> str:
        *branches, otherwise = [self.ex(x) for x in e.pieces()]
        for condition, branch in reversed(list(zip(e.conditions(), branches, strict=True))):
            otherwise = f"{self.SELECT}({self.ex(condition)}, {branch}, {otherwise})"
        return otherwise


class NumPyWriter(_Folding, NumPyExpressionWriter):
    """Expressions as NumPy source, elementwise over cells."""

    SELECT, INFINITY, NAN = "numpy.where", "numpy.inf", "numpy.nan"

    def _ex_piecewise(self, e: myokit.Piecewise) -> str:
        # `where` is ten times as fast as `select`, but Python allows no more than 200 brackets within each other.
        many = len(list(e.conditions())) > 50
        return str(NumPyExpressionWriter._ex_piecewise(self, e) if many else super()._ex_piecewise(e))


class CWriter(_Folding, AnsiCExpressionWriter):
    """Expressions as C source on SIMD vectors, in the vocabulary of `kernel.c`.

    No operator branches: a conditional computes both sides and selects lane by lane.
    """

    SELECT, INFINITY, NAN = "SELECT", "INFINITY", "NAN"

    def _ex_function(self, e: myokit.Expression, func: str) -> str:
        return f"v_{func}({', '.join(f'VEC({self.ex(x)})' for x in e)})"

    def _ex_log(self, e: myokit.Log) -> str:
        base = f" / v_log(VEC({self.ex(e[1])}))" if len(e) == 2 else ""
        return f"(v_log(VEC({self.ex(e[0])})){base})"

    def _ex_minus(self, e: myokit.Minus) -> str:
        # Near 0 the difference would be all rounding; many singular rates are made of it.
        for sign, exponential, one in (("", e[0], e[1]), ("-", e[1], e[0])):
            if isinstance(exponential, myokit.Exp) and one == myokit.Number(1):
                return f"({sign}v_expm1(VEC({self.ex(exponential[0])})))"
        return str(super()._ex_minus(e))

    def _ex_power(self, e: myokit.Power) -> str:
        base = f"VEC({self.ex(e[0])})"
        if e[1].is_constant():
            n = float(evaluate(e[1]))
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
