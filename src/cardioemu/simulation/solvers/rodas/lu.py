"""LU factorisation of a matrix whose sparsity pattern is known when the source is written."""

from dataclasses import dataclass
from functools import cached_property

Pattern = set[tuple[int, int]]


@dataclass(frozen=True)
class StaticLU:
    """The pivot order, and the pattern of the factors with their fill-in.

    No pivoting for size: the matrix 1/(gamma h) - J of a Rosenbrock step is dominated by its diagonal once the step
    is small enough, and a step that is not is rejected by its error.
    """

    order: tuple[int, ...]
    filled: frozenset[tuple[int, int]]

    @cached_property
    def position(self) -> dict[tuple[int, int], int]:
        """Where each entry stands in the array of the factors: the diagonal first."""
        size = len(self.order)
        return {
            entry: number
            for number, entry in enumerate(
                [(i, i) for i in range(size)] + sorted((i, j) for i, j in self.filled if i != j)
            )
        }

    def factorise(self, a: str) -> list[str]:
        """C statements that turn the array `a` of the entries into its factors, with the inverse of every pivot."""
        lines = []
        for k, p in enumerate(self.order):
            lines.append(f"{a}[{p}] = 1.0 / {a}[{p}];")
            right = [j for j in self.order[k + 1 :] if (p, j) in self.filled]
            for i in self.order[k + 1 :]:
                if (i, p) in self.filled:
                    lines.append(f"{a}[{self.position[i, p]}] *= {a}[{p}];")
                    lines += [
                        f"{a}[{self.position[i, j]}] -= {a}[{self.position[i, p]}] * {a}[{self.position[p, j]}];" for j in right
                    ]
        return lines

    def solve(self, a: str, x: str) -> list[str]:
        """C statements that replace the right-hand side in the array `x` by the solution."""
        lines = []
        for k, p in enumerate(self.order):
            below = [i for i in self.order[k + 1 :] if (i, p) in self.filled]
            lines += [f"{x}[{i}] -= {a}[{self.position[i, p]}] * {x}[{p}];" for i in below]
        for k, p in reversed(list(enumerate(self.order))):
            right = [j for j in self.order[k + 1 :] if (p, j) in self.filled]
            known = "".join(f" - {a}[{self.position[p, j]}] * {x}[{j}]" for j in right)
            lines.append(f"{x}[{p}] = ({x}[{p}]{known}) * {a}[{p}];")
        return lines


def static_lu(pattern: Pattern, size: int) -> StaticLU:
    """Orders the pivots for little fill-in (Markowitz: fewest products of row and column counts, first by number)."""
    live, left, order = set(pattern) | {(i, i) for i in range(size)}, set(range(size)), []
    filled = set(live)

    def cost(p: int) -> tuple[int, int]:
        others = left - {p}
        return sum((i, p) in live for i in others) * sum((p, j) in live for j in others), p

    while left:
        p = min(left, key=cost)
        order.append(p)
        left.discard(p)
        live.update((i, j) for i in left for j in left if (i, p) in live and (p, j) in live)
        filled |= live
    return StaticLU(tuple(order), frozenset(filled))
