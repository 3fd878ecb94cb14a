"""The meaning of a window rule, and the positions of its windows: tables counted by hand."""

from dataclasses import fields
from fractions import Fraction

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tiny_job import ROOT
from trace_shapes import LogisticAPs

from cardioemu.windowing import WindowRule, find_positions
from cardioemu.windowing.positions import aligned_positions, consecutive_positions, select_positions

TEN = {"length_ms": 5.0, "samples": 10}
STARTS = np.array([100.0, 600.0, 1100.0, 1600.0, 2100.0])


def rule(length=301, interval=1.0, offset=50.0, settle=500.0, **others):
    return WindowRule(length_ms=length, interval_ms=interval, offset_ms=offset, settle_ms=settle, **others)


def test_the_config_has_the_defaults():
    config = yaml.safe_load((ROOT / "conf" / "windowing" / "rule.yaml").read_text())
    del config["_target_"]
    assert config == {field.name: field.default for field in fields(WindowRule)}


@pytest.mark.parametrize("left_out", ["interval_ms", "samples", "length_ms", None])
def test_two_of_three_determine_the_third(left_out):
    three = {"length_ms": 500.0, "samples": 10000, "interval_ms": 0.05}
    complete = WindowRule(**{name: value for name, value in three.items() if name != left_out})
    assert (complete.length_ms, complete.samples, complete.interval_ms) == (500.0, 10000, 0.05)
    assert complete.time_ms.shape == (10000,)
    assert complete.time_ms[[0, 1000, -1]] == pytest.approx([-50, 0, 449.95], abs=1e-10)
    assert complete.shortest_trace_ms == pytest.approx(1000 + 449.95)


def test_samples_of_a_resampled_and_trimmed_window():
    followup = WindowRule(length_ms=600.0, samples=12000, resample_to=5000, trim=50)
    assert followup.output_samples == len(followup.time_ms) == 4900
    assert followup.time_ms[[0, -1]] == pytest.approx([-50 + 50 * 0.12, -50 + 4949 * 0.12])
    assert rule(trim=100).time_ms[[0, -1]].tolist() == [50, 150]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "windowing: set two of length_ms, samples and interval_ms"),
        ({"samples": 10}, "windowing: set two of length_ms, samples and interval_ms"),
        ({"length_ms": 500.0, "interval_ms": 3.0}, r"length_ms 500 is not samples x interval_ms = 167 x 3"),
        ({"length_ms": 1.0, "interval_ms": 1.0}, r"windowing.interval_ms: got 1, but a window needs two samples"),
        ({"length_ms": "cycle"}, r"windowing: with length_ms=cycle set samples"),
        ({"length_ms": "cycle", "samples": 10, "interval_ms": 1.0}, r"windowing: with length_ms=cycle set samples"),
        ({"length_ms": "cycle", "samples": 10, "align": "sample"}, r"windowing.align: got sample"),
        (TEN | {"trim": 5}, "trim: got 5, which leaves 0 of 10 samples; at most 4 is allowed"),
        (TEN | {"resample_to": 7, "trim": 3}, r"windowing.trim: got 3, which leaves 1 of 7"),
    ],
)
def test_settings_that_contradict_each_other(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        WindowRule(**given)


@pytest.mark.parametrize(
    ("changes", "duration", "expected"),
    [
        ({}, 2350.0, [600, 1100, 1600, 2100]),  # the last window ends exactly at the end
        ({}, 2349.999, [600, 1100, 1600]),
        ({"settle": 600.0}, 2500.0, [600, 1100, 1600, 2100]),  # an AP start exactly at the end of settling
        ({"settle": 600.001}, 2500.0, [1100, 1600, 2100]),
        ({"settle": 0.0}, 2500.0, [100, 600, 1100, 1600, 2100]),
        ({"settle": 0.0, "offset": 0.0}, 2400.0, [100, 600, 1100, 1600, 2100]),
        ({"settle": 0.0, "offset": 100.0}, 2500.0, [100, 600, 1100, 1600, 2100]),  # a window that begins at time 0
        ({"settle": 0.0, "offset": 100.1}, 2500.0, [600, 1100, 1600, 2100]),  # one that would begin before time 0
        ({"offset": 400.0}, 2500.0, [600, 1100, 1600, 2100]),  # windows that end before their AP start
        ({"length": 1001}, 2500.0, [600, 1100]),  # overlapping windows: each begins 500 ms after the one before
        ({"length": 2502}, 2500.0, []),
        ({"settle": 2200.0}, 2500.0, []),
        # The next sample of a trace stored every 70 ms: 140 630 1120 1610 2100; the last is an AP start itself.
        ({"length": 350, "interval": 70.0, "align": "sample", "settle": 0.0}, 2500.0, [140, 630, 1120, 1610, 2100]),
        ({"length": 350, "interval": 70.0, "align": "sample", "settle": 620.0}, 2500.0, [630, 1120, 1610, 2100]),
        ({"length": 350, "interval": 70.0, "align": "sample"}, 2329.0, [630, 1120, 1610]),
    ],
)
def test_which_ap_starts_fit(changes, duration, expected):
    window_rule = rule(**changes)
    positions = aligned_positions(STARTS, duration, window_rule)
    assert (positions.begin_ms + window_rule.offset_ms).tolist() == expected
    assert positions.length_ms.tolist() == [window_rule.length_ms] * len(expected)
    assert aligned_positions(np.array([]), duration, window_rule).begin_ms.tolist() == []


@pytest.mark.parametrize(
    ("changes", "starts", "expected"),
    [
        ({}, [100, 600, 1150, 1600], [(600, 550), (1150, 450)]),  # the last has no next start
        ({"settle_ms": 0.0, "offset_ms": 30.0}, [100, 600, 1150, 1600], [(70, 500), (570, 550), (1120, 450)]),
        ({"settle_ms": 0.0, "offset_ms": 101.0}, [100, 600, 1150], [(499, 550)]),
        ({"settle_ms": 0.0}, [100], []),
        ({"settle_ms": 0.0}, [], []),
    ],
)
def test_whole_cycles(changes, starts, expected):
    cycle = WindowRule(**{"length_ms": "cycle", "samples": 100, "offset_ms": 0.0, "settle_ms": 500.0} | changes)
    positions = aligned_positions(np.array(starts, dtype=float), 1700.0, cycle)
    assert list(zip(positions.begin_ms, positions.length_ms, strict=True)) == expected
    with pytest.raises(ValueError, match="no common sample times"):
        _ = cycle.time_ms


@pytest.mark.parametrize(
    ("length", "settle", "duration", "begin"),
    [
        (400, 500.0, 2099.0, [500, 900, 1300, 1700]),  # the last sample of the fourth is at 2099
        (400, 500.0, 2098.9, [500, 900, 1300]),
        (400, 0.0, 399.0, [0]),
        (400, 0.0, 398.0, []),
        (400, 900.0, 500.0, []),
    ],
)
def test_consecutive_windows(length, settle, duration, begin):
    window_rule = rule(length=length, settle=settle, align="none")
    assert consecutive_positions(duration, window_rule).begin_ms.tolist() == begin
    assert bool(begin) == (duration >= window_rule.shortest_trace_ms)


@pytest.mark.parametrize(
    ("choose", "count", "expected"),
    [
        ("spread", 1, [0]),
        ("spread", 2, [0, 3]),
        ("spread", 3, [0, 1, 3]),
        ("first", 2, [0, 1]),
        ("last", 1, [3]),
        ("last", 3, [1, 2, 3]),
        *((choose, 9, [0, 1, 2, 3]) for choose in ("spread", "first", "last")),
    ],
)
def test_which_of_four_are_selected(choose, count, expected):
    assert select_positions(4, rule(count=count, choose=choose)).tolist() == expected
    assert select_positions(0, rule(count=count, choose=choose)).tolist() == []


def test_spread_is_exact():
    for fitting in range(1, 61):
        for count in range(2, fitting + 1):
            # Evenly spaced from first to last, each rounded to an integer, halves down.
            even = [Fraction(i * (fitting - 1), count - 1) for i in range(count)]
            rounded = [int(position) + (position % 1 > Fraction(1, 2)) for position in even]
            assert select_positions(fitting, rule(count=count)).tolist() == rounded, (fitting, count)


def test_random_choice_depends_on_seed_and_cell():
    first, again, other = (rule(count=3, choose="random", seed=seed) for seed in (0, 0, 1))
    draws = [select_positions(10, first, cell).tolist() for cell in range(2000)]
    assert draws == [select_positions(10, again, cell).tolist() for cell in range(2000)]
    assert draws != [select_positions(10, other, cell).tolist() for cell in range(2000)]
    assert all(sorted(set(draw)) == draw and len(draw) == 3 for draw in draws)
    # Each of ten in 3 of 10 draws: 600 of 2000, with a standard deviation of 20.
    assert np.bincount(np.concatenate(draws), minlength=10) == pytest.approx(600, abs=100)
    assert select_positions(2, first, 5).tolist() == [0, 1]


def test_positions_are_selected_from_those_that_fit():
    trace = LogisticAPs([200, 700.3, 1200.123], duration=1900.0).trace()
    for changes in ({}, {"start": "upstroke"}, {"align": "none"}, {"align": "sample"}):
        window_rule = rule(count=2, choose="last", settle=0.0, **changes)
        starts_ms = trace.upstrokes_ms if "start" in changes else trace.starts_ms
        fitting = aligned_positions(starts_ms, 1900.0, window_rule)
        if changes.get("align") == "none":
            fitting = consecutive_positions(1900.0, window_rule)
        positions = find_positions(trace, window_rule)
        assert positions.begin_ms.tolist() == fitting.begin_ms[-2:].tolist()
        assert positions.length_ms.tolist() == [301, 301]


@given(st.lists(st.floats(0, 5000), max_size=20, unique=True).map(sorted), st.floats(0, 2000), st.floats(0, 100))
def test_windows_are_inside_the_trace(starts, settle, offset):
    positions = aligned_positions(np.array(starts, dtype=float), 5000.0, rule(offset=offset, settle=settle))
    fitting = [s for s in starts if s >= settle and s - offset >= 0 and s - offset + 300 <= 5000]
    assert positions.begin_ms == pytest.approx(np.subtract(fitting, offset))


def test_the_shortest_trace_holds_one_window():
    for settle, offset in ((1000.0, 50.0), (0.0, 50.0), (20.0, 50.0), (0.0, 0.0)):
        r = rule(settle=settle, offset=offset)
        best = np.array([max(settle, offset)])
        assert len(aligned_positions(best, r.shortest_trace_ms, r).begin_ms) == 1
        for start in (*best, *(best + 1), *(best - 1)):
            assert len(aligned_positions(np.array([start]), r.shortest_trace_ms - 1e-6, r).begin_ms) == 0
