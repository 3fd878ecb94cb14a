"""The generated Jacobian evaluated with NumPy, and central differences to hold against it."""

import myokit
import numpy as np

from cardioemu.simulation.equations import NumPyWriter, jacobian


class _Writer(NumPyWriter):
    def _ex_partial_derivative(self, e):
        return self._flhs(e)


def analytic_jacobian(cell, columns=None, recorded=()):
    """A function of (state, scales, time, inputs) that runs what `jacobian` gives as NumPy source."""
    equations, writer = cell.equations, _Writer()
    writer.set_lhs_function(equations.name)
    partials, entries = jacobian(equations, recorded)
    shape = (len(equations.states) + len(recorded), columns or len(equations.states))
    lines = [f"{equations.name(myokit.Name(s))} = y[{i}]" for i, s in enumerate(equations.states)]
    lines += [f"p{i} = p[{i}]" for i in range(len(equations.control_values))]
    lines += [f"q{i} = q[{i}]" for i in range(len(equations.inputs))]
    lines += [f"{equations.name(lhs)} = {writer.ex(rhs)}" for lhs, rhs in (*equations.assignments, *partials)]
    lines += [f"J[{i}, {j}] = {writer.ex(entry)}" for (i, j), entry in entries.items() if j < shape[1]]
    code = compile("\n".join(lines), "<jacobian>", "exec")

    def evaluate(state, scales, time=0.0, inputs=()):
        J, y, p = np.zeros(shape), np.asarray(state, dtype=float), scales * equations.control_values
        with np.errstate(invalid="ignore"):  # in branches that are not taken
            exec(code, {"numpy": np, "y": y, "p": p, "q": inputs, "time": time, "J": J})
        return J

    return evaluate


def differences(cell, state, scales, steps, time=0.0, inputs=None):
    """(df/dy) by central differences; the error falls with the square of the steps (states,)."""
    columns = []
    for j, step in enumerate(steps):
        up, down = np.array(state, dtype=float), np.array(state, dtype=float)
        up[j], down[j] = up[j] + step, down[j] - step
        above, below = (cell.derivatives(y, scales, time, inputs) for y in (up, down))
        columns.append((above - below) / (up[j] - down[j]))
    return np.stack(columns, axis=1)
