"""Shapes and units of every array, on one page; `tensors.py`, which needs torch, has the tensors.

Axes always come in the order batch, time, state. The names of the axes:

    cells     rows of a design, in its order
    scaled    scaled conductances, in the order of `Cell.scaled`
    states    state variables of the cell model, in the order of `Cell.states`
    steps     accepted solver steps of one trace, the initial state included
    windows   windows of one cell
    samples   points of one window, `interval_ms` apart

Units are part of the names: `time_ms`, `voltage_mV`, `dvdt_mV_per_ms`. Scales are multiples of the control conductance.
"""

import numpy as np
from jaxtyping import Float, Float32, Float64

Scales = Float64[np.ndarray, "cells scaled"]
"""One scale vector per cell; 1.0 is the control."""

States = Float64[np.ndarray, "*cells states"]
"""State vectors in the cell model's own units."""

StepTimes = Float64[np.ndarray, "steps"]
"""Times of the accepted steps in ms, ascending; a time at which the slope jumps (a stimulus edge) occurs twice."""

StepValues = Float32[np.ndarray, "steps"]
"""A recorded quantity at the accepted steps, in its own unit: V in mV."""

StepSlopes = Float32[np.ndarray, "steps"]
"""Time derivative of a recorded quantity at the accepted steps, in its unit per ms: dV/dt in mV per ms."""

Starts = Float64[np.ndarray, "starts"]
"""AP starts of one trace, in ms, ascending."""

WindowTimes = Float64[np.ndarray, "windows"]
"""One time per window of a cell: its position in the trace, in ms and ascending, or its length."""

SampleTimes = Float64[np.ndarray, "samples"]
"""Times of the samples of a window in ms, 0 at the AP start."""

Sampled = Float[np.ndarray, "samples"]
"""One window, in mV."""

CellWindows = Float32[np.ndarray, "windows samples"]
"""Windows in mV: all windows of one cell, or one window of each of several cells."""

Windows = Float32[np.ndarray, "cells windows samples"]
"""All windows of each of several cells, in mV."""

Predicted = Float[np.ndarray, "cells samples"]
"""One predicted window per cell, in mV."""

PerCell = Float64[np.ndarray, "cells"]
"""One number per cell."""
