"""Expressions as source code: NumPy, and C on SIMD vectors."""

from collections.abc import Callable, Iterable
from typing import Any

import myokit
import numpy as np
from myokit.formats.ansic import AnsiCExpressionWriter
from myokit.formats.python import NumPyExpressionWriter

from cardioemu.simulation.equations.folding import evaluate, simplify
from cardioemu.simulation.equations.right_hand_side import Assignment, Equations


class _FoldingWriter:
    """Writer of constant subexpressions as one number, without unreachable branches."""

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


class NumPyWriter(_FoldingWriter, NumPyExpressionWriter):
    """Writer of NumPy source, elementwise over cells."""

    SELECT, INFINITY, NAN = "numpy.where", "numpy.inf", "numpy.nan"

    def _ex_piecewise(self, e: myokit.Piecewise) -> str:
        # `where` is ten times as fast as `select`, but Python limits nested brackets to 200.
        many = len(list(e.conditions())) > 50
        return str(NumPyExpressionWriter._ex_piecewise(self, e) if many else super()._ex_piecewise(e))

    def _ex_partial_derivative(self, e: myokit.PartialDerivative) -> str:
        return self._flhs(e)


class CWriter(_FoldingWriter, AnsiCExpressionWriter):
    """Writer of C source on SIMD vectors, with the functions and macros of `kernel.c`.

    The code has no branches: a conditional computes both sides and selects lane by lane.
    """

    SELECT, INFINITY, NAN = "SELECT", "INFINITY", "NAN"

    def _ex_function(self, e: myokit.Expression, func: str) -> str:
        return f"v_{func}({', '.join(f'VEC({self.ex(x)})' for x in e)})"

    def _ex_log(self, e: myokit.Log) -> str:
        base = f" / v_log(VEC({self.ex(e[1])}))" if len(e) == 2 else ""
        return f"(v_log(VEC({self.ex(e[0])})){base})"

    def _ex_minus(self, e: myokit.Minus) -> str:
        # exp(x) - 1, which many singular rates contain, loses all digits near 0.
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


def numpy_source(e: Equations, assignments: Iterable[Assignment], outputs: Iterable[myokit.Expression]) -> str:
    """Return the source of a NumPy function of (time, y, p, q) that evaluates `assignments` and returns `outputs`.

    Its arguments are time in ms, states, scaled constants and levels of inputs, each (n,) or (n, steps).
    """
    writer = NumPyWriter()
    writer.set_lhs_function(e.name)
    lines = [f"    {e.name(myokit.Name(state))} = y[{i}]" for i, state in enumerate(e.states)]
    lines += [f"    p{i} = p[{i}]" for i in range(len(e.control_values))]
    lines += [f"    q{i} = q[{i}]" for i in range(len(e.inputs))]
    lines += [f"    {e.name(lhs)} = {writer.ex(rhs)}" for lhs, rhs in assignments]
    lines += [f"    return [{', '.join(writer.ex(output) for output in outputs)}]"]
    return "\n".join(["def derivatives(time, y, p, q):", *lines])


def compile_numpy(source: str, name: str) -> Callable[..., list[Any]]:
    """Compile the source of a NumPy function; `name` appears in tracebacks."""
    namespace: dict[str, Any] = {"numpy": np}
    exec(compile(source, f"<{name}>", "exec"), namespace)
    return namespace["derivatives"]
