"""The windows that each preset cuts from the seed's 341 rays.

    python benchmarks/windows.py

Each preset with the traces that its experiment simulates (`beat`: 25 s). Then the windows of `followup` by other counts
per cell, for the published count was 971 windows of 252 cells, by a rule that is not known.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import yaml

from cardioemu.simulation import design, load_cell, simulate
from cardioemu.windowing import WindowRule, extract_windows, find_positions

CONF = Path(__file__).parent.parent / "conf" / "windowing"
DURATION_MS = {"published_points": 5000.0, "published_literal": 100_000.0, "followup": 5000.0, "beat": 25_000.0}
VARIANTS = ("notebook", "program", "corrected")


def preset(name: str) -> WindowRule:
    """Read the rule of `windowing=NAME`."""
    settings = {}
    for file in ("rule", name):
        settings |= yaml.safe_load((CONF / f"{file}.yaml").read_text())
    return WindowRule(**{key: value for key, value in settings.items() if key not in ("_target_", "defaults")})


def main() -> None:
    """Print both tables."""
    rows, counts = [], []
    for variant in VARIANTS:
        cell, rays = load_cell("akwaboah2021", variant), design("rays")
        for name, duration_ms in DURATION_MS.items():
            rule = preset(name)
            traces = simulate(cell, rays, duration_ms)
            found = [extract_windows(trace, rule, number) for number, trace in enumerate(traces)]
            windows = [each.windows for each in found if each.windows is not None]
            points = {each.shape[1] for each in windows}
            outcomes = pd.Series([each.outcome for each in found]).value_counts().to_dict()
            rows.append([variant, name, len(windows), sum(map(len, windows)), *points, outcomes])
            if name == "followup":
                firing = [trace for trace in traces if trace.label == "fires"]
                every = [len(find_positions(trace, replace(rule, count=1000)).begin_ms) for trace in firing]
                apart = [
                    len(find_positions(trace, replace(rule, count=1000, align="none")).begin_ms) for trace in firing
                ]
                most = {f"up to {n}": sum(min(count, n) for count in every) for n in (3, 4, 5)}
                counts.append([variant, len(firing), *most.values(), sum(every), sum(apart)])
    columns = ["variant", "preset", "cells", "windows", "points", "outcomes"]
    print(pd.DataFrame(rows, columns=columns).to_string(index=False), end="\n\n")
    columns = ["variant", "cells that fire", *most, "all about AP starts", "all one after another"]
    print("windows of 600 ms (published: 971 from 252 cells)\n")
    print(pd.DataFrame(counts, columns=columns).to_string(index=False))


if __name__ == "__main__":
    main()
