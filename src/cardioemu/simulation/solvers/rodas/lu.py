"""LU factorisation, as C source, of a matrix with a fixed sparsity pattern."""

from dataclasses import dataclass
from functools import cached_property

Pattern = set[tuple[int, int]]


@dataclass(frozen=True)
class StaticLU:
    """Pivot order and sparsity pattern of the factors, including fill-in.

    Numerical pivoting is not needed: the matrix 1/(gamma h) - J of a Rosenbrock step is dominated by its diagonal if
    the step is small enough, and the error estimate rejects a step that is not.
    """

    order: tuple[int, ...]
    filled: frozenset[tuple[int, int]]

    @cached_property
    def position(self) -> dict[tuple[int, int], int]:
        """Index of each entry in the array of the factors, the diagonal first."""
        diagonal = [(i, i) for i in range(len(self.order))]
        return {entry: k for k, entry in enumerate(diagonal + sorted(self.filled.difference(diagonal)))}

    def factorise(self, a: str) -> list[str]:
        """Return C statements that replace the array `a` of entries by its factors, with the inverse of every pivot."""
        lines = []
        for k, p in enumerate(self.order):
            lines.append(f"{a}[{p}] = 1.0 / {a}[{p}];")
            right = [j for j in self.order[k + 1 :] if (p, j) in self.filled]
            for i in self.order[k + 1 :]:
                if (i, p) in self.filled:
                    factor = f"{a}[{self.position[i, p]}]"
                    lines.append(f"{factor} *= {a}[{p}];")
                    lines += [f"{a}[{self.position[i, j]}] -= {factor} * {a}[{self.position[p, j]}];" for j in right]
        return lines

    def solve(self, a: str, x: str) -> list[str]:
        """Return C statements that replace the right-hand side in the array `x` by the solution."""
        lines = []
        for k, p in enumerate(self.order):
            below = [i for i in self.order[k + 1 :] if (i, p) in self.filled]
            lines += [f"{x}[{i}] -= {a}[{self.position[i, p]}] * {x}[{p}];" for i in below]
        for k, p in reversed(list(enumerate(self.order))):
            right = [j for j in self.order[k + 1 :] if (p, j) in self.filled]
            terms = "".join(f" - {a}[{self.position[p, j]}] * {x}[{j}]" for j in right)
            lines.append(f"{x}[{p}] = ({x}[{p}]{terms}) * {a}[{p}];")
        return lines


def static_lu(pattern: Pattern, size: int) -> StaticLU:
    """Order the pivots for little fill-in (Markowitz: smallest product of row and column counts, then by index)."""
    filled, remaining, order = set(pattern) | {(i, i) for i in range(size)}, set(range(size)), []

    def cost(p: int) -> tuple[int, int]:
        others = remaining - {p}
        return sum((i, p) in filled for i in others) * sum((p, j) in filled for j in others), p

    while remaining:
        p = min(remaining, key=cost)
        order.append(p)
        remaining.discard(p)
        filled.update((i, j) for i in remaining for j in remaining if (i, p) in filled and (p, j) in filled)
    return StaticLU(tuple(order), frozenset(filled))
