"""Summary of a simulated population: as text, by conductance, and as a sample of cells to plot.

Each function takes the cells of a trace store as `TraceStore.cells` reads them, and the names of the scaled
conductances.
"""

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from cardioemu.common.arrays import PerCell
from cardioemu.common.text import group_digits, plural
from cardioemu.traces import FAILED, LABELS

OUTCOMES = (*LABELS, FAILED)
MEASURED = {"CL ms": "cl_ms", "APD90 ms": "apd90_ms"}
CAPTION = "By scale of each conductance (CL and APD90: medians of the firing cells)"
MAX_LEVELS = 11  # more levels of a conductance are grouped into bins
# The outcomes of sampled cells, in turn: half of the cells fire. Missing cells of one outcome are replaced by others.
SAMPLED_OUTCOMES = ("fires", FAILED, "fires", "stops", "fires", "quiescent")


def summarise_population(cells: pd.DataFrame, scaled: Sequence[str]) -> str:
    """Return a text on the outcomes, CL and APD90 of the cells, overall and by scale of each conductance."""
    distinct = plural(len(cells.drop_duplicates(list(scaled))), "distinct scale vector")
    head = f"{plural(len(cells), 'cell')}, {distinct}, {plural(int(cells['beats'].sum()), 'complete beat')}"
    blocks = [head, _outcome_table(cells), _range_table(cells), *_level_tables(by_conductance(cells, scaled))]
    return "\n\n".join(block for block in blocks if block)


def by_conductance(cells: pd.DataFrame, scaled: Sequence[str]) -> pd.DataFrame:
    """Summarise the cells at each level of each conductance, or in equal bins if it has more than 11 levels.

    Returns:
        One row per conductance and level, ascending: `conductance`; `low` and `high`, equal for a level, otherwise the
        limits of a bin (low <= scale < high, the last bin including its high); `cells`; `fires_percent` of these;
        `cl_ms` and `apd90_ms`, the medians of those that fire. NaN without cells.
    """
    fires = cells["label"].eq("fires")
    measured = cells[list(MEASURED.values())].where(fires).assign(fires_percent=100.0 * fires)
    statistics = {"fires_percent": "mean", **dict.fromkeys(MEASURED.values(), "median")}
    tables = []
    for name in scaled:
        low, high, bins = _levels_or_bins(cells[name].to_numpy(np.float64))
        counts = {"conductance": name, "low": low, "high": high, "cells": np.bincount(bins, None, len(low))}
        tables.append(pd.DataFrame(counts).join(measured.groupby(bins).agg(statistics)))
    return pd.concat(tables, ignore_index=True)


def sample_cells(cells: pd.DataFrame, scaled: Sequence[str], count: int = 9) -> list[int]:
    """Select up to `count` cells to plot: some of every outcome, no scale vector twice.

    Returns:
        Numbers of the cells: the control if it exists, then those that fire, evenly spaced and ascending in CL, then
        the others.
    """
    distinct = cells.drop_duplicates(list(scaled)).sort_values(["cl_ms", "cell"])
    is_control = distinct[list(scaled)].eq(1).all(axis=1)
    control, others = distinct["cell"][is_control], distinct[~is_control]
    groups = {str(outcome): group["cell"].to_numpy() for outcome, group in others.groupby(_outcomes(others))}
    shares = dict.fromkeys(OUTCOMES, 0)
    wanted = min(count, len(distinct)) - len(control)
    for outcome in cycle(SAMPLED_OUTCOMES):
        if sum(shares.values()) >= wanted:
            break
        shares[outcome] += shares[outcome] < len(groups.get(outcome, ()))
    sampled = [groups[o][evenly_spaced(len(groups[o]), n)] for o, n in shares.items() if n]
    return [int(cell) for cell in np.concatenate([control, *sampled])]


def evenly_spaced(size: int, count: int) -> np.ndarray:
    """Return up to `count` of the numbers 0 to size - 1, evenly spaced, including the first and the last."""
    return np.unique(np.linspace(0, size - 1, count).astype(int))


def _outcomes(cells: pd.DataFrame) -> pd.Series:
    return cells["label"].astype(object).where(cells["status"].eq("ok"), FAILED)


def _outcome_table(cells: pd.DataFrame) -> str:
    counts = _outcomes(cells).value_counts().reindex(OUTCOMES, fill_value=0).rename_axis(None)
    percent = (100 * counts / len(cells)).map("{:.1f} %".format)
    table = pd.DataFrame({"cells": counts.map(group_digits), "percent": percent})
    failed = cells[cells["status"].ne("ok")]
    # "not finite: a state or derivative ... (stopped at 12 ms, state V)": the reason, and where it ended.
    reasons = failed["status"].str.extract(r"^(?P<reason>[^:(]*[^:(\s]).*?(?P<where>\([^()]*\))?$").fillna("")
    grouped = reasons.assign(cell=failed["cell"]).groupby("reason")
    summary = grouped.agg(count=("cell", "size"), cell=("cell", "first"), where=("where", "first"))
    lines = [
        f"{plural(count, 'cell')} failed: {reason}, e.g. cell {cell} {where}".rstrip()
        for reason, count, cell, where in summary.sort_values("count", ascending=False, kind="stable").itertuples()
    ]
    return "\n".join([table.to_string(header=False), *lines])


def _range_table(cells: pd.DataFrame) -> str:
    firing = cells.loc[cells["label"].eq("fires"), list(MEASURED.values())]
    table = firing.set_axis(list(MEASURED), axis=1).agg(["min", "median", "max"]).T.dropna()
    table.columns.name = "last complete beat"
    return "" if table.empty else table.to_string(float_format="{:.1f}".format)


def _level_tables(by_level: pd.DataFrame) -> list[str]:
    """Format one table for all conductances with the same levels; those with a single level are left out."""
    alike: dict[tuple[float, ...], list[pd.DataFrame]] = {}
    for _, table in by_level.groupby("conductance", sort=False):
        if len(table) > 1:
            alike.setdefault((*table["low"], *table["high"]), []).append(table)
    tables = [_level_table(pd.concat(group)) for group in alike.values()]
    return [f"{CAPTION}\n{tables[0]}", *tables[1:]] if tables else []


def _level_table(by_level: pd.DataFrame) -> str:
    names = by_level["conductance"].unique()
    wide = {
        column: by_level.pivot(index="conductance", columns=["low", "high"], values=column).loc[names]
        for column in ("cells", "fires_percent", *MEASURED.values())
    }
    counts = wide["cells"].map("{:.0f}".format)
    limits = counts.columns.to_frame().T.map("{:g}".format).drop_duplicates()  # one row if low equals high
    blocks = {
        "scale": limits[:1].set_axis([""]),
        "to": limits[1:].set_axis([""] * len(limits[1:])),
        "cells": counts[:1].set_axis([""]) if (counts == counts.iloc[0]).all(axis=None) else counts,
        "fire %": wide["fires_percent"].map(_percent, na_action="ignore"),
    }
    for title, column in MEASURED.items():
        largest = np.nanmax(wide[column].to_numpy(float), initial=0.0)
        if largest > 0:  # not if no cell fires
            blocks[title] = wide[column].map(("{:.0f}" if largest >= 100 else "{:.1f}").format, na_action="ignore")
    table = pd.concat(blocks).fillna("-").set_axis(range(counts.shape[1]), axis=1).reset_index()
    table["level_0"] = table["level_0"].mask(table["level_0"].duplicated(), "")
    with pd.option_context("display.unicode.east_asian_width", True):
        return table.to_string(index=False, header=False)


def _percent(percent: float) -> str:
    """Round to whole percents, but distinguish few from none and most from all."""
    if 0 < percent < 0.5:
        return "<1"
    return ">99" if 99.5 <= percent < 100 else f"{percent:.0f}"


def _levels_or_bins(scales: PerCell) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the lower and upper limits of each level or bin, ascending, and the index of each scale's level or bin."""
    levels, indices = np.unique(scales, return_inverse=True)
    if len(levels) <= MAX_LEVELS:
        return levels, levels, indices
    ticks = MaxNLocator(MAX_LEVELS - 1, steps=[1, 2, 5, 10]).tick_values(levels[0], levels[-1])
    edges = np.array([float(f"{tick:.12g}") for tick in ticks])  # 3 * 0.2 is slightly above 0.6
    indices = np.clip(np.searchsorted(edges, scales, side="right") - 1, 0, len(edges) - 2)
    return edges[:-1], edges[1:], indices
