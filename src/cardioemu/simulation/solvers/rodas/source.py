"""Writes one step attempt of Rodas4 for a cell model as C source.

Rodas4: E. Hairer and G. Wanner, Solving Ordinary Differential Equations II (2nd ed.), section IV.7: a stiffly accurate
Rosenbrock method of order 4(3) with six stages and gamma = 1/4, in the form that needs no matrix-vector products. The
coefficients are the published ones; they satisfy the order conditions to 1e-9, so no tolerance leads below that.
"""

from collections.abc import Iterable
from importlib.resources import files

import myokit

from cardioemu.simulation.equations import Assignment, CWriter, Equations
from cardioemu.simulation.solvers.rodas.jacobian import jacobian
from cardioemu.simulation.solvers.rodas.lu import static_lu

GAMMA = 0.25
A = (
    (),
    (1.544,),
    (0.9466785280815826, 0.2557011698983284),
    (3.314825187068521, 2.896124015972201, 0.9986419139977817),
    (1.221224509226641, 6.019134481288629, 12.53708333932087, -0.6878860361058950),
    (1.221224509226641, 6.019134481288629, 12.53708333932087, -0.6878860361058950, 1.0),
)
C = (
    (),
    (-5.6688,),
    (-2.430093356833875, -0.2063599157091915),
    (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
    (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160),
    (8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136, -6.058818238834054),
)


def source(equations: Equations, potential: int) -> str:
    """Returns the C source of the population solver of one model, `potential` being the index of V among the states."""
    body = "\n".join(f"  {line}" for line in _attempt(equations, potential))
    return (
        (files(__package__) / "kernel.c")
        .read_text(encoding="utf-8")
        .replace("@BODY@", body)
        .replace("@STATES@", str(len(equations.states)))
        .replace("@SCALED@", str(len(equations.controls)))
        .replace("@POTENTIAL@", str(potential))
    )


def _attempt(equations: Equations, potential: int) -> list[str]:
    """The statements of one attempt: Jacobian, factorisation, six stages, error."""
    writer = CWriter()
    writer.set_lhs_function(equations.name)
    n = range(len(equations.states))
    partials, entries = jacobian(equations)
    lu = static_lu(set(entries), len(n))
    derivative = [equations.name(state.lhs()) for state in equations.states]

    def assign(pairs: Iterable[Assignment]) -> list[str]:
        return [f"const vec {equations.name(lhs)} = VEC({writer.ex(rhs)});" for lhs, rhs in pairs]

    def states(values: list[str]) -> list[str]:
        names = [equations.name(myokit.Name(state)) for state in equations.states]
        return [f"const vec {name} = {value};" for name, value in zip(names, values, strict=True)]

    def stage(s: int, i: int) -> str:
        return f"Y[{i}]" + "".join(f" + {a!r} * k{q}_{i}" for q, a in enumerate(A[s]))

    lines = [f"const vec p{i} = P[{i}];" for i in range(len(equations.controls))]
    lines += [
        f"vec {', '.join(f'k0_{i}' for i in n)};",
        f"vec {', '.join(f'a_{i}_{j}' for i, j in sorted(lu.pattern))};",
    ]
    lines += ["{", *states([f"Y[{i}]" for i in n]), *assign(equations.assignments), *assign(partials)]
    lines += [f"k0_{i} = {derivative[i]};" for i in n]
    for i, j in sorted(lu.pattern):
        diagonal = f"{1 / GAMMA!r} * ih" if i == j else "0.0"
        entry = f" - ({writer.ex(entries[i, j])})" if (i, j) in entries else ""
        lines.append(f"a_{i}_{j} = VEC({diagonal}{entry});")
    lines += ["}", f"*slope = k0_{potential};", *lu.factorise(), *lu.solve("k0_")]
    for s in range(1, 6):
        lines += [f"vec {', '.join(f'k{s}_{i}' for i in n)};", "{", *states([stage(s, i) for i in n])]
        lines += assign(equations.assignments)
        for i in n:
            history = " + ".join(f"({c!r}) * k{q}_{i}" for q, c in enumerate(C[s]))
            lines.append(f"k{s}_{i} = {derivative[i]} + ih * ({history});")
        lines += ["}", *lu.solve(f"k{s}_")]
    for i in n:
        lines += [f"Z[{i}] = {stage(5, i)} + k5_{i};", f"worst = worse(worst, k5_{i}, Y[{i}], Z[{i}], weight[{i}]);"]
    return lines
