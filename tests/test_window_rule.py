"""What a window rule means, and where its windows lie: tables counted by hand."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trace_shapes import LogisticAPs

from cardioemu.windowing import WindowRule, aligned_positions, consecutive_positions, find_positions, select_positions

STARTS = np.array([100.0, 600.0, 1100.0, 1600.0, 2100.0])


def rule(length=301, interval=1.0, offset=50.0, settle=500.0, **more):
    return WindowRule(length_ms=length, interval_ms=interval, offset_ms=offset, settle_ms=settle, **more)


@pytest.mark.parametrize(
    "given",
    [
        {"length_ms": 500.0, "samples": 10000},
        {"length_ms": 500.0, "interval_ms": 0.05},
        {"samples": 10000, "interval_ms": 0.05},
        {"length_ms": 500.0, "samples": 10000, "interval_ms": 0.05},
    ],
)
def test_two_of_three_say_the_third(given):
    found = WindowRule(**given)
    assert (found.length_ms, found.samples, found.interval_ms) == (500.0, 10000, 0.05)
    assert found.time_ms.shape == (10000,)
    assert found.time_ms[[0, 1000, -1]] == pytest.approx([-50, 0, 449.95], abs=1e-10)
    assert found.shortest_trace_ms == pytest.approx(1000 + 449.95)


def test_points_of_a_window_that_is_resampled_and_trimmed():
    followup = WindowRule(length_ms=600.0, samples=12000, resample_to=5000, trim=50)
    assert followup.output_samples == len(followup.time_ms) == 4900
    assert followup.time_ms[[0, -1]] == pytest.approx([-50 + 50 * 0.12, -50 + 4949 * 0.12])
    assert rule(trim=100).time_ms[[0, -1]].tolist() == [50, 150]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "windowing: give two of length_ms, samples and interval_ms"),
        ({"samples": 10}, "windowing: give two of length_ms, samples and interval_ms"),
        (
            {"length_ms": 500.0, "samples": 100, "interval_ms": 4.0},
            r"windowing: length_ms 500 is not samples x interval_ms = 100 x 4; change one of them, or set it to null",
        ),
        ({"length_ms": 500.0, "interval_ms": 3.0}, r"length_ms 500 is not samples x interval_ms = 167 x 3"),
        ({"length_ms": 1.0, "interval_ms": 1.0}, r"windowing.interval_ms: got 1, but a window needs two points"),
        ({"length_ms": "cycle"}, r"windowing: with length_ms=cycle give samples"),
        ({"length_ms": "cycle", "samples": 10, "interval_ms": 1.0}, r"windowing: with length_ms=cycle give samples"),
        ({"length_ms": "cycle", "samples": 10, "align": "sample"}, r"windowing.align: got sample"),
        ({"length_ms": 5.0, "samples": 10, "trim": 5}, r"windowing.trim: got 5, which leaves 0 of 10 points"),
        ({"length_ms": 5.0, "samples": 10, "resample_to": 7, "trim": 3}, r"windowing.trim: got 3, which leaves 1 of 7"),
    ],
)
def test_settings_that_contradict_each_other(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        WindowRule(**given)


@pytest.mark.parametrize(
    ("changes", "duration", "chosen"),
    [
        ({}, 2350.0, [600, 1100, 1600, 2100]),  # the last window ends exactly at the end
        ({}, 2349.999, [600, 1100, 1600]),
        ({"settle": 600.0}, 2500.0, [600, 1100, 1600, 2100]),  # a start exactly at the end of settling
        ({"settle": 600.001}, 2500.0, [1100, 1600, 2100]),
        ({"settle": 0.0}, 2500.0, [100, 600, 1100, 1600, 2100]),
        ({"settle": 0.0, "offset": 0.0}, 2400.0, [100, 600, 1100, 1600, 2100]),
        ({"settle": 0.0, "offset": 100.0}, 2500.0, [100, 600, 1100, 1600, 2100]),  # a window from time 0 on
        ({"settle": 0.0, "offset": 100.1}, 2500.0, [600, 1100, 1600, 2100]),  # one that would begin before it
        ({"offset": 400.0}, 2500.0, [600, 1100, 1600, 2100]),  # windows that end before their AP start
        ({"length": 1001}, 2500.0, [600, 1100]),  # windows that overlap: each begins 500 ms after the last
        ({"length": 2502}, 2500.0, []),
        ({"settle": 2200.0}, 2500.0, []),
        # The next sample of a trace kept every 70 ms: 140 630 1120 1610 2100, the last of which is a start itself.
        ({"length": 350, "interval": 70.0, "align": "sample", "settle": 0.0}, 2500.0, [140, 630, 1120, 1610, 2100]),
        ({"length": 350, "interval": 70.0, "align": "sample", "settle": 620.0}, 2500.0, [630, 1120, 1610, 2100]),
        ({"length": 350, "interval": 70.0, "align": "sample"}, 2329.0, [630, 1120, 1610]),
    ],
)
def test_what_fits_about_ap_starts(changes, duration, chosen):
    window_rule = rule(**changes)
    found = aligned_positions(STARTS, duration, window_rule)
    assert (found.begin_ms + window_rule.offset_ms).tolist() == chosen
    assert found.length_ms.tolist() == [window_rule.length_ms] * len(chosen)
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
    found = aligned_positions(np.array(starts, dtype=float), 1700.0, cycle)
    assert list(zip(found.begin_ms, found.length_ms, strict=True)) == expected
    assert cycle.one_cycle
    with pytest.raises(ValueError, match="no times in common"):
        _ = cycle.time_ms


@pytest.mark.parametrize(
    ("length", "settle", "duration", "begin"),
    [
        (400, 500.0, 2099.0, [500, 900, 1300, 1700]),  # the last point of the fourth is at 2099
        (400, 500.0, 2098.9, [500, 900, 1300]),
        (400, 0.0, 399.0, [0]),
        (400, 0.0, 398.0, []),
        (400, 900.0, 500.0, []),
    ],
)
def test_windows_one_after_another(length, settle, duration, begin):
    window_rule = rule(length=length, settle=settle, align="none")
    assert consecutive_positions(duration, window_rule).begin_ms.tolist() == begin
    assert bool(begin) == (duration >= window_rule.shortest_trace_ms)


@pytest.mark.parametrize(
    ("how", "count", "chosen"),
    [
        ("spread", 1, [0]),
        ("spread", 2, [0, 3]),
        ("spread", 3, [0, 1, 3]),
        ("spread", 9, [0, 1, 2, 3]),
        ("first", 2, [0, 1]),
        ("first", 9, [0, 1, 2, 3]),
        ("last", 1, [3]),
        ("last", 3, [1, 2, 3]),
        ("last", 9, [0, 1, 2, 3]),
    ],
)
def test_which_of_four_are_chosen(how, count, chosen):
    assert select_positions(4, rule(count=count, choose=how)).tolist() == chosen
    assert select_positions(0, rule(count=count, choose=how)).tolist() == []


def test_spread_is_exact_whatever_the_numbers():
    for fit in range(1, 61):
        for count in range(2, fit + 1):
            # Even places from first to last, each rounded to a whole one, half down.
            even = [Fraction(i * (fit - 1), count - 1) for i in range(count)]
            whole = [int(place) + (place % 1 > Fraction(1, 2)) for place in even]
            assert select_positions(fit, rule(count=count)).tolist() == whole, (fit, count)


def test_random_choice_hangs_on_seed_and_cell():
    first, again, other = (rule(count=3, choose="random", seed=seed) for seed in (0, 0, 1))
    draws = [select_positions(10, first, cell).tolist() for cell in range(2000)]
    assert draws == [select_positions(10, again, cell).tolist() for cell in range(2000)]
    assert draws != [select_positions(10, other, cell).tolist() for cell in range(2000)]
    assert all(sorted(set(draw)) == draw and len(draw) == 3 for draw in draws)
    # Each of ten in 3 of 10 draws: 600 of 2000, with a standard deviation of 20.
    assert np.bincount(np.concatenate(draws), minlength=10) == pytest.approx(600, abs=100)
    assert select_positions(2, first, 5).tolist() == [0, 1]


def test_places_are_those_chosen_of_those_that_fit():
    trace = LogisticAPs([200, 700.3, 1200.123], duration=1900.0).trace()
    for more in ({}, {"start": "upstroke"}, {"align": "none"}, {"align": "sample"}):
        window_rule = rule(count=2, choose="last", settle=0.0, **more)
        of = trace.upstrokes_ms if "start" in more else trace.starts_ms
        fit = (
            consecutive_positions(1900.0, window_rule)
            if more.get("align") == "none"
            else aligned_positions(of, 1900.0, window_rule)
        )
        found = find_positions(trace, window_rule)
        assert found.begin_ms.tolist() == fit.begin_ms[-2:].tolist()
        assert found.length_ms.tolist() == [301, 301]


@given(
    st.lists(st.floats(0, 5000), max_size=20, unique=True).map(sorted),
    st.floats(0, 2000),
    st.floats(0, 100),
)
def test_windows_that_fit_lie_in_the_trace(starts, settle, offset):
    found = aligned_positions(np.array(starts, dtype=float), 5000.0, rule(offset=offset, settle=settle))
    fit = [s for s in starts if s >= settle and s - offset >= 0 and s - offset + 300 <= 5000]
    assert found.begin_ms == pytest.approx(np.subtract(fit, offset))


def test_the_shortest_trace_holds_one_window_and_no_shorter_one_does():
    for settle, offset in ((1000.0, 50.0), (0.0, 50.0), (20.0, 50.0), (0.0, 0.0)):
        r = rule(settle=settle, offset=offset)
        best = np.array([max(settle, offset)])
        assert len(aligned_positions(best, r.shortest_trace_ms, r).begin_ms) == 1
        for start in (*best, *(best + 1), *(best - 1)):
            assert len(aligned_positions(np.array([start]), r.shortest_trace_ms - 1e-6, r).begin_ms) == 0
