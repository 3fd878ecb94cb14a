"""The one call behind which every solver stands."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from cardioemu.common.errors import UserError
from cardioemu.runtime.machine import available_cores
from cardioemu.simulation.cell import Cell
from cardioemu.simulation.equations import recorded_variables
from cardioemu.simulation.pacing import AnyProtocol
from cardioemu.simulation.pacing.schedule import schedule
from cardioemu.simulation.scales import validate_scales
from cardioemu.simulation.solvers import SOLVERS
from cardioemu.simulation.solvers.problem import Problem, Tolerances, absolute_tolerances
from cardioemu.traces import Trace


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
    """Simulates decoupled cells, one per scale vector, spontaneous or paced.

    Args:
        cell: the cell model.
        scales: (cells, scaled) multiples of the control conductances; (scaled,) counts as one cell.
        duration_ms: length of every trace.
        solver: "rodas" (the population solver, compiled), or one of the references "cvodes" and "scipy".
        rtol: relative error of one step; docs/solver.md tells which error of V, APD90 and CL each value leaves.
        threads: how many CPU threads work; None takes every core this process may use.
        record: states and variables to record beside V, as "ikr.I_Kr"; they are in `trace.recorded`.
        protocol: a `Pacing` in ms, a Myokit protocol in the model file's own unit of time, or one for each bound
            variable by name; None takes the model file's own, `myokit.Protocol()` leaves the cell unpaced.
        initial_state: (states,) or (cells, states); None takes the model's own.
        atol: absolute error of one step, in the states' units: a number, one per state, or those of some states by
            name; None takes rtol times the size below which a state counts as small (see `absolute_tolerances`).
        progress: called now and then with the number of cells done.
        transient_ms: how long each cell is simulated before its trace begins. Pacing is counted from the true
            beginning; the times of the trace are not. AP starts before are counted (`Trace.starts_before`).

    Returns:
        One trace per row of `scales`, in that order; a failed cell has its reason in `status` and stops no other.

    Raises:
        UserError: a wrong argument, or a solver that this machine lacks something for.
    """
    scales = validate_scales(scales, cell.scaled)
    if solver not in SOLVERS:
        raise UserError(f"solver: got {solver!r}, allowed is one of {', '.join(SOLVERS)}")
    if not (np.isfinite(duration_ms) and duration_ms > 0):
        raise UserError(f"duration_ms: got {duration_ms}, allowed are finite times above 0")
    if not (np.isfinite(transient_ms) and transient_ms >= 0):
        raise UserError(f"transient_ms: got {transient_ms}, allowed are finite times of 0 or more")
    if not 1e-13 <= rtol <= 0.1:
        raise UserError(f"rtol: got {rtol}, allowed is 1e-13 to 0.1")
    if threads is not None and threads < 1:
        raise UserError(f"threads: got {threads}, allowed is 1 or more, or null for every core")
    if len(scales) == 0:
        raise UserError("scales: got no cells, allowed is one row or more")
    if isinstance(record, str):
        raise UserError(f"record: got the text {record!r}, allowed is a list of names")
    recorded_variables(cell.equations, record)
    whole_ms = float(transient_ms + duration_ms)
    problem = Problem(
        cell,
        scales,
        _initial_states(cell, len(scales), initial_state),
        whole_ms,
        float(rtol),
        absolute_tolerances(cell, float(rtol), atol),
        schedule(cell, protocol, whole_ms),
        tuple(dict.fromkeys(record)),
    )
    traces = SOLVERS[solver].solve(problem, threads or available_cores(), progress)
    return [trace.trim_before(transient_ms, duration_ms) for trace in traces] if transient_ms else traces


def _initial_states(cell: Cell, cells: int, given: ArrayLike | None) -> np.ndarray:
    try:
        initial = np.asarray(cell.initial_state if given is None else given, dtype=float)
    except (TypeError, ValueError) as error:
        raise UserError(f"initial_state: got something that is no table of numbers ({error})") from error
    if initial.shape not in ((len(cell.states),), (cells, len(cell.states))) or not np.isfinite(initial).all():
        raise UserError(
            f"initial_state: got shape {initial.shape}, allowed is ({len(cell.states)},) or "
            f"({cells}, {len(cell.states)}), all finite"
        )
    return np.broadcast_to(initial, (cells, len(cell.states)))
