"""Removable singularities of rate expressions, such as x / (1 - exp(-x)) at x = 0, replaced by cubics."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import myokit
import numpy as np

from cardioemu.simulation.equations.folding import fold_constants
from cardioemu.simulation.equations.probe import NODES, Probe, WIDTHS_mV

Points = frozenset[float]
Cubic = dict[myokit.Name, myokit.Expression]

TEST_WIDTH = 10  # index of a width of 1 uV: below the scale of any rate, above its rounding
# The cubic passes through the inner four nodes; its error at the outer two is ten times that within one width.
TO_OUTER = np.array([[10, -10, 5, -2], [-2, 5, -10, 10]]).T / 3
# Relative errors at the outer two nodes. Smooth rates reach the goal; the error at a pole is of order 1 at any width.
GOAL, TOLERANCE = 2e-12, 1e-9
# The model's own guard is kept if the errors are below these two, at its edge and at the smallest widths.
EDGE, INSIDE = 1e-10, 1e-13
# A value at the point that differs more from the limit, relatively, is the author's intention, not an approximation.
OWN_TOLERANCE = 1e-3

BRIDGE = myokit.parse_expression(
    "piecewise(abs(V - at) < width, a + (V - at) * (b + (V - at) * (c + (V - at) * d)), outside)"
)
COEFFICIENTS = {
    "a": myokit.parse_expression("(4 * (right + left) - (far_right + far_left)) / 6"),
    "b": myokit.parse_expression("(8 * (right - left) - (far_right - far_left)) / (12 * width)"),
    "c": myokit.parse_expression("((far_right + far_left) - (right + left)) / (6 * width^2)"),
    "d": myokit.parse_expression("((far_right - far_left) - 2 * (right - left)) / (12 * width^3)"),
}


def remove_singularities(
    order: Sequence[myokit.Variable], potential: myokit.Variable
) -> dict[myokit.Variable, myokit.Expression]:
    """Replace rates by cubics near points where a denominator that depends on V alone is 0 but the rate has a limit.

    In a window around such a point, the factors that go to 0 or infinity there are replaced by the cubic through their
    product at four points around it: four numbers, unless a factor contains other states. The width of the window
    balances curvature against rounding, which grows towards the point: the errors are 1e-12 of the value and 1e-9 of
    the slope. Not replaced are poles, and singularities that cancel in a sum, only touch 0, or lie beyond 200 mV
    (docs/decisions/0007).

    `order` has the variables of a folded model in evaluation order; `potential` is in mV.

    Returns:
        The new right-hand side of each variable whose right-hand side changes.
    """
    rewriter = _Rewriter(order, potential)
    rewritten = {variable: rewriter.rewrite(variable) for variable in order if not variable.is_bound()}
    return {variable: rhs for variable, rhs in rewritten.items() if rhs is not variable.rhs()}


class _Rewritten(NamedTuple):
    """A rewritten expression, the points at which it is still singular, and the points of removed singularities."""

    expression: myokit.Expression
    singular_at: Points = frozenset()
    removed_at: Points = frozenset()


class _Factor(NamedTuple):
    """A factor of a product: its original expression, its rewritten expression, its power."""

    original: myokit.Expression
    rewritten: _Rewritten
    power: int


class _Rewriter:
    """State of the replacement while it visits the equations of a model in order.

    Attributes:
        V: the membrane potential.
        probe: evaluates expressions.
        dependencies: the states and bound variables on which each left-hand side depends.
        singular_at: the points at which each visited left-hand side is still singular.
    """

    def __init__(self, order: Sequence[myokit.Variable], potential: myokit.Variable) -> None:
        given = [variable for variable in order if variable.is_state() or variable.is_bound()]
        self.V = myokit.Name(potential)
        self.probe = Probe(self.V, given)
        self.dependencies = {myokit.Name(v): frozenset([myokit.Name(v)]) for v in given}
        self.singular_at: dict[myokit.LhsExpression, Points] = {}

    def rewrite(self, variable: myokit.Variable) -> myokit.Expression:
        """Return the rewritten right-hand side of the next variable."""
        self.dependencies[variable.lhs()] = self._dependencies_of(variable.rhs())
        rewritten, self.singular_at[variable.lhs()], _ = self._rewrite(variable.rhs())
        return rewritten

    def _dependencies_of(self, e: myokit.Expression) -> frozenset[myokit.Name]:
        return _union(self.dependencies[reference] for reference in e.references())

    def _rewrite(self, e: myokit.Expression) -> _Rewritten:
        if self.V not in self._dependencies_of(e):
            return _Rewritten(e)
        if isinstance(e, myokit.LhsExpression):
            return _Rewritten(e, self.singular_at.get(e, frozenset()))
        factors = _factors(e)
        if factors[0][0] is e:
            return self._rewrite_operands(e)
        return self._rewrite_product(e, [_Factor(factor, self._rewrite(factor), power) for factor, power in factors])

    def _rewrite_operands(self, e: myokit.Expression) -> _Rewritten:
        operands = {x: self._rewrite(x) for x in (e.pieces() if isinstance(e, myokit.Piecewise) else e)}
        singular_at = _union(new.singular_at for new in operands.values())
        removed_at = _union(new.removed_at for new in operands.values())
        if isinstance(e, myokit.Piecewise) and self._dependencies_of(e) == {self.V}:
            # The model's own guard: kept where it is accurate, otherwise replaced with everything it guards.
            cubics = {at: cubic for at in removed_at if (cubic := self._fit_cubic(e, at))}
            if all(at in cubics and self._has_limit(e, at, cubics[at]) for at in removed_at):
                inaccurate = {at: cubics[at] for at in sorted(removed_at) if not self._is_accurate(e, at)}
                return _Rewritten(self._insert_cubics(inaccurate, e), singular_at, removed_at)
        changed = {x: new.expression for x, new in operands.items() if new.expression is not x}
        return _Rewritten(e.clone(subst=changed) if changed else e, singular_at, removed_at)

    def _rewrite_product(self, e: myokit.Expression, factors: list[_Factor]) -> _Rewritten:
        denominators = [f.original for f in factors if f.power < 0 and self._dependencies_of(f.original) == {self.V}]
        roots = _union(self.probe.roots(denominator) for denominator in denominators)
        singular_at = roots.union(*(f.rewritten.singular_at for f in factors))
        removed_at = _union(f.rewritten.removed_at for f in factors)
        expanded = factors
        for at in singular_at:
            expanded = [inner for factor in expanded for inner in self._expand(factor, at)]
        singular = {at: [f for f in expanded if self._is_singular(f.original, at)] for at in sorted(singular_at)}
        finite = [at for at, group in singular.items() if group and self._fit_cubic(_original(group), at)]
        combined = [factor for factor in expanded if any(factor in singular[at] for at in finite)]
        cubics = {at: cubic for at in finite if (cubic := self._fit_cubic(_original(combined), at))}
        if cubics:
            smooth = self._insert_cubics(cubics, _rewritten(combined))
            others = [factor for factor in expanded if factor not in combined]
            e = _rewritten([_Factor(smooth, _Rewritten(smooth), 1), *others])
        elif any(factor.rewritten.expression is not factor.original for factor in factors):
            e = _rewritten(factors)
        return _Rewritten(e, singular_at.difference(cubics), removed_at.union(cubics))

    def _expand(self, factor: _Factor, at: float) -> list[_Factor]:
        """Expand a singular variable that depends on other states: usually few of its factors are both."""
        f = factor.original
        if f not in self.singular_at or self._dependencies_of(f) == {self.V} or not self._is_singular(f, at):
            return [factor]
        inner = [_Factor(g, self._rewrite(g), power * factor.power) for g, power in _factors(f.rhs())]
        return [deeper for g in inner for deeper in self._expand(g, at)]

    def _is_singular(self, factor: myokit.Expression, at: float) -> bool:
        """Return whether a factor goes to 0 or infinity: then its value differs at twice the distance."""
        _, far_left, left, right, far_right, _ = np.abs(self.probe.near(factor, at)[:, TEST_WIDTH].T)
        with np.errstate(all="ignore"):
            return bool((np.abs(np.log2([far_left / left, far_right / right])) > 0.3).any())

    def _errors(self, e: myokit.Expression, at: float) -> np.ndarray:
        """Return the relative error of a cubic at the outer two nodes, for each width."""
        values = self.probe.near(e, at)
        with np.errstate(all="ignore"):
            errors = np.abs(values[..., 1:5] @ TO_OUTER - values[..., [0, 5]]).max(-1) / np.abs(values).max(-1)
        return np.nan_to_num(errors, nan=np.inf).max(axis=0)

    def _fit_cubic(self, e: myokit.Expression, at: float) -> Cubic | None:
        """Fit a cubic around a point; return None if the expression is not smooth."""
        errors = self._errors(e, at)
        if errors.min() > TOLERANCE:
            return None
        width = float(WIDTHS_mV[errors <= max(GOAL, 4 * errors.min())].max())
        names = [myokit.Name(name) for name in ("far_left", "left", "right", "far_right")]
        nodes = {name: self._fix_V(e, at + width * node) for name, node in zip(names, NODES[1:5], strict=True)}
        values = {**nodes, myokit.Name("width"): myokit.Number(width)}
        return values | {
            myokit.Name(name): fold_constants(form.clone(subst=values)) for name, form in COEFFICIENTS.items()
        }

    def _fix_V(self, e: myokit.Expression, V_mV: float) -> myokit.Expression:
        """Substitute a fixed V in an expression and in all variables it refers to."""
        dependent = [r for r in e.references() if r != self.V and self.V in self.dependencies[r]]
        fixed = {r: self._fix_V(r.rhs(), V_mV) for r in dependent}
        return fold_constants(e.clone(subst={**fixed, self.V: myokit.Number(V_mV)}))

    def _has_limit(self, e: myokit.Expression, at: float, cubic: Cubic) -> bool:
        """Return whether the value of an expression at the point itself is close to its limit."""
        own, limit = self.probe.at(e, np.array(at)), cubic[myokit.Name("a")].value()
        return bool(abs(own - limit) <= OWN_TOLERANCE * abs(limit))

    def _is_accurate(self, e: myokit.Expression, at: float) -> bool:
        """Return whether an expression is smooth at all widths for a cubic, and free of rounding at the smallest."""
        errors = self._errors(e, at)
        return bool(errors[int(np.argmax(errors <= GOAL)) :].max() < EDGE and errors[-4:].max() < INSIDE)

    def _insert_cubics(self, cubics: Mapping[float, Cubic], e: myokit.Expression) -> myokit.Expression:
        for at, cubic in cubics.items():
            names = {"V": self.V, "at": myokit.Number(at), "outside": e}
            e = BRIDGE.clone(subst={**cubic, **{myokit.Name(name): value for name, value in names.items()}})
        return e


def _factors(e: myokit.Expression, power: int = 1) -> list[tuple[myokit.Expression, int]]:
    """Split a product, including quotients, signs and integer powers, into factors and their powers."""
    if isinstance(e, myokit.Multiply | myokit.Divide):
        return _factors(e[0], power) + _factors(e[1], power if isinstance(e, myokit.Multiply) else -power)
    if isinstance(e, myokit.PrefixMinus):
        return [(myokit.Number(-1), power), *_factors(e[0], power)]
    if isinstance(e, myokit.PrefixPlus):
        return _factors(e[0], power)
    if isinstance(e, myokit.Power) and isinstance(e[1], myokit.Number) and e[1].value().is_integer():
        return _factors(e[0], power * int(e[1].value()))
    return [(e, power)]


def _original(factors: Iterable[_Factor]) -> myokit.Expression:
    return _product((factor.original, factor.power) for factor in factors)


def _rewritten(factors: Iterable[_Factor]) -> myokit.Expression:
    return _product((factor.rewritten.expression, factor.power) for factor in factors)


def _product(factors: Iterable[tuple[myokit.Expression, int]]) -> myokit.Expression:
    # Constants are adjacent, so that they fold into one number.
    ordered = sorted(factors, key=lambda factor: not factor[0].is_constant())
    powers = [(e if abs(n) == 1 else myokit.Power(e, myokit.Number(abs(n))), n) for e, n in ordered if n]
    above = [e for e, n in powers if n > 0] or [myokit.Number(1)]
    return reduce(myokit.Divide, [e for e, n in powers if n < 0], reduce(myokit.Multiply, above))


def _union(sets: Iterable[frozenset]) -> frozenset:
    return frozenset().union(*sets)
