"""What aligning windows to the AP start is worth.

    python benchmarks/alignment.py [scipy]

The control cell beats steadily; a network has one input vector for all its beats. How far two consecutive windows are
apart within 2 ms of the upstroke is therefore an error that no network can learn away. The trace comes from CVODES at a
relative tolerance of 1e-8, with `scipy` from SciPy at the same; the beats from 20 s on.
"""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd

from cardioemu.simulation import load_cell, simulate
from cardioemu.traces import Trace
from cardioemu.windowing import WindowRule, extract_windows, find_positions

SETTLE_MS, DURATION_MS, RTOL = 20_000.0, 25_000.0, 1e-8
NEAR_MS = 2.0
ONE_CYCLE_MS = 450.0  # a little more: one upstroke of every window lies in it, and with aligned windows only one
ALIGNMENTS = {
    "none": {"align": "none"},
    "sample": {"align": "sample"},
    "interpolated": {"align": "interpolated"},
    "interpolated upstroke": {"align": "interpolated", "start": "upstroke"},
}


def windows_of(trace: Trace, **how: object) -> tuple[np.ndarray, np.ndarray]:
    """Cuts every window of 500 ms after 20 s; returns their times and voltages."""
    rule = WindowRule(length_ms=500.0, settle_ms=SETTLE_MS, count=1000, **how)
    fit = len(find_positions(trace, rule).begin_ms)
    return rule.time_ms, extract_windows(trace, replace(rule, count=fit)).windows


def apart_mV(time_ms: np.ndarray, windows: np.ndarray) -> float:
    """Return the RMS difference of consecutive windows within 2 ms of the upstroke of the first of the two."""
    squares = []
    for first, second in zip(windows.astype(float), windows[1:].astype(float), strict=False):
        upstroke_ms = time_ms[np.gradient(first[time_ms - time_ms[0] < ONE_CYCLE_MS]).argmax()]
        near = np.abs(time_ms - upstroke_ms) <= NEAR_MS
        squares.append(np.mean((second - first)[near] ** 2))
    return float(np.sqrt(np.mean(squares)))


def main(solver: str) -> None:
    """Print one row per alignment and one column per interval."""
    cell = load_cell("akwaboah2021")
    (trace,) = simulate(cell, np.ones((1, len(cell.scaled))), DURATION_MS, solver=solver, rtol=RTOL)
    table = pd.DataFrame(index=pd.Index(ALIGNMENTS, name="align"))
    for interval_ms in (0.05, 0.1):
        found = [windows_of(trace, interval_ms=interval_ms, **how) for how in ALIGNMENTS.values()]
        table[f"{interval_ms:g} ms"] = [apart_mV(*each) for each in found]
    table["windows"] = [len(windows) for _, windows in found]
    cycles = np.diff(trace.starts_ms[trace.starts_ms > SETTLE_MS])
    print(f"{solver} at {RTOL:g}; cycles after {SETTLE_MS:g} ms: {cycles.min():.4f} to {cycles.max():.4f} ms")
    print(f"RMS difference of consecutive windows within {NEAR_MS:g} ms of the upstroke, in mV:\n")
    print(table.to_string(float_format="{:.4g}".format))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cvodes")
