"""Summaries of a campaign, against cells counted by hand and against plain loops."""

import math
import statistics
import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardioemu.evaluation.metrics.population import by_conductance, sample_cells, summarise_population
from cardioemu.simulation.solvers.problem import NO_MEMORY, STEP_TOO_SMALL, failure_status

OUTCOMES = ("fires", "stops", "quiescent", "failed")
BROKE = failure_status(STEP_TOO_SMALL, 12.3, "V")


def cells_of(scaled, rows):
    """Cells from rows of (scales, label or status, beats, CL, APD90)."""
    frame = pd.DataFrame([row[0] for row in rows], columns=list(scaled), dtype=float)
    frame.insert(0, "cell", range(len(rows)))
    frame["status"] = ["ok" if outcome in OUTCOMES else outcome for _, outcome, *_ in rows]
    frame["label"] = pd.Series([outcome if outcome in OUTCOMES else None for _, outcome, *_ in rows], dtype="str")
    frame["beats"] = [beats for *_, beats, _, _ in rows]
    frame["cl_ms"] = np.array([cl for *_, cl, _ in rows], float)
    frame["apd90_ms"] = np.array([apd for *_, apd in rows], float)
    return frame


NAN = float("nan")
SMALL = cells_of(
    ["INa", "IKr"],
    [
        ([0, 1], "quiescent", 0, NAN, NAN),
        ([1, 1], "fires", 10, 440, 135),
        ([1, 1], "fires", 10, 440, 135),
        ([2, 1], "fires", 11, 420, 128),
        ([0, 2], "stops", 2, 700, 99),
        ([1, 2], "fires", 0, NAN, NAN),
        ([2, 2], "fires", 1200, 400.25, 90.5),
        ([2, 0.5], BROKE, 3, 380, 150),
        ([0, 0.5], failure_status(NO_MEMORY, 1500.0, None), 0, NAN, NAN),
        ([1, 0.5], failure_status(STEP_TOO_SMALL, 99.0, "IKr.x"), 0, NAN, NAN),
    ],
)
SMALL_TEXT = """\
10 cells, 9 distinct scale vectors, 1 236 complete beats

fires      5  50.0 %
stops      1  10.0 %
quiescent  1  10.0 %
failed     3  30.0 %
2 cells failed: step too small, e.g. cell 7 (stopped at 12.3 ms, state V)
1 cell failed: no memory, e.g. cell 8 (stopped at 1500 ms)

last complete beat   min  median   max
CL ms              400.2   430.0 440.0
APD90 ms            90.5   131.5 135.0

By scale of each conductance (CL and APD90: medians of the firing cells)
   scale     0   1   2
   cells     3   4   3
  fire % INa 0  75  67
   CL ms INa - 440 410
APD90 ms INa - 135 109

   scale     0.5   1   2
   cells       3   4   3
  fire % IKr   0  75  67
   CL ms IKr   - 440 400
APD90 ms IKr   - 135  90"""


def test_a_summary_to_the_letter():
    assert summarise_population(SMALL, ["INa", "IKr"]) == SMALL_TEXT


def test_the_table_by_hand():
    table = by_conductance(SMALL, ["IKr"])
    assert list(table) == ["conductance", "low", "high", "cells", "fires_percent", "cl_ms", "apd90_ms"]
    assert table["conductance"].tolist() == ["IKr"] * 3
    assert table["low"].tolist() == table["high"].tolist() == [0.5, 1, 2]
    assert table["cells"].tolist() == [3, 4, 3]
    assert table["fires_percent"].tolist() == pytest.approx([0, 75, 200 / 3])
    np.testing.assert_array_equal(table["cl_ms"], [NAN, 440, 400.25])
    np.testing.assert_array_equal(table["apd90_ms"], [NAN, 135, 90.5])


def test_conductances_with_the_same_levels_share_a_table():
    rows = [([a, b], "fires", 1, 100 * a + 10 * b, 20.25) for a in (0.5, 1, 2) for b in (0.5, 1, 2)]
    table = summarise_population(cells_of(["g", "長い_µ"], rows), ["g", "長い_µ"]).splitlines()[-8:]
    assert table[:4] == [
        "   scale         0.5    1    2",
        "   cells           3    3    3",
        "  fire %      g  100  100  100",
        "         長い_µ  100  100  100",
    ]
    assert table[4:6] == ["   CL ms      g   60  110  210", "         長い_µ  105  110  120"]
    assert table[6:] == ["APD90 ms      g 20.2 20.2 20.2", "         長い_µ 20.2 20.2 20.2"]


@pytest.mark.parametrize("name", ["INa", "g_β", "電流"])
def test_columns_line_up_on_the_terminal(name):
    names, rows = [name, "a_longer_name"], [([i, i], "fires", 1, 400, 100) for i in (0, 1, 2)]
    text = summarise_population(cells_of(names, rows), names)

    def columns(line):
        return sum(2 if unicodedata.east_asian_width(c) == "W" else 1 for c in line)

    table = text.splitlines()[-8:]
    assert name in table[2]
    assert len({columns(line) for line in table}) == 1


def test_many_levels_become_bins():
    scales = np.linspace(0.013, 1.99, 500)
    table = by_conductance(cells_of(["g"], [([s], "fires", 1, 1000 * s, 1) for s in scales]), ["g"])
    assert table["low"].tolist() == [0, 0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.6, 1.8]
    assert table["high"].tolist() == [0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.6, 1.8, 2]
    for row in table.itertuples():
        inside = scales[(scales >= row.low) & (scales < row.high)]
        assert row.cells == len(inside)
        assert row.cl_ms == pytest.approx(1000 * np.median(inside))


def test_levels_on_the_edges_of_bins():
    tenths = [i / 10 for i in range(31)]
    cells = cells_of(["g"], [([s], "quiescent", 0, NAN, NAN) for s in tenths])
    table = by_conductance(cells, ["g"])
    assert table["high"].tolist() == [0.5, 1, 1.5, 2, 2.5, 3]
    assert table["cells"].tolist() == [5, 5, 5, 5, 5, 6]  # the last bin includes its upper limit
    assert summarise_population(cells, ["g"]).splitlines()[-4:] == [
        " scale     0 0.5   1 1.5   2 2.5",
        "    to   0.5   1 1.5   2 2.5   3",
        " cells     5   5   5   5   5   6",
        "fire % g   0   0   0   0   0   0",
    ]


def test_bins_may_be_empty():
    scales = [*np.linspace(0, 0.1, 11), 2.0]
    table = by_conductance(cells_of(["g"], [([s], "stops", 0, NAN, NAN) for s in scales]), ["g"])
    assert table["cells"].tolist() == [11, *[0] * 8, 1]
    assert table["fires_percent"].isna().tolist() == [False, *[True] * 8, False]


def test_few_are_not_rounded_to_none_nor_most_to_all():
    rows = []
    for level, firing in ((0, 1), (1, 399), (2, 0), (3, 400)):
        rows += [([level], "fires", 0, NAN, NAN)] * firing + [([level], "stops", 0, NAN, NAN)] * (400 - firing)
    percentages = summarise_population(cells_of(["g"], rows), ["g"]).splitlines()[-1].split("g")[1]
    assert percentages.split() == ["<1", ">99", "0", "100"]


@pytest.mark.parametrize("label", [None, np.nan])
def test_all_failed(label):
    cells = cells_of(["g"], [([i], BROKE, 0, NAN, NAN) for i in range(3)]).assign(label=label)
    text = summarise_population(cells, ["g"])
    assert "failed     3  100.0 %\n3 cells failed: step too small, e.g. cell 0" in text
    assert "CL ms" not in text
    assert text.splitlines()[-1].split() == ["fire", "%", "g", "0", "0", "0"]
    assert sample_cells(cells, ["g"]) == [1, 0, 2]


def test_one_cell():
    text = summarise_population(cells_of(["g", "h"], [([1, 1], "fires", 1, 440, 135)]), ["g", "h"])
    assert text.startswith("1 cell, 1 distinct scale vector, 1 complete beat\n")
    assert text.endswith("APD90 ms           135.0   135.0 135.0")  # one level of each: there is no table


def test_a_status_without_details():
    cells = cells_of(["g"], [([1], "lost", 0, NAN, NAN), ([2], "lost", 0, NAN, NAN)])
    assert "\n2 cells failed: lost, e.g. cell 0\n" in summarise_population(cells, ["g"])


def test_the_published_factorial_fits_on_a_screen():
    rows = [(row, "fires", 20, 1300.5, 412.3) for row in np.tile(np.linspace(0, 2, 11), (5, 1)).T]
    names = ["ICaL", "IK1", "IKr", "IKur", "INa"]
    lines = summarise_population(pd.concat([cells_of(names, rows)] * 14641), names).splitlines()
    assert len(lines) < 30
    assert max(map(len, lines)) <= 80


def test_samples_by_hand():
    rows = [([i, 0], "fires", 1, 1000 - i, 1) for i in range(40)]
    rows += [([i, 2], "stops", 0, NAN, NAN) for i in range(5)] + [([i, 3], BROKE, 0, NAN, NAN) for i in range(5)]
    rows += [([i, 4], "quiescent", 0, NAN, NAN) for i in range(5)] + [([1, 1], "stops", 0, NAN, NAN)] * 3
    cells = cells_of(["g", "h"], rows)
    # The control; firing cells by CL, including the shortest and the longest; one or two of each other outcome.
    assert sample_cells(cells, ["g", "h"]) == [55, 39, 26, 13, 0, 40, 50, 45, 49]
    assert sample_cells(cells, ["g", "h"], 1) == [55]
    assert sample_cells(cells[:40], ["g", "h"], 3) == [39, 20, 0]


outcome = st.tuples(st.sampled_from((*OUTCOMES[:3], BROKE)), st.integers(0, 50), *[st.floats(10, 1e4)] * 2)
level = st.one_of(st.sampled_from([0.0, 0.2, 1.0, 2.0]), st.floats(0, 3))
many_cells = st.lists(st.tuples(st.tuples(level, level), outcome), min_size=1, max_size=60).map(
    lambda rows: cells_of(["g", "h"], [(scales, *result) for scales, result in rows])
)


@given(many_cells)
def test_counts_add_up(cells):
    table = by_conductance(cells, ["g", "h"])
    fire = cells["label"].eq("fires").sum()
    for _, levels in table.groupby("conductance"):
        assert len(levels) <= 11
        assert levels["cells"].sum() == len(cells)
        assert np.nansum(levels["cells"] * levels["fires_percent"] / 100) == pytest.approx(fire)
    for row in table.itertuples():
        last = row.high == table.loc[table["conductance"] == row.conductance, "high"].max()
        inside = [
            cell
            for cell in cells.to_dict("records")
            if row.low <= cell[row.conductance]
            and (cell[row.conductance] < row.high or row.high == row.low or last)
            and (row.low < row.high or cell[row.conductance] == row.low)
        ]
        firing = [cell["cl_ms"] for cell in inside if cell["label"] == "fires"]
        assert row.cells == len(inside)
        assert (row.cl_ms == pytest.approx(statistics.median(firing))) if firing else math.isnan(row.cl_ms)
    counts = [int(line.split()[1]) for line in summarise_population(cells, ["g", "h"]).splitlines()[2:6]]
    assert sum(counts) == len(cells)
    assert counts[0] == fire


@given(many_cells, st.integers(1, 12))
def test_samples_are_distinct_and_of_every_outcome(cells, count):
    chosen = sample_cells(cells, ["g", "h"], count)
    distinct = cells.drop_duplicates(["g", "h"])
    shown = cells.set_index("cell").loc[chosen]
    assert len(chosen) == min(count, len(distinct))
    assert not shown.duplicated(["g", "h"]).any()
    if ((cells["g"] == 1) & (cells["h"] == 1)).any():
        assert (shown.iloc[0][["g", "h"]] == 1).all()
    if count >= 7:
        assert set(shown["label"].fillna("failed")) == set(distinct["label"].fillna("failed"))
    rest = shown[~(shown[["g", "h"]] == 1).all(axis=1)]
    assert rest.loc[rest["label"].eq("fires"), "cl_ms"].is_monotonic_increasing
    assert chosen == sample_cells(cells.sample(frac=1, random_state=0).sort_values("cell"), ["g", "h"], count)
