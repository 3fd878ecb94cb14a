"""Values of a model's expressions as functions of the membrane potential."""

from collections.abc import Iterable

import myokit
import numpy as np

from cardioemu.simulation.equations.folding import evaluate

Values = dict[myokit.LhsExpression, np.ndarray]

# No round numbers, at which models have their roots: every root is a change of sign between grid points.
GRID_mV = np.linspace(-200.0123, 200.0321, 4001)
WIDTHS_mV = 2.0 ** -np.arange(18)
NODES = np.array([-3, -2, -1, 1, 2, 3])
DRAWS = 3


class Probe:
    """Evaluates expressions over V, with random values of the other states and bound variables."""

    def __init__(self, V: myokit.Name, others: Iterable[myokit.Variable]) -> None:
        random = np.random.default_rng(0)
        starts = {v: evaluate(v.initial_value() if v.is_state() else v.rhs()) or 0.01 for v in others}
        self.V = V
        self.others = {myokit.Name(v): x * random.uniform(0.5, 1.5, (DRAWS, 1, 1)) for v, x in starts.items()}
        self._roots: dict[myokit.Expression, frozenset[float]] = {}
        self._on_grid: Values = {V: GRID_mV}
        self._near: dict[float, Values] = {}

    def at(self, e: myokit.Expression, V_mV: np.ndarray) -> np.ndarray:
        """Evaluate an expression that depends on V alone."""
        return np.asarray(evaluate(e, {self.V: V_mV}))

    def near(self, e: myokit.Expression, at_mV: float) -> np.ndarray:
        """Evaluate an expression around a point: (draws, widths, nodes)."""
        values = self._near.setdefault(at_mV, {**self.others, self.V: at_mV + WIDTHS_mV[:, None] * NODES})
        return np.broadcast_to(evaluate(e, values), (DRAWS, len(WIDTHS_mV), len(NODES)))

    def roots(self, e: myokit.Expression) -> frozenset[float]:
        """Return where an expression that depends on V alone changes its sign in [-200, 200] mV, by bisection."""
        if e not in self._roots:
            sign = np.sign(evaluate(e, self._on_grid))
            changes = np.flatnonzero(sign[:-1] * sign[1:] < 0)
            low, high, sign = GRID_mV[changes], GRID_mV[changes + 1], sign[changes]
            for _ in range(50 if len(changes) else 0):
                middle = (low + high) / 2
                is_low = np.sign(self.at(e, middle)) == sign
                low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
            self._roots[e] = frozenset((np.round(high, 9) + 0.0).tolist())
        return self._roots[e]
