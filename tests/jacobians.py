"""The generated Jacobian evaluated with NumPy, and central differences to hold against it."""

import myokit
import numpy as np

from cardioemu.simulation.equations import NumPyWriter
from cardioemu.simulation.solvers.rodas.jacobian import jacobian


class _Writer(NumPyWriter):
    def _ex_partial_derivative(self, e):
        return self._flhs(e)


def analytic_jacobian(cell):
    """A function of (state, scales) that runs the assignments and entries of `jacobian` as NumPy source."""
    equations, writer = cell.equations, _Writer()
    writer.set_lhs_function(equations.name)
    partials, entries = jacobian(equations)
    lines = [f"{equations.name(myokit.Name(s))} = y[{i}]" for i, s in enumerate(equations.states)]
    lines += [f"p{i} = p[{i}]" for i in range(len(equations.controls))]
    lines += [f"{equations.name(lhs)} = {writer.ex(rhs)}" for lhs, rhs in (*equations.assignments, *partials)]
    lines += [f"J[{i}, {j}] = {writer.ex(entry)}" for (i, j), entry in entries.items()]
    code = compile("\n".join(lines), "<jacobian>", "exec")

    def evaluate(state, scales):
        J = np.zeros((len(state), len(state)))
        exec(code, {"numpy": np, "y": np.asarray(state, dtype=float), "p": scales * equations.controls, "J": J})
        return J

    return evaluate


def differences(cell, state, scales, steps):
    """(df/dy) by central differences; the error falls with the square of the steps (states,)."""
    columns = []
    for j, step in enumerate(steps):
        up, down = np.array(state, dtype=float), np.array(state, dtype=float)
        up[j], down[j] = up[j] + step, down[j] - step
        columns.append((cell.derivatives(up, scales) - cell.derivatives(down, scales)) / (up[j] - down[j]))
    return np.stack(columns, axis=1)
