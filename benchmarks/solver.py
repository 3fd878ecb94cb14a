"""The population solver against SciPy on the seed's cells: speed, and error against the reference traces.

    python benchmarks/solver.py

Both solvers run in this process, their runs interleaved; the medians are printed. The error is the RMSE of V over 5 s
against the stored reference of the `program` variant (CVODES at 1e-10).
"""

import time
from pathlib import Path

import numpy as np

from cardioemu.simulation import load_cell, simulate

REFERENCE = Path(__file__).parent.parent / "tests" / "data" / "akwaboah2021" / "traces_program.npz"
DURATION_MS = 5000.0
REPEATS = 5
# SciPy takes seconds per cell: it gets the first cells of those that rodas gets all of.
SIDES = (
    ("rodas", 1e-3, 341),
    ("rodas", 1e-4, 341),
    ("rodas", 1e-5, 341),
    ("scipy", 1e-5, 2),
    ("scipy", 1e-7, 2),
)


def main() -> None:
    """Prints one line per solver and tolerance."""
    cell = load_cell("akwaboah2021", variant="program")
    with np.load(REFERENCE) as stored:
        scales, voltage_mV = stored["scales"], stored["voltage_mV"]
    time_ms = np.arange(voltage_mV.shape[1]) * 0.5
    simulate(cell, scales[:1], 10.0)  # compiles
    seconds: dict[tuple[str, float, int], list[float]] = {side: [] for side in SIDES}
    for _ in range(REPEATS):
        for side in SIDES:
            solver, rtol, cells = side
            start = time.perf_counter()
            simulate(
                cell, np.resize(scales, (cells, scales.shape[1])), DURATION_MS, solver=solver, rtol=rtol, threads=1
            )
            seconds[side].append(time.perf_counter() - start)
    print("solver rtol   cell-s/s  median RMSE mV  ratio to scipy 1e-7 (one core)")
    rates = {side: side[2] * DURATION_MS / 1000 / float(np.median(seconds[side])) for side in SIDES}
    for side, rate in rates.items():
        solver, rtol, cells = side
        some = slice(min(cells, len(scales)))
        traces = simulate(cell, scales[some], DURATION_MS, solver=solver, rtol=rtol)
        errors = [
            np.sqrt(np.mean((t.voltage_mV(time_ms) - v) ** 2)) for t, v in zip(traces, voltage_mV[some], strict=True)
        ]
        print(f"{solver:<6} {rtol:.0e} {rate:9.1f} {np.median(errors):15.4f} {rate / rates[SIDES[-1]]:7.0f}")


if __name__ == "__main__":
    main()
