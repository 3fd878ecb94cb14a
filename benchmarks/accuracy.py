"""What an rtol of the population solver means: measured errors of V, APD90 and CL, and their price.

    python benchmarks/accuracy.py [MODEL.mmt ...]

Prints a Markdown table per model: the 311 distinct cells of the seed for akwaboah2021, 256 cells with labelled
conductances between 0.5 and 1.5 for a model given as a file. The reference is the same solver at 1e-10, which
`benchmarks/solver.py` holds against CVODES. RMSE: of V per cell, every 0.5 ms. APD90 and CL: of every beat that both
have, by number.
"""

import sys
import time

import numpy as np
import pandas as pd
from solver import DURATION_MS, GRID_MS, labelled

from cardioemu.evaluation import biomarkers
from cardioemu.simulation import Cell, design, load_cell, simulate
from cardioemu.traces import Trace

CELLS = 311  # all distinct ones of the rays
RTOL = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)


def errors(trace: Trace, exact: Trace) -> dict[str, float]:
    """Return the errors of one cell; NaN for those of beats where it has none."""
    rmse_mV = np.sqrt(np.mean((trace.voltage_mV(GRID_MS) - exact.voltage_mV(GRID_MS)) ** 2))
    both = biomarkers(trace).join(biomarkers(exact).add_suffix("_exact"), how="inner")
    apd, cl = (abs(both[name] - both[f"{name}_exact"]) for name in ("apd90_ms", "cl_ms"))
    return {"V, mV": float(rmse_mV), "APD90, ms": apd.mean(), "CL, ms": cl.mean()}


def table(cell: Cell, scales: np.ndarray) -> pd.DataFrame:
    """Return the errors of all cells at each rtol: median, 95th percentile, largest."""
    reference = simulate(cell, scales, DURATION_MS, rtol=1e-10)
    rows = {}
    for rtol in RTOL:
        start = time.perf_counter()
        traces = simulate(cell, scales, DURATION_MS, rtol=rtol, threads=1)
        seconds = time.perf_counter() - start
        each = pd.DataFrame([errors(*pair) for pair in zip(traces, reference, strict=True)])
        spread = {
            name: " / ".join(f"{value:.2g}" for value in (x.median(), x.quantile(0.95), x.max()))
            for name, x in each.items()
        }
        steps = sum(len(trace.step_time_ms) for trace in traces) / len(traces) / DURATION_MS
        speed = len(traces) * DURATION_MS / 1000 / seconds
        rows[f"{rtol:.0e}"] = {**spread, "steps per ms": f"{steps:.2f}", "cell-s per s, one thread": f"{speed:.0f}"}
    return pd.DataFrame.from_dict(rows, orient="index")


def markdown(frame: pd.DataFrame) -> str:
    """Return a table as Markdown."""
    lines = [["rtol", *frame.columns], ["---"] * (1 + len(frame.columns))]
    lines += [[index, *row] for index, row in zip(frame.index, frame.to_numpy().tolist(), strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Print a table per model: median / 95th percentile / largest over the cells."""
    subjects = [(load_cell("akwaboah2021"), np.unique(design("rays"), axis=0)[:CELLS])]
    for path in sys.argv[1:]:
        scaled = labelled(path)
        scales = design("sobol", n=256, scaled=list(scaled), low=0.5, high=1.5)
        subjects.append((load_cell(path, scaled=scaled), scales))
    for cell, scales in subjects:
        simulate(cell, scales[0], 1.0)  # compiles
        print(f"\n{cell.name}, {len(scales)} cells of {DURATION_MS:g} ms: median / 95th percentile / largest\n")
        print(markdown(table(cell, scales)))


if __name__ == "__main__":
    main()
