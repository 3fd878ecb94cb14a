"""Windows extracted from traces: against V in closed form, and against the traces themselves."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_job import RULE
from trace_shapes import LogisticAPs, smooth_steps, trace_of

from cardioemu.windowing import WINDOWED, ExtractedWindows, WindowRule, extract_windows

# The interpolation and rounding errors of LogisticAPs, with the slope of 25 mV/ms times 1e-6 ms.
CLOSE_mV = 2e-4
SHAPE = LogisticAPs([200, 700.3, 1200.123])
RISES = SHAPE.starts_ms


def rule(**changes):
    return WindowRule(**{"length_ms": 300.5, "interval_ms": 0.5, "count": 2, "settle_ms": 300.0} | changes)


def windows_of(window_rule, shape=SHAPE):
    extracted = extract_windows(shape.trace(), window_rule)
    assert extracted.outcome == WINDOWED
    assert extracted.windows.dtype == np.float32
    return extracted.windows


def test_interpolated_windows_are_v_in_closed_form():
    time_ms = np.arange(601) * 0.5 - 50
    expected = SHAPE.V(np.add.outer(RISES[1:], time_ms))
    np.testing.assert_allclose(windows_of(rule()), expected, atol=CLOSE_mV)


def test_windows_aligned_to_the_upstroke():
    extracted = extract_windows(SHAPE.trace(), rule(start="upstroke"))
    assert extracted.positions.begin_ms + 50 == pytest.approx(SHAPE.upstrokes_ms[1:], abs=1e-3)
    expected = SHAPE.V(np.add.outer(extracted.positions.begin_ms, np.arange(601) * 0.5))
    np.testing.assert_allclose(extracted.windows, expected, atol=CLOSE_mV)


def test_windows_aligned_to_a_sample_have_the_start_just_before_time_0():
    window_rule = rule(align="sample")
    zero = int(window_rule.offset_ms / window_rule.interval_ms)
    for window, start in zip(windows_of(window_rule), RISES[1:], strict=True):
        first = np.ceil(start / 0.5) * 0.5  # the first sample above -40 mV of a trace stored every 0.5 ms
        np.testing.assert_allclose(window, SHAPE.V(first + window_rule.time_ms), atol=CLOSE_mV)
        assert window[zero] >= -40 > window[zero - 1]


def test_windows_without_alignment_follow_each_other():
    windows = windows_of(rule(align="none", length_ms=400.0, choose="first"))
    np.testing.assert_allclose(windows.ravel(), SHAPE.V(300 + 0.5 * np.arange(1600)), atol=CLOSE_mV)


def test_a_window_of_one_cycle_ends_where_the_next_begins():
    cycles = rule(length_ms="cycle", interval_ms=None, samples=700, offset_ms=20.0, settle_ms=0.0)
    extracted = extract_windows(SHAPE.trace(), cycles)
    np.testing.assert_allclose(extracted.positions.length_ms, np.diff(RISES), atol=1e-6)
    for window, begin, length in zip(extracted.windows, np.subtract(RISES, 20), np.diff(RISES), strict=False):
        np.testing.assert_allclose(window, SHAPE.V(begin + length / 700 * np.arange(700)), atol=CLOSE_mV)


def test_overlapping_windows_hold_the_same_v_where_they_overlap():
    # AP starts 500 ms apart, in windows of 600 ms from 50 ms before each: 100 ms are in both.
    shape = LogisticAPs([200, 700, 1200], duration=1900.0)
    three = rule(length_ms=600.0, samples=6000, interval_ms=None, count=3, settle_ms=0.0)
    extracted = extract_windows(shape.trace(), three)
    np.testing.assert_allclose(np.diff(extracted.positions.begin_ms), 500, atol=1e-6)
    for first, second in zip(extracted.windows, extracted.windows[1:], strict=False):
        np.testing.assert_allclose(first[5000:], second[:1000], atol=CLOSE_mV)


def test_fourier_resampling_and_trimming():
    plain = rule(length_ms=600.0, samples=1200, interval_ms=None, count=1, settle_ms=0.0)
    resampled = replace(plain, resample_to=500, trim=5)
    (whole,), (window,) = windows_of(plain), windows_of(resampled)
    spectrum = np.fft.rfft(whole.astype(float))[:251]
    spectrum[250] = 2 * spectrum[250].real  # both signs of the highest remaining frequency
    expected = np.fft.irfft(spectrum, 500) * 500 / 1200
    np.testing.assert_allclose(window, expected[5:-5], atol=1e-4)
    assert resampled.time_ms.shape == window.shape == (490,)
    # Away from the jump between the ends of the Fourier period, the new samples are on the old curve.
    middle = slice(60, -60)
    np.testing.assert_allclose(window[middle], SHAPE.V(RISES[0] + resampled.time_ms)[middle], atol=0.5)


def test_a_window_may_reach_both_ends():
    shape = LogisticAPs([60.0], duration=360.0)
    reach = WindowRule(samples=11, interval_ms=36.0, count=1, offset_ms=shape.trace().starts_ms[0], settle_ms=0.0)
    (window,) = windows_of(reach, shape)
    np.testing.assert_allclose(window, shape.V(np.linspace(0, 360, 11)), atol=CLOSE_mV)


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
    assert extract_windows(trace, rule(settle_ms=0.0)) == ExtractedWindows(outcome)


def test_real_windows_are_aligned(windows):
    voltage_mV = windows.windows(np.flatnonzero(windows.windowed))
    zero = int(RULE.offset_ms / RULE.interval_ms)
    assert RULE.time_ms[zero] == 0
    # The AP start is solved to 1e-9 ms on the same curve; the rest is the rounding error of float32 at 40 mV.
    np.testing.assert_allclose(voltage_mV[:, :, zero], -40, atol=4e-6)
    assert (voltage_mV[:, :, zero + 1] > -40).all()


def test_every_cell_is_counted(traces, windows):
    cells = windows.cells.set_index("cell")
    assert sorted(cells.index) == list(range(24))
    assert sum(windows.count_outcomes().values()) == 24
    expected = {}
    for shard in traces.shards:
        for number, trace in traces.traces(shard):
            fitting = [s for s in trace.starts_ms if s >= 500 and s - 50 + 199 * 2.5 <= 2500]
            firing = "windowed" if len(fitting) >= 3 else "too few windows"
            expected[number] = firing if trace.label == "fires" else trace.label
    assert cells["outcome"].to_dict() == expected
    assert len(set(expected.values())) >= 3  # the design has all kinds but a failure
