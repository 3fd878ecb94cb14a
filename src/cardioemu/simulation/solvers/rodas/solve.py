"""Runs the compiled population solver over threads and hands back traces."""

import ctypes
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from cardioemu.simulation.cell import Cell
from cardioemu.simulation.solvers.rodas.compiler import load
from cardioemu.simulation.solvers.rodas.source import source
from cardioemu.traces import Trace
from cardioemu.types import Scales, States

MAX_STEP_MS = 5.0
MAX_ATTEMPTS_PER_MS = 1000.0
# Below these sizes a state's error counts absolutely, above relatively: 1 mV for V, 1e-3 (of a gate, a mM) elsewhere.
WEIGHT_POTENTIAL, WEIGHT_OTHER = 1.0, 1e-3
VERSION = f"rodas 1, step <= {MAX_STEP_MS} ms, weights {WEIGHT_POTENTIAL} and {WEIGHT_OTHER}"
STATUS = (
    "ok",
    "step too small: the error stayed above rtol at the smallest step; a looser rtol may pass",
    "not finite: a state or derivative became infinite or not a number",
    "too many steps: more attempts than the duration allows; the model may oscillate faster than it should",
    "no memory: the steps of this cell did not fit into memory; simulate fewer cells or a shorter time at once",
)


class _Steps(ctypes.Structure):
    _fields_ = (
        ("time", ctypes.POINTER(ctypes.c_double)),
        ("voltage", ctypes.POINTER(ctypes.c_float)),
        ("slope", ctypes.POINTER(ctypes.c_float)),
        ("count", ctypes.c_int64),
        ("room", ctypes.c_int64),
        ("attempts", ctypes.c_int64),
        ("status", ctypes.c_int64),
    )


class _Job(ctypes.Structure):
    _fields_ = (
        ("initial", ctypes.c_void_p),
        ("inputs", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("steps", ctypes.POINTER(_Steps)),
        ("cells", ctypes.c_int64),
        ("max_attempts", ctypes.c_int64),
        ("duration", ctypes.c_double),
        ("rtol", ctypes.c_double),
        ("max_step", ctypes.c_double),
        ("next", ctypes.c_int64),
        ("done", ctypes.c_int64),
        ("stop", ctypes.c_int64),
    )


@lru_cache(maxsize=8)
def generate(cell: Cell) -> str:
    """Returns the C source of the solver of one cell model; with `VERSION` it determines every trace."""
    return source(cell.equations, cell.potential)


def solve(
    cell: Cell,
    scales: Scales,
    initial: States,
    duration_ms: float,
    rtol: float,
    threads: int,
    progress: Callable[[int], None],
) -> list[Trace]:
    """Integrates every cell; `progress` is told now and then how many are done. A failed cell ends at its last step."""
    library = load(generate(cell))
    inputs = np.ascontiguousarray(scales * cell.equations.controls)
    initial = np.ascontiguousarray(initial)
    weight = np.full(len(cell.states), WEIGHT_OTHER)
    weight[cell.potential] = WEIGHT_POTENTIAL
    steps = (_Steps * len(scales))()
    job = _Job(
        initial.ctypes.data,
        inputs.ctypes.data,
        weight.ctypes.data,
        steps,
        len(scales),
        int(1e5 + duration_ms * MAX_ATTEMPTS_PER_MS),
        duration_ms,
        rtol,
        MAX_STEP_MS,
    )
    # ctypes lets go of the interpreter lock, so plain threads run the kernel side by side.
    workers = [threading.Thread(target=library.run, args=(ctypes.byref(job),), daemon=True) for _ in range(threads)]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            while worker.is_alive():
                worker.join(timeout=0.2)
                progress(job.done)
        progress(job.done)
        return [_trace(s, duration_ms) for s in steps]
    finally:
        job.stop = 1
        for worker in workers:
            worker.join()
        library.release(ctypes.byref(job))


def _trace(steps: _Steps, duration_ms: float) -> Trace:
    def copy(pointer: Any) -> np.ndarray:
        return np.ctypeslib.as_array(pointer, (steps.count,)).copy()

    time_ms, voltage_mV, slope = copy(steps.time), copy(steps.voltage), copy(steps.slope)
    status = STATUS[steps.status]
    if steps.status:
        status += f" (stopped at {time_ms[-1]:.6g} ms)"
    return Trace(time_ms, voltage_mV, slope, duration_ms, status)
