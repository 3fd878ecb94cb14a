"""The one call behind which every solver stands."""

import os
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from cardioemu.errors import UserError
from cardioemu.simulation.cell import Cell
from cardioemu.simulation.designs import checked_scales
from cardioemu.simulation.solvers import SOLVERS
from cardioemu.traces import Trace


def simulate(
    cell: Cell,
    scales: ArrayLike,
    duration_ms: float | int,
    solver: str = "rodas",
    rtol: float = 1e-4,
    threads: int | None = None,
    initial_state: ArrayLike | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Trace]:
    """Simulates decoupled cells, one per scale vector, without a stimulus.

    Args:
        cell: the cell model.
        scales: (cells, scaled) multiples of the control conductances; (scaled,) counts as one cell.
        duration_ms: length of every trace.
        solver: "rodas" (the population solver, compiled) or "scipy" (LSODA, slow, independent).
        rtol: relative error of one step; 1e-4 leaves about 0.06 mV RMSE over 5 s, 1e-5 about 0.01 mV, 1e-7 below 0.002.
        threads: how many CPU threads work; None takes every core this process may use.
        initial_state: (states,) or (cells, states); None takes the model's own.
        progress: called now and then with the number of cells done.

    Returns:
        One trace per row of `scales`, in that order; a failed cell has its reason in `status` and stops no other.

    Raises:
        UserError: a wrong argument, or no compiler for "rodas".
    """
    scales = checked_scales(scales, cell.scaled)
    if solver not in SOLVERS:
        raise UserError(f"solver: got {solver!r}, allowed is one of {', '.join(SOLVERS)}")
    if not (np.isfinite(duration_ms) and duration_ms > 0):
        raise UserError(f"duration_ms: got {duration_ms}, allowed are finite times above 0")
    if not 1e-13 <= rtol <= 0.1:
        raise UserError(f"rtol: got {rtol}, allowed is 1e-13 to 0.1")
    if threads is not None and threads < 1:
        raise UserError(f"threads: got {threads}, allowed is 1 or more, or null for every core")
    if len(scales) == 0:
        raise UserError("scales: got no cells, allowed is one row or more")
    initial = np.asarray(cell.initial_state if initial_state is None else initial_state, dtype=float)
    if initial.shape not in ((len(cell.states),), (len(scales), len(cell.states))) or not np.isfinite(initial).all():
        raise UserError(
            f"initial_state: got shape {initial.shape}, allowed is ({len(cell.states)},) or "
            f"({len(scales)}, {len(cell.states)}), all finite"
        )
    initial = np.broadcast_to(initial, (len(scales), len(cell.states)))
    return SOLVERS[solver].solve(cell, scales, initial, float(duration_ms), float(rtol), threads or cores(), progress)


def cores() -> int:
    """Returns how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
