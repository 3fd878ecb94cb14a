"""When is beating steady? What 2 048 Sobol cells do so and so long after they began.

    python experiments/emulators/settling.py [VARIANT]

Prints a Markdown table. A cell fires if an AP starts in the last 2 s of the 5 s after the time; of those that do: how
many have yet to begin, are in their first five beats, or come out of a pause; what the cycle length changes by from the
next beat to the one after it; and how many of all cells fire at that time or at 100 s, but not at both.
"""

import sys

import numpy as np

from cardioemu.simulation import design, load_cell, simulate

CELLS, AFTER_MS = 2048, 5000.0
TIMES_S = (10, 20, 30, 40, 45, 50, 60, 100)
FIRST_BEATS, PAUSE = 5, 1.3  # a pause is longer than so many of the next cycles
COLUMNS = (
    "after",
    "fire",
    "yet to begin",
    "first five beats",
    "after a pause",
    "change per beat: median, 90 %, 95 % (ms)",
    "otherwise at 100 s",
)


def doing(starts_ms: np.ndarray, time_ms: float) -> dict[str, float] | None:
    """Says what a cell does at a time; None where it does not fire."""
    starts_ms = starts_ms[starts_ms < time_ms + AFTER_MS]
    if len(starts_ms) == 0 or starts_ms[-1] < time_ms + AFTER_MS - 2000:
        return None
    beats = int(np.searchsorted(starts_ms, time_ms))
    cycles_ms = np.diff(starts_ms[max(beats - 1, 0) : beats + 3])  # the one that holds the time, and the next two
    whole = beats > 0 and len(cycles_ms) == 3
    return {
        "yet": float(beats == 0),
        "first": float(0 < beats <= FIRST_BEATS),
        "pause": float(whole and cycles_ms[0] > PAUSE * cycles_ms[1]),
        "change_ms": abs(cycles_ms[-1] - cycles_ms[-2]) if len(cycles_ms) > 1 else np.nan,
    }


def main(variant: str) -> None:
    """Simulate the cells once, and print the table."""
    cell = load_cell("akwaboah2021", variant=variant)
    traces = simulate(cell, design("sobol", n=CELLS, seed=3), 1000 * TIMES_S[-1] + AFTER_MS)
    starts_ms = [trace.starts_ms for trace in traces]
    at = {time_s: [doing(each, 1000.0 * time_s) for each in starts_ms] for time_s in TIMES_S}
    last = np.array([found is not None for found in at[TIMES_S[-1]]])
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    for time_s, cells in at.items():
        fire = np.array([found is not None for found in cells])
        columns = {name: [found[name] for found in cells if found] for name in ("yet", "first", "pause", "change_ms")}
        parts = [f"{100 * np.mean(columns[name]):.1f} %" for name in ("yet", "first", "pause")]
        change = ", ".join(f"{each:.2g}" for each in np.nanquantile(columns["change_ms"], [0.5, 0.9, 0.95]))
        values = [fire.sum(), *parts, change, f"{100 * np.mean(fire != last):.1f} %"]
        print(f"| {time_s} s | " + " | ".join(map(str, values)) + " |")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "program")
