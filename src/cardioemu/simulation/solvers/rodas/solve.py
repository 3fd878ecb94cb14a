"""Running the compiled population solver on several threads."""

import ctypes
import threading
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from cardioemu.simulation.cell import Cell
from cardioemu.simulation.equations import recorded_variables
from cardioemu.simulation.solvers.problem import (
    NO_MEMORY,
    NOT_FINITE,
    STEP_TOO_SMALL,
    TOO_MANY_STEPS,
    Problem,
    failure_status,
)
from cardioemu.simulation.solvers.rodas.compiler import load
from cardioemu.simulation.solvers.rodas.source import source, system_size
from cardioemu.traces import SPACING_MS, Trace

FIRST_STEP_MS, MAX_STEP_MS = 0.01, 5.0
MAX_ATTEMPTS, MAX_ATTEMPTS_PER_MS, MAX_ATTEMPTS_PER_SEGMENT = 1e5, 1000.0, 100.0
VERSION = f"rodas 2, step <= {MAX_STEP_MS} ms"
STATUS = ("ok", STEP_TOO_SMALL, NOT_FINITE, TOO_MANY_STEPS, NO_MEMORY)


class _Steps(ctypes.Structure):
    _fields_ = (
        ("time", ctypes.POINTER(ctypes.c_double)),
        ("channels", ctypes.POINTER(ctypes.c_float)),
        *((name, ctypes.c_int64) for name in ("count", "room", "attempts", "status", "culprit")),
    )


class _Job(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("states", "scaled", "atol", "edges", "levels")),
        ("steps", ctypes.POINTER(_Steps)),
        ("finished", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("cells", "segments", "max_attempts")),
        *((name, ctypes.c_double) for name in ("rtol", "first_step", "max_step", "spacing")),
        *((name, ctypes.c_int64) for name in ("next", "done", "stop")),
    )


@lru_cache(maxsize=8)
def generate(cell: Cell, record: tuple[str, ...] = ()) -> str:
    """Return the C source of the solver of a cell model, which is part of the key of traces, as is `VERSION`."""
    return source(cell.equations, cell.potential, recorded_variables(cell.equations, record))


def solve(problem: Problem, threads: int, progress: Callable[[int], None]) -> list[Trace]:
    """Integrate all cells; `progress` is called repeatedly with the number of finished cells."""
    library = load(generate(problem.cell, problem.record))
    cells, width = problem.initial.shape
    size = system_size(problem.cell.equations)
    # Time, if it is a state, starts at 0 and has no error, so its tolerance is arbitrary.
    states, atol = np.zeros((cells, size)), np.ones(size)
    states[:, :width], atol[:width] = problem.initial, problem.atol
    arrays = (
        states,
        np.ascontiguousarray(problem.scales * problem.cell.equations.control_values),
        atol,
        np.append(problem.schedule.edges_ms, problem.duration_ms),
        np.ascontiguousarray(problem.schedule.levels, dtype=float),
    )
    steps, finished = (_Steps * cells)(), np.full(cells, -1)
    segments = len(problem.schedule.edges_ms)
    attempts = MAX_ATTEMPTS + MAX_ATTEMPTS_PER_MS * problem.duration_ms + MAX_ATTEMPTS_PER_SEGMENT * segments
    job = _Job(
        *(array.ctypes.data for array in arrays),
        steps,
        finished.ctypes.data,
        cells,
        segments,
        int(min(attempts, 2.0**62)),
        problem.rtol,
        FIRST_STEP_MS,
        MAX_STEP_MS,
        SPACING_MS,
    )
    traces: dict[int, Trace] = {}

    def collect() -> None:
        """Convert the cells that have finished since the last call into traces, and release their steps."""
        for cell in finished[len(traces) : job.done].tolist():
            if cell < 0:
                break
            traces[cell] = _trace(problem, steps[cell], states[cell, :width])
            library.release(ctypes.byref(steps[cell]), ctypes.c_int64(1))
        progress(len(traces))

    # ctypes releases the interpreter lock, so threads run the kernel in parallel.
    workers = [
        threading.Thread(target=library.run, args=(ctypes.byref(job),), daemon=True) for _ in range(min(threads, cells))
    ]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            while worker.is_alive():
                worker.join(timeout=0.1)
                collect()
        collect()
        return [traces[cell] for cell in range(cells)]
    finally:
        job.stop = 1
        for worker in workers:
            if worker.ident is not None:  # the system may refuse to start some threads
                worker.join()
        library.release(steps, ctypes.c_int64(cells))


def _trace(problem: Problem, steps: _Steps, final_state: np.ndarray) -> Trace:
    count, width = steps.count, 2 * (1 + len(problem.record))
    time_ms = np.frombuffer(ctypes.string_at(steps.time, 8 * count))
    channels = np.frombuffer(ctypes.string_at(steps.channels, 4 * width * count), np.float32).reshape(count, width)
    status = STATUS[steps.status]
    if steps.status:
        is_state = 0 <= steps.culprit < len(final_state)
        status = failure_status(status, time_ms[-1], problem.cell.states[steps.culprit] if is_state else None)
    return problem.trace(time_ms, channels.T, status, final_state)
