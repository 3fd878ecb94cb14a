"""Solver `cvodes`: CVODES through Myokit, the common choice in the field; needs SUNDIALS and a C compiler.

It integrates the equations of the model file, not the rewritten ones of the other solvers.
"""

import threading
import warnings
from collections.abc import Callable
from functools import lru_cache

import myokit
import numpy as np

from cardioemu.common.errors import UserError
from cardioemu.simulation.cell import Cell
from cardioemu.simulation.solvers.one_by_one import Integrate, Piece, solve_one_by_one
from cardioemu.simulation.solvers.problem import STEP_TOO_SMALL, TOO_MANY_STEPS, Problem
from cardioemu.traces import Trace

MAX_STEPS, MAX_STEPS_PER_MS = 100_000, 1000
STEPS_PER_REPORT = 100  # between two calls of Myokit's progress reporter
VERSION = f"cvodes 1, myokit {myokit.__version__}"
# Myokit's compiled module has global state: one run at a time.
_lock = threading.Lock()


def generate(cell: Cell) -> str:
    """Return the model passed to Myokit, which is part of the key of traces, as is `VERSION`."""
    return "\n".join([_with_numbers(cell).code(), *cell.scaled_constants.values()])


def solve(problem: Problem, threads: int, progress: Callable[[int], None]) -> list[Trace]:
    """Integrate one cell after the other on one thread; `threads` is ignored.

    Myokit has one absolute tolerance for all states: the smallest of `problem.atol`.

    Raises:
        UserError: Myokit cannot build its simulation on this machine.
    """
    cell, driven = problem.cell, [i.level_at is None for i in problem.cell.equations.inputs]

    def start_cell(scale: np.ndarray) -> Integrate:
        simulation, limit = _simulation(cell), _Limit(MAX_STEPS + MAX_STEPS_PER_MS * problem.duration_ms)
        simulation.set_tolerance(problem.atol.min(), problem.rtol)
        for constant, value in zip(cell.scaled_constants.values(), scale * cell.equations.control_values, strict=True):
            simulation.set_constant(constant, value)

        def integrate(begin_ms: float, end_ms: float, levels: np.ndarray, state: np.ndarray) -> Piece:
            for variable, level in zip(_driven(cell), levels[driven], strict=True):
                simulation.set_constant(variable, level)
            simulation.set_time(begin_ms)
            simulation.set_state(state)
            return _run(simulation, cell, end_ms - begin_ms, limit)

        return integrate

    with _lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "CVODES", RuntimeWarning)
        return solve_one_by_one(problem, start_cell, progress)


@lru_cache(maxsize=8)
def _simulation(cell: Cell) -> myokit.Simulation:
    try:
        return myokit.Simulation(_with_numbers(cell), protocol={})
    except (myokit.CompilationError, ImportError) as error:
        raise UserError(
            "solver: 'cvodes' needs SUNDIALS and a C compiler, which Myokit does not find here; install them "
            "(Debian: apt-get install libsundials-dev gcc libc6-dev; conda: conda install sundials c-compiler), or "
            "choose 'rodas' or 'scipy'"
        ) from error


def _with_numbers(cell: Cell) -> myokit.Model:
    """Return the model with a number for each scaled constant and input, which Myokit can set before a run."""
    model = cell.model.clone()
    for constant in cell.scaled_constants.values():
        model.set_value(constant, model.get(constant).eval())
    for variable in _driven(cell):
        model.set_value(variable, 0)
    for variable in list(model.variables(bound=True, deep=True)):
        if variable.binding() != "time":
            variable.set_binding(None)
    return model


def _driven(cell: Cell) -> list[str]:
    """Return the names of the variables that protocols drive; Myokit evaluates inputs that depend on time."""
    return [cell.model.binding(i.binding).qname() for i in cell.equations.inputs if i.level_at is None]


class _Limit(myokit.ProgressReporter):
    """Progress reporter that cancels a run after too many steps."""

    def __init__(self, steps: float) -> None:
        self.reports = steps / STEPS_PER_REPORT

    def update(self, progress: float) -> bool:
        self.reports -= 1
        return self.reports >= 0


def _run(simulation: myokit.Simulation, cell: Cell, duration_ms: float, limit: _Limit) -> Piece:
    names = [variable.qname() for variable in (cell.model.time(), *cell.model.states())]
    # Myokit 1.39 logs the states of its last trial step instead of the accepted one, unless a derivative is logged.
    log = myokit.prepare_log([*names, f"dot({names[-1]})"], cell.model)
    reason = None
    try:
        simulation.run(duration_ms, log=log, progress=limit)
    except myokit.SimulationCancelledError:
        reason = TOO_MANY_STEPS
    except myokit.SimulationError:
        reason = STEP_TOO_SMALL
    time_ms, *columns = (np.array(log[name]) for name in names)
    moved = np.append(True, np.diff(time_ms) > 0)  # with its smallest step CVODES does not advance time
    return Piece(time_ms[moved], np.stack(columns, axis=1)[moved], reason)
