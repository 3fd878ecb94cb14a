"""The generated Jacobian evaluated with NumPy, and central differences for comparison."""

import numpy as np

from cardioemu.simulation.equations import compile_numpy, jacobian, numpy_source


def analytic_jacobian(cell, columns=None, recorded=()):
    """A function of (state, scales, time, inputs) that evaluates the result of `jacobian` with NumPy."""
    equations = cell.equations
    partials, entries = jacobian(equations, recorded)
    shape = (len(equations.states) + len(recorded), columns or len(equations.states))
    entries = {at: entry for at, entry in entries.items() if at[1] < shape[1]}
    source = numpy_source(equations, [*equations.assignments, *partials], entries.values())
    function = compile_numpy(source, "jacobian")

    def evaluate(state, scales, time=0.0, inputs=()):
        J, y, p = np.zeros(shape), np.asarray(state, dtype=float), scales * equations.control_values
        with np.errstate(invalid="ignore"):  # raised in branches of conditionals that are not selected
            values = function(time, y, p, inputs)
        for at, value in zip(entries, values, strict=True):
            J[at] = value
        return J

    return evaluate


def differences(cell, state, scales, steps, time=0.0, inputs=None):
    """df/dy by central differences; the error is proportional to the square of the steps (states,)."""
    columns = []
    for j, step in enumerate(steps):
        up, down = np.array(state, dtype=float), np.array(state, dtype=float)
        up[j], down[j] = up[j] + step, down[j] - step
        above, below = (cell.derivatives(y, scales, time, inputs) for y in (up, down))
        columns.append((above - below) / (up[j] - down[j]))
    return np.stack(columns, axis=1)
