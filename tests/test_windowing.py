"""Which AP starts become windows, and what is cut there, against hand counts and V in closed form."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from tiny_job import RULE
from trace_shapes import LogisticAPs, smooth_steps, trace_of

from cardioemu.windowing import WINDOWED, WindowRule, choose_starts, cut

STARTS = np.array([100.0, 600.0, 1100.0, 1600.0, 2100.0])


def rule(count, length=300, offset=50.0, settle=500.0, interval=1.0):
    return WindowRule(
        samples=int(length / interval) + 1, interval_ms=interval, count=count, offset_ms=offset, settle_ms=settle
    )


@pytest.mark.parametrize(
    ("count", "chosen"),
    [(1, [600]), (2, [600, 2100]), (3, [600, 1100, 2100]), (4, [600, 1100, 1600, 2100]), (9, [600, 1100, 1600, 2100])],
)
def test_the_table_of_the_docstring(count, chosen):
    assert choose_starts(STARTS, 2500.0, rule(count)).tolist() == chosen


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
        ({"length": 2501}, 2500.0, []),
        ({"settle": 2200.0}, 2500.0, []),
    ],
)
def test_what_fits(changes, duration, chosen):
    assert choose_starts(STARTS, duration, rule(9, **changes)).tolist() == chosen


def test_no_start_gives_no_window():
    assert choose_starts(np.array([]), 2500.0, rule(3)).tolist() == []


def test_spread_is_exact_whatever_the_numbers():
    for fits in range(1, 61):
        starts = 1000.0 + 500 * np.arange(fits)
        for count in range(2, fits + 1):
            chosen = choose_starts(starts, starts[-1] + 250.0, rule(count))
            # Even places from first to last, each rounded to a whole one, half down.
            places = [Fraction(i * (fits - 1), count - 1) for i in range(count)]
            whole = [int(place) + (place % 1 > Fraction(1, 2)) for place in places]
            assert chosen.tolist() == starts[whole].tolist(), (fits, count)


@given(
    st.lists(st.floats(0, 5000), max_size=20, unique=True).map(sorted),
    st.integers(1, 8),
    st.floats(0, 2000),
    st.floats(0, 100),
)
def test_chosen_windows_lie_in_the_trace(starts, count, settle, offset):
    chosen = choose_starts(np.array(starts, dtype=float), 5000.0, rule(count, offset=offset, settle=settle))
    fit = [s for s in starts if s >= settle and s - offset >= 0 and s - offset + 300 <= 5000]
    assert len(chosen) == min(count, len(fit))
    assert set(chosen) <= set(fit)
    assert (np.diff(chosen) > 0).all()
    if fit:
        assert chosen[0] == fit[0]
        assert count == 1 or chosen[-1] == fit[-1]


def test_times_of_a_window():
    seed = WindowRule(samples=10000, interval_ms=0.05, count=3)
    assert seed.time_ms.shape == (10000,)
    assert seed.time_ms[[0, 1000]] == pytest.approx([-50, 0], abs=1e-12)
    assert seed.length_ms == pytest.approx(499.95)
    assert seed.shortest_trace_ms == pytest.approx(1000 + 449.95)
    assert rule(1, settle=0.0, offset=100.0).shortest_trace_ms == 300


def test_the_shortest_trace_holds_one_window_and_no_shorter_one_does():
    for settle, offset in ((1000.0, 50.0), (0.0, 50.0), (20.0, 50.0), (0.0, 0.0)):
        r = rule(1, settle=settle, offset=offset)
        best = np.array([max(settle, offset)])
        assert len(choose_starts(best, r.shortest_trace_ms, r)) == 1
        for start in (*best, *(best + 1), *(best - 1)):
            assert len(choose_starts(np.array([start]), r.shortest_trace_ms - 1e-6, r)) == 0


def test_cut_is_v_in_closed_form():
    shape = LogisticAPs([200, 700.3, 1200.123])
    windows, outcome = cut(shape.trace(), rule(2, settle=300.0, interval=0.5))
    starts = [brentq(lambda t: float(shape.V(t)) + 40, up - 10, up + 10, xtol=1e-12) for up in (700.3, 1200.123)]
    time_ms = np.arange(601) * 0.5 - 50
    assert outcome == WINDOWED
    assert windows.dtype == np.float32
    # 2e-4 mV: the interpolation and rounding errors of LogisticAPs, with the slope of 25 mV/ms times 1e-6 ms.
    np.testing.assert_allclose(windows, shape.V(np.add.outer(starts, time_ms)), atol=2e-4)


def test_a_window_may_reach_both_ends():
    shape = LogisticAPs([60.0], duration=360.0)
    trace = shape.trace()
    start = trace.starts_ms[0]
    reach = WindowRule(samples=11, interval_ms=trace.duration_ms / 10, count=1, offset_ms=start, settle_ms=0.0)
    windows, _ = cut(trace, reach)
    np.testing.assert_allclose(windows[0], shape.V(np.linspace(0, 360, 11)), atol=2e-4)


AP = [(100, -80), (102, 0), (200, 0), (220, -80)]


@pytest.mark.parametrize(
    ("trace", "outcome"),
    [
        (smooth_steps((0, -80), *AP, (230, -80), duration=1000, status="step too small"), "failed"),
        (smooth_steps((0, -80), *AP, (5000, -80)), "stops"),
        (smooth_steps((0, -80), (5000, -75)), "quiescent"),
        (smooth_steps((0, -80), *AP, (500, -80)), "too few windows"),
        (trace_of([0], [-80], [0], duration=500, status="failed at once"), "failed"),
    ],
)
def test_reasons_for_no_windows(trace, outcome):
    assert cut(trace, rule(2, settle=0.0)) == (None, outcome)


def test_real_windows_are_aligned(windows):
    rows = np.flatnonzero(windows.windowed)
    found = windows.windows(rows)
    zero = int(RULE.offset_ms / RULE.interval_ms)
    assert RULE.time_ms[zero] == 0
    # The AP start is solved to 1e-9 ms on the same curve; what is left is float32 of 40 mV.
    np.testing.assert_allclose(found[:, :, zero], -40, atol=4e-6)
    assert (found[:, :, zero + 1] > -40).all()


def test_every_cell_is_counted(traces, windows):
    cells = windows.cells.set_index("cell")
    assert sorted(cells.index) == list(range(24))
    assert sum(windows.outcomes().values()) == 24
    expected = {}
    for shard in traces.shards:
        for number, trace in traces.traces(shard):
            fitting = [s for s in trace.starts_ms if s >= 500 and s - 50 + 199 * 2.5 <= 2500]
            expected[number] = (
                trace.label if trace.label != "fires" else "windowed" if len(fitting) >= 3 else "too few windows"
            )
    assert cells["outcome"].to_dict() == expected
    assert len(set(expected.values())) >= 3  # the design has all kinds but a failure
