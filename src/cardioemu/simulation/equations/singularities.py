"""Removable singularities of rate expressions, x / (1 - exp(-x)) at x = 0 and its like, bridged by cubics."""

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import NamedTuple

import myokit
import numpy as np

from cardioemu.simulation.equations.folding import fold_constants
from cardioemu.simulation.equations.probe import NODES, Probe, WIDTHS_mV

Points = frozenset[float]
Cubic = dict[myokit.Name, myokit.Expression]

TELLING_WIDTH = 10  # 1 uV: below the scale of any rate, above its rounding
# The cubic goes through the inner four nodes; at the outer two it is ten times worse than within one width.
TO_OUTER = np.array([[10, -10, 5, -2], [-2, 5, -10, 10]]).T / 3
# Relative misses at the outer two. Smooth rates come near the first; a pole is missed by its own size at any width.
ENOUGH, TOLERANCE = 2e-12, 1e-9
# A model's own guard is kept if the misses are below these two, at its edge and at the least widths.
EDGE, WITHIN = 1e-10, 1e-13
# A value of its own further off than this, relatively, does not stand for the limit: it is meant.
OWN_TOLERANCE = 1e-3

BRIDGE = myokit.parse_expression(
    "piecewise(abs(V - at) < width, a + (V - at) * (b + (V - at) * (c + (V - at) * d)), beside)"
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
    """Bridges the points where a denominator that depends on the potential alone is 0, but the rate has a limit.

    In a window about such a point, the factors that go to 0 or infinity there are replaced by the cubic through their
    product at four points beside it: four numbers, unless a factor holds other states. A window is as wide as keeps
    both curvature, and rounding, which grows towards the point, to 1e-12 of the value and 1e-9 of the slope. Poles
    stay as they are, and so do singularities that cancel in a sum, that only touch 0, or that lie beyond 200 mV.

    Args:
        order: the variables of a folded model in an order in which they can be evaluated.
        potential: the membrane potential, a state in mV.

    Returns:
        The new right-hand side of each variable that needs one.
    """
    search = _Rewriter(order, potential)
    rewritten = {variable: search.assign(variable) for variable in order if not variable.is_bound()}
    return {variable: rhs for variable, rhs in rewritten.items() if rhs is not variable.rhs()}


class _Rewritten(NamedTuple):
    """An expression as it is bridged, where it is singular still, and where it no longer is."""

    expression: myokit.Expression
    still: Points = frozenset()
    before: Points = frozenset()


class _Factor(NamedTuple):
    """A factor of a product as it is in the model, as it is bridged, and its power."""

    original: myokit.Expression
    bridged: _Rewritten
    power: int


class _Rewriter:
    """What is known while the equations are gone through in order.

    Attributes:
        V: the membrane potential.
        probe: to evaluate with.
        needs: what each left-hand side depends on of that which is given: states and bound variables.
        open: where each assigned left-hand side is singular still.
    """

    def __init__(self, order: Sequence[myokit.Variable], potential: myokit.Variable) -> None:
        given = [variable for variable in order if variable.is_state() or variable.is_bound()]
        self.V = myokit.Name(potential)
        self.probe = Probe(self.V, given)
        self.needs = {myokit.Name(v): frozenset([myokit.Name(v)]) for v in given}
        self.open: dict[myokit.LhsExpression, Points] = {}

    def assign(self, variable: myokit.Variable) -> myokit.Expression:
        """Takes the next equation and returns its right-hand side, bridged."""
        self.needs[variable.lhs()] = self._dependencies(variable.rhs())
        rewritten, self.open[variable.lhs()], _ = self._bridge(variable.rhs())
        return rewritten

    def _dependencies(self, e: myokit.Expression) -> frozenset[myokit.Name]:
        return _union(self.needs[reference] for reference in e.references())

    def _bridge(self, e: myokit.Expression) -> _Rewritten:
        if self.V not in self._dependencies(e):
            return _Rewritten(e)
        if isinstance(e, myokit.LhsExpression):
            return _Rewritten(e, self.open.get(e, frozenset()))
        factors = _factors(e)
        if factors[0][0] is e:
            return self._bridge_parts(e)
        return self._bridge_product(e, [_Factor(factor, self._bridge(factor), power) for factor, power in factors])

    def _bridge_parts(self, e: myokit.Expression) -> _Rewritten:
        parts = {part: self._bridge(part) for part in (e.pieces() if isinstance(e, myokit.Piecewise) else e)}
        still, before = _union(part.still for part in parts.values()), _union(part.before for part in parts.values())
        if isinstance(e, myokit.Piecewise) and self._dependencies(e) == {self.V}:
            # The model's own guard: it is kept where it is good, else bridged with all that it guards.
            cubics = {at: cubic for at in before if (cubic := self._cubic(e, at)) and self._has_limit(e, at, cubic)}
            if len(cubics) == len(before):
                to_bridge = [at for at in sorted(before) if not self._is_good(e, at)]
                around = reduce(lambda beside, at: self._if_near(at, cubics[at], beside), to_bridge, e)
                return _Rewritten(around, still, before)
        changed = {part: new.expression for part, new in parts.items() if new.expression is not part}
        return _Rewritten(e.clone(subst=changed) if changed else e, still, before)

    def _bridge_product(self, e: myokit.Expression, factors: list[_Factor]) -> _Rewritten:
        roots = _union(self._roots(factor.original) for factor in factors if factor.power < 0)
        still, before = roots.union(*(f.bridged.still for f in factors)), _union(f.bridged.before for f in factors)
        apart = factors
        for at in still:
            apart = [inner for factor in apart for inner in self._inlined(factor, at)]
        singular = {at: [factor for factor in apart if self._is_singular(factor.original, at)] for at in sorted(still)}
        finite = [at for at, group in singular.items() if group and self._cubic(_original(group), at)]
        together = [factor for factor in apart if any(factor in singular[at] for at in finite)]
        cubics = {at: cubic for at in finite if (cubic := self._cubic(_original(together), at))}
        if cubics:
            around = reduce(lambda beside, at: self._if_near(at, cubics[at], beside), cubics, _rewritten(together))
            others = [factor for factor in apart if factor not in together]
            e = _rewritten([_Factor(around, _Rewritten(around), 1), *others])
        elif any(factor.bridged.expression is not factor.original for factor in factors):
            e = _rewritten(factors)
        return _Rewritten(e, still.difference(cubics), before.union(cubics))

    def _inlined(self, factor: _Factor, at: float) -> list[_Factor]:
        """Takes a variable apart that is singular and holds other states: mostly few of its factors do both."""
        f = factor.original
        if f not in self.open or self._dependencies(f) == {self.V} or not self._is_singular(f, at):
            return [factor]
        inner = [_Factor(g, self._bridge(g), power * factor.power) for g, power in _factors(f.rhs())]
        return [deeper for g in inner for deeper in self._inlined(g, at)]

    def _roots(self, e: myokit.Expression) -> Points:
        return self.probe.roots(e) if self._dependencies(e) == {self.V} else frozenset()

    def _is_singular(self, factor: myokit.Expression, at: float) -> bool:
        """Tells whether a factor goes to 0 or infinity: then it is another at twice the distance."""
        _, far_left, left, right, far_right, _ = np.abs(self.probe.near(factor, at)[:, TELLING_WIDTH].T)
        with np.errstate(all="ignore"):
            return bool((np.abs(np.log2([far_left / left, far_right / right])) > 0.3).any())

    def _misses(self, e: myokit.Expression, at: float) -> np.ndarray:
        """Tells by how much a cubic misses the outer two nodes, relatively, for each of the widths."""
        values = self.probe.near(e, at)
        with np.errstate(all="ignore"):
            misses = np.abs(values[..., 1:5] @ TO_OUTER - values[..., [0, 5]]).max(-1) / np.abs(values).max(-1)
        return np.nan_to_num(misses, nan=np.inf).max(axis=0)

    def _cubic(self, e: myokit.Expression, at: float) -> Cubic | None:
        """Fits a cubic about a point; none where the expression is not smooth."""
        misses = self._misses(e, at)
        if misses.min() > TOLERANCE:
            return None
        width = float(WIDTHS_mV[misses <= max(ENOUGH, 4 * misses.min())].max())
        names = [myokit.Name(name) for name in ("far_left", "left", "right", "far_right")]
        nodes = {name: self._at(e, at + width * node) for name, node in zip(names, NODES[1:5], strict=True)}
        known = {**nodes, myokit.Name("width"): myokit.Number(width)}
        return {
            **known,
            **{myokit.Name(name): fold_constants(form.clone(subst=known)) for name, form in COEFFICIENTS.items()},
        }

    def _at(self, e: myokit.Expression, V_mV: float) -> myokit.Expression:
        """Writes an expression at a fixed V, through all variables that depend on V."""
        fixed = {r: self._at(r.rhs(), V_mV) for r in e.references() if r != self.V and self.V in self.needs[r]}
        return fold_constants(e.clone(subst={**fixed, self.V: myokit.Number(V_mV)}))

    def _has_limit(self, e: myokit.Expression, at: float, cubic: Cubic) -> bool:
        """Tells whether an expression has about its limit as its value at the point itself."""
        own, limit = self.probe.at(e, np.array(at)), cubic[myokit.Name("a")].value()
        return bool(abs(own - limit) <= OWN_TOLERANCE * abs(limit))

    def _is_good(self, e: myokit.Expression, at: float) -> bool:
        """Tells whether an expression is smooth at all widths that suit a cubic, and without rounding at the least."""
        misses = self._misses(e, at)
        return bool(misses[int(np.argmax(misses <= ENOUGH)) :].max() < EDGE and misses[-4:].max() < WITHIN)

    def _if_near(self, at: float, cubic: Cubic, beside: myokit.Expression) -> myokit.Expression:
        here = {"V": self.V, "at": myokit.Number(at), "beside": beside}
        return BRIDGE.clone(subst={**cubic, **{myokit.Name(name): e for name, e in here.items()}})


def _factors(e: myokit.Expression, power: int = 1) -> list[tuple[myokit.Expression, int]]:
    """Takes a product apart, through quotients, signs and whole powers, into factors and their powers."""
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
    return _product((factor.bridged.expression, factor.power) for factor in factors)


def _product(factors: Iterable[tuple[myokit.Expression, int]]) -> myokit.Expression:
    # Constants stand together so that they fold into one number.
    ordered = sorted(factors, key=lambda factor: not factor[0].is_constant())
    powers = [(e if abs(n) == 1 else myokit.Power(e, myokit.Number(abs(n))), n) for e, n in ordered if n]
    above = [e for e, n in powers if n > 0] or [myokit.Number(1)]
    return reduce(myokit.Divide, [e for e, n in powers if n < 0], reduce(myokit.Multiply, above))


def _union(sets: Iterable[frozenset]) -> frozenset:
    return frozenset().union(*sets)
