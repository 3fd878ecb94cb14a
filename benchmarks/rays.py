"""How many of the seed's 341 rays fire, for each variant of the cell model and by several rules.

    python benchmarks/rays.py

Prints the table of docs/campaigns.md. Traces of 5 s, the solver's defaults. The published count is 252 of 341.
"""

import pandas as pd

from cardioemu.simulation import design, load_cell, simulate
from cardioemu.traces import Trace
from cardioemu.windowing import WINDOWED, WindowRule, extract_windows

DURATION_MS = 5000.0
WINDOWS = WindowRule(samples=10_000, interval_ms=0.05, count=3, offset_ms=50.0, settle_ms=1000.0)  # published_points


def highest_mV(trace: Trace) -> float:
    """Return the largest V of the last 2 s."""
    return float(trace.step_voltage_mV[trace.step_time_ms >= DURATION_MS - 2000].max())


RULES = {
    "fires: an AP start in the last 2 s": lambda trace: trace.label == "fires",
    "an AP start anywhere": lambda trace: len(trace.starts_ms) > 0,
    "gives three windows of 500 ms": lambda trace: extract_windows(trace, WINDOWS).outcome == WINDOWED,
    "V above 0 mV in the last 2 s": lambda trace: highest_mV(trace) > 0,
    "V above 20 mV in the last 2 s": lambda trace: highest_mV(trace) > 20,
}


def main() -> None:
    """Print one row per rule and one column per variant."""
    rays = design("rays")
    table = pd.DataFrame(index=pd.Index(RULES))
    for variant in ("notebook", "program", "corrected"):
        traces = simulate(load_cell("akwaboah2021", variant), rays, DURATION_MS)
        table[variant] = [sum(map(rule, traces)) for rule in RULES.values()]
    print(f"{len(rays)} rays, {len(pd.DataFrame(rays).drop_duplicates())} distinct; of the {len(rays)}:\n")
    print(table.to_string())


if __name__ == "__main__":
    main()
