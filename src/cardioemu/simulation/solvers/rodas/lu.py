"""LU factorisation of a matrix whose sparsity pattern is known when the source is written."""

from dataclasses import dataclass

Pattern = set[tuple[int, int]]


@dataclass(frozen=True)
class StaticLU:
    """The pivot order, and the pattern of the factors with their fill-in.

    No pivoting for size: the matrix 1/(gamma h) - J of a Rosenbrock step is dominated by its diagonal once the step
    is small enough, and a step that is not is rejected by its error.
    """

    order: tuple[int, ...]
    pattern: frozenset[tuple[int, int]]
    filled: frozenset[tuple[int, int]]

    def factorise(self) -> list[str]:
        """C statements that turn `a_i_j` into its factors: `l_i_j`, `a_i_j` above the diagonal, `r_i` = 1/pivot."""
        lines, known = [], set(self.pattern)
        for k, p in enumerate(self.order):
            lines.append(f"const vec r_{p} = 1.0 / a_{p}_{p};")
            below = [i for i in self.order[k + 1 :] if (i, p) in self.filled]
            right = [j for j in self.order[k + 1 :] if (p, j) in self.filled]
            for i in below:
                lines.append(f"const vec l_{i}_{p} = a_{i}_{p} * r_{p};")
                for j in right:
                    update = f"a_{i}_{j} -= " if (i, j) in known else f"vec a_{i}_{j} = -"
                    lines.append(f"{update}l_{i}_{p} * a_{p}_{j};")
                    known.add((i, j))
        return lines

    def solve(self, x: str) -> list[str]:
        """C statements that replace the right-hand side `x0, x1, ...` by the solution."""
        lines = []
        for k, p in enumerate(self.order):
            lines += [f"{x}{i} -= l_{i}_{p} * {x}{p};" for i in self.order[k + 1 :] if (i, p) in self.filled]
        for k, p in reversed(list(enumerate(self.order))):
            known = "".join(f" - a_{p}_{j} * {x}{j}" for j in self.order[k + 1 :] if (p, j) in self.filled)
            lines.append(f"{x}{p} = ({x}{p}{known}) * r_{p};")
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
    return StaticLU(tuple(order), frozenset(pattern) | {(i, i) for i in range(size)}, frozenset(filled))
