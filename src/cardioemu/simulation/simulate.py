"""Simulation of a population of cells with any solver."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from pydantic.dataclasses import dataclass

from cardioemu.common.errors import UserError, construct
from cardioemu.runtime.machine import available_cores
from cardioemu.simulation.cell import Cell
from cardioemu.simulation.equations import recorded_variables
from cardioemu.simulation.pacing import AnyProtocol
from cardioemu.simulation.pacing.schedule import schedule
from cardioemu.simulation.scales import validate_scales
from cardioemu.simulation.settings import Duration, Rtol, SolverName, Threads, Transient
from cardioemu.simulation.solvers import SOLVERS
from cardioemu.simulation.solvers.problem import Problem, Tolerances, absolute_tolerances
from cardioemu.traces import Trace


@dataclass(frozen=True)
class _Arguments:
    solver: SolverName
    duration_ms: Duration
    transient_ms: Transient
    rtol: Rtol
    threads: Threads


def simulate(
    cell: Cell,
    scales: ArrayLike,
    duration_ms: float | int,
    solver: str = "rodas",
    rtol: float = 1e-4,
    threads: int | None = None,
    record: Sequence[str] = (),
    protocol: AnyProtocol = None,
    initial_state: ArrayLike | None = None,
    atol: Tolerances = None,
    progress: Callable[[int], None] = lambda done: None,
    transient_ms: float | int = 0.0,
) -> list[Trace]:
    """Simulate uncoupled cells, one per scale vector, spontaneously beating or paced.

    Args:
        cell: the cell model.
        scales: multiples of the control conductances (cells, scaled); (scaled,) is one cell.
        duration_ms: length of every trace.
        solver: "rodas" (the compiled population solver), or a reference, "cvodes" or "scipy".
        rtol: relative tolerance of one step; docs/solver.md has the errors of V, APD90 and cycle length for its values.
        threads: number of CPU threads; None: all available cores.
        record: states and variables to record in addition to V, as "ikr.I_Kr"; they are in `trace.recorded`.
        protocol: a `Pacing` in ms, a Myokit protocol in the model file's unit of time, or one of these for each bound
            variable by name; None: the protocol of the model file; `myokit.Protocol()`: unpaced.
        initial_state: (states,) or (cells, states); None: the model's.
        atol: absolute tolerance of one step, in the units of the states: a number, one number per state, or numbers for
            some states by name; None: rtol times the size below which a state counts as small (see
            `absolute_tolerances`).
        progress: function that is called with the number of finished cells.
        transient_ms: time simulated before the trace begins. Pacing starts with the transient, the times of the trace
            after it. AP starts in the transient are counted (`Trace.aps_before_start`).

    Returns:
        One trace per row of `scales`, in the same order; the `status` of a failed cell is the reason.

    Raises:
        UserError: an argument is invalid, or the machine lacks something that the solver needs.
    """
    scales = validate_scales(scales, cell.scaled)
    arguments = {"solver": solver, "duration_ms": duration_ms, "transient_ms": transient_ms, "rtol": rtol}
    valid = construct(_Arguments, arguments | {"threads": threads}, "")
    if len(scales) == 0:
        raise UserError("scales: got no cells; allowed is one row or more")
    if isinstance(record, str):
        raise UserError(f"record: got the text {record!r}; allowed is a list of names")
    recorded_variables(cell.equations, record)
    end_ms = valid.transient_ms + valid.duration_ms
    problem = Problem(
        cell,
        scales,
        _initial_states(cell, len(scales), initial_state),
        end_ms,
        valid.rtol,
        absolute_tolerances(cell, valid.rtol, atol),
        schedule(cell, protocol, end_ms),
        tuple(dict.fromkeys(record)),
    )
    traces = SOLVERS[solver].solve(problem, valid.threads or available_cores(), progress)
    if not valid.transient_ms:
        return traces
    return [trace.trim_before(valid.transient_ms, valid.duration_ms) for trace in traces]


def _initial_states(cell: Cell, cells: int, given: ArrayLike | None) -> np.ndarray:
    try:
        initial = np.asarray(cell.initial_state if given is None else given, dtype=float)
    except (TypeError, ValueError) as error:
        raise UserError(f"initial_state: allowed is a table of numbers ({error})") from error
    if initial.shape not in ((len(cell.states),), (cells, len(cell.states))) or not np.isfinite(initial).all():
        raise UserError(
            f"initial_state: got shape {initial.shape}; allowed is ({len(cell.states)},) or "
            f"({cells}, {len(cell.states)}), all finite"
        )
    return np.broadcast_to(initial, (cells, len(cell.states)))
