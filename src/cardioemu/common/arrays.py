"""Shapes and units of every array, on one page.

Axes always come in the order batch, time, state. The letters of the shapes:

    cells     rows of a design, in the order of its rows
    scaled    scaled conductances, in the order of `Cell.scaled`
    states    state variables of the cell model, in the order of `Cell.states`
    steps     accepted solver steps of one trace, the initial state included
    windows   windows of one cell
    samples   points of one window, `interval_ms` apart

Those of tensors stand in `tensors.py`, so that who simulates need not wait for torch.

Units stand in the names: `time_ms`, `voltage_mV`, `dvdt_mV_per_ms`. Scales are multiples of the control conductance.
"""

import numpy as np
from jaxtyping import Float, Float32, Float64

Scales = Float64[np.ndarray, "cells scaled"]
"""One scale vector per cell; 1.0 is the control."""

States = Float64[np.ndarray, "*cells states"]
"""State vectors in the cell model's own units."""

StepTimes = Float64[np.ndarray, "steps"]
"""Times of the accepted steps in ms, ascending; a time stands twice where something jumps (a stimulus edge)."""

StepValues = Float32[np.ndarray, "steps"]
"""A recorded quantity at the accepted steps, in its own unit: V in mV."""

StepSlopes = Float32[np.ndarray, "steps"]
"""Its time derivative at the accepted steps, in its unit per ms: dV/dt in mV per ms."""

Starts = Float64[np.ndarray, "starts"]
"""AP starts of one trace, in ms, ascending."""

WindowTimes = Float64[np.ndarray, "windows"]
"""A time of each window of a cell, in ms of its trace, ascending, or how long it lasts."""

SampleTimes = Float64[np.ndarray, "samples"]
"""Times of a window's points in ms, 0 at the AP start."""

Sampled = Float[np.ndarray, "samples"]
"""One window, in mV."""

CellWindows = Float32[np.ndarray, "windows samples"]
"""Windows, in mV: all of one cell, or one of each of several."""

Windows = Float32[np.ndarray, "cells windows samples"]
"""Windows of the cells that gave all of theirs, in mV."""

Predicted = Float[np.ndarray, "cells samples"]
"""One predicted window per cell, in mV."""

PerCell = Float64[np.ndarray, "cells"]
"""One number per cell."""
