"""What came out of a campaign: a summary as text, the table behind it, and which cells to look at.

Each takes the cells of a trace store as `TraceStore.cells` reads them, and the names of the scaled conductances.
"""

import math
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle

import numpy as np
import pandas as pd

from cardioemu.common.arrays import PerCell
from cardioemu.traces import LABELS

FAILED = "failed"
OUTCOMES = (*LABELS, FAILED)
MEASURED = {"CL ms": "cl_ms", "APD90 ms": "apd90_ms"}
CAPTION = "By the scale of each conductance (CL and APD90: medians of the cells that fire)"
MOST_COLUMNS = 11  # levels of a conductance; with more it is cut into bins
# Half of the cells to look at fire; what one outcome lacks goes to the others.
DEALT = ("fires", FAILED, "fires", "stops", "fires", "quiescent")

Row = tuple[str, str, list[str]]


def summarise_population(cells: pd.DataFrame, scaled: Sequence[str]) -> str:
    """Says in text what the cells did, overall and by the scale of each conductance.

    CL and APD90 are those of the last complete beat, of the cells that fire; by scale they are medians.
    """
    distinct = _count(len(cells.drop_duplicates(list(scaled))), "distinct scale vector")
    head = f"{_count(len(cells), 'cell')}, {distinct}, {_count(int(cells['beats'].sum()), 'complete beat')}"
    blocks = [[head], _outcomes(cells), _ranges(cells), *_tables(by_conductance(cells, scaled))]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines)


def by_conductance(cells: pd.DataFrame, scaled: Sequence[str]) -> pd.DataFrame:
    """Tells what the cells do at each level of each conductance, or in equal bins of its range if it has more than 11.

    Returns:
        One row per conductance and level, ascending: `conductance`; `low` and `high`, which are the same for a level,
        the bounds of a bin otherwise (low <= scale < high, the last one with its high); `cells`; `fires_percent` of
        these; `cl_ms` and `apd90_ms`, the medians of those that fire. NaN where there are none.
    """
    fires = cells["label"].eq("fires")
    measured = cells[list(MEASURED.values())].where(fires).assign(fires_percent=100.0 * fires)
    tables = []
    for name in scaled:
        low, high, place = _places(cells[name].to_numpy(np.float64))
        levels = pd.DataFrame(
            {"conductance": name, "low": low, "high": high, "cells": np.bincount(place, None, len(low))}
        )
        what = {"fires_percent": "mean", **dict.fromkeys(MEASURED.values(), "median")}
        tables.append(levels.join(measured.groupby(place).agg(what)))
    return pd.concat(tables, ignore_index=True)


def sample_cells(cells: pd.DataFrame, scaled: Sequence[str], count: int = 9) -> list[int]:
    """Chooses up to `count` cells to look at: some of every outcome, no scale vector twice.

    Returns:
        Their numbers: the control if it is there, those that fire, evenly spread and ascending in CL, then the others.
    """
    distinct = cells.drop_duplicates(list(scaled)).sort_values(["cl_ms", "cell"])
    is_control = distinct[list(scaled)].eq(1).all(axis=1)
    control, others = distinct["cell"][is_control], distinct[~is_control]
    groups = {str(outcome): group["cell"].to_numpy() for outcome, group in others.groupby(_outcome(others))}
    shares = dict.fromkeys(OUTCOMES, 0)
    room = min(count, len(distinct)) - len(control)
    for outcome in cycle(DEALT):
        if sum(shares.values()) >= room:
            break
        shares[outcome] += shares[outcome] < len(groups.get(outcome, ()))
    spread = [groups[o][np.linspace(0, len(groups[o]) - 1, n).astype(int)] for o, n in shares.items() if n]
    return [int(cell) for cell in np.concatenate([control, *spread])]


def _outcome(cells: pd.DataFrame) -> pd.Series:
    return cells["label"].astype(object).where(cells["status"].eq("ok"), FAILED)


def _outcomes(cells: pd.DataFrame) -> list[str]:
    counts = _outcome(cells).value_counts()
    numbers = {outcome: int(counts.get(outcome, 0)) for outcome in OUTCOMES}
    lines = [f"{outcome:9}{_number(n):>9}{100 * n / len(cells):8.1f} %" for outcome, n in numbers.items()]
    broken = cells[cells["status"].ne("ok")]
    # "not finite: a state or derivative ... (stopped at 12 ms, state V)": the reason, and where it ended.
    failed = broken["status"].str.extract(r"^(?P<reason>[^:(]*[^:(\s]).*?(?:\((?P<where>[^()]*)\))?$").fillna("")
    failed["cell"] = broken["cell"]
    for reason, same in sorted(failed.groupby("reason"), key=lambda group: -len(group[1])):
        first = same.iloc[0]
        where = first["where"] and f" ({first['where']})"
        lines.append(f"{_number(len(same)):>18}  {reason}, for example cell {first['cell']}{where}")
    return lines


def _ranges(cells: pd.DataFrame) -> list[str]:
    fires = cells[cells["label"].eq("fires")]
    lines = []
    for title, column in MEASURED.items():
        values = fires[column].dropna()
        if len(values):
            lines.append(f"{title:9}{values.min():9.1f}{values.median():9.1f}{values.max():9.1f}")
    head = f"{'':9}{'min':>9}{'median':>9}{'max':>9}   (last complete beat of those that fire)"
    return [head, *lines] if lines else []


def _tables(by_level: pd.DataFrame) -> Iterator[list[str]]:
    """Writes one table for all conductances that share their levels; a single level tells nothing."""
    alike: dict[tuple[float, ...], dict[str, pd.DataFrame]] = {}
    for name, table in by_level.groupby("conductance", sort=False):
        if len(table) > 1:
            alike.setdefault((*table["low"], *table["high"]), {})[str(name)] = table
    for i, tables in enumerate(alike.values()):
        yield [*([] if i else [CAPTION]), *_aligned(list(_rows(tables)))]


def _rows(tables: dict[str, pd.DataFrame]) -> Iterator[Row]:
    first = next(iter(tables.values()))
    bounds = {"scale": first["low"], "to": first["high"]}
    if first["low"].equals(first["high"]):
        del bounds["to"]
    for title, scales in bounds.items():
        yield title, "", [f"{scale:g}" for scale in scales]
    same = all(np.array_equal(table["cells"], first["cells"]) for table in tables.values())
    yield from _block("cells", "cells", {"": first} if same else tables, str)
    yield from _block("fire %", "fires_percent", tables, _percent)
    for title, column in MEASURED.items():
        largest = max(table[column].max() for table in tables.values())
        if largest > 0:  # not where no cell fires: NaN
            yield from _block(title, column, tables, ("{:.0f}" if largest >= 100 else "{:.1f}").format)


def _block(title: str, column: str, tables: dict[str, pd.DataFrame], show: Callable[[float], str]) -> Iterator[Row]:
    for i, (name, table) in enumerate(tables.items()):
        yield "" if i else title, name, ["-" if math.isnan(value) else show(value) for value in table[column]]


def _aligned(rows: Sequence[Row]) -> list[str]:
    titles = max(len(title) for title, _, _ in rows)
    names = max(_width(name) for _, name, _ in rows)
    columns = max(5, *(len(text) for _, _, texts in rows for text in texts))
    return [
        f"{title:{titles}} {name}{' ' * (names - _width(name))}" + "".join(f" {text:>{columns}}" for text in texts)
        for title, name, texts in rows
    ]


def _width(text: str) -> int:
    """Returns how many columns of a terminal a text takes."""
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def _number(n: int) -> str:
    return f"{n:,}".replace(",", " ")


def _count(n: int, noun: str) -> str:
    return f"{_number(n)} {noun}{'' if n == 1 else 's'}"


def _percent(percent: float) -> str:
    """Rounds to whole percents, but tells few from none and most from all."""
    if 0 < percent < 0.5:
        return "<1"
    return ">99" if 99.5 <= percent < 100 else f"{percent:.0f}"


def _places(scales: PerCell) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the bounds of each level or bin, ascending, and which of them each scale belongs to."""
    levels, place = np.unique(scales, return_inverse=True)
    if len(levels) <= MOST_COLUMNS:
        return levels, levels, place
    least = (levels[-1] - levels[0]) / (MOST_COLUMNS - 1)
    unit = 10.0 ** math.floor(math.log10(least))
    width = next(m * unit for m in (1, 2, 5, 10) if m * unit >= least)
    # Rounded: 0.6 / 0.2 is a little less than 3, 3 * 0.2 a little more than 0.6.
    begin, end = math.floor(round(levels[0] / width, 9)), math.ceil(round(levels[-1] / width, 9))
    edges = np.array([float(f"{i * width:.12g}") for i in range(begin, end + 1)])
    place = np.clip(np.searchsorted(edges, scales, side="right") - 1, 0, len(edges) - 2)
    return edges[:-1], edges[1:], place
