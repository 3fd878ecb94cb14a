"""Level crossings and extremes on the continuous curve."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import brentq
from trace_shapes import dyadic_steps, s_inverse, smooth_steps, trace_of

from cardioemu.traces import downward_crossings, max_slope, maximum, minimum, upward_crossings


def halve(times, voltages, slopes):
    """The same curve with one more step in the middle of each."""
    h, middle = np.diff(times), (times[1:] + times[:-1]) / 2
    V = (voltages[1:] + voltages[:-1]) / 2 + h * (slopes[:-1] - slopes[1:]) / 8
    D = 1.5 * np.diff(voltages) / h - (slopes[1:] + slopes[:-1]) / 4
    order = np.argsort(np.concatenate([times, middle]))
    return tuple(np.concatenate([a, b])[order] for a, b in ((times, middle), (voltages, V), (slopes, D)))


def roots_by_eigenvalues(times, voltages, slopes, level):
    """All crossings of a level, and all turning values, by np.roots on each cubic from its Hermite basis."""
    crossings, turning = [], []
    basis = np.array([[2, -3, 0, 1], [1, -2, 1, 0], [-2, 3, 0, 0], [1, -1, 0, 0]], dtype=float)
    for k, h in enumerate(np.diff(times)):
        cubic = np.array([voltages[k], h * slopes[k], voltages[k + 1], h * slopes[k + 1]]) @ basis
        for polynomial, into in ((cubic - [0, 0, 0, level], crossings), (np.polyder(cubic), turning)):
            roots = np.roots(polynomial)
            real = roots[np.abs(roots.imag) < 1e-9].real
            real = real[(real >= 0) & (real < 1)]
            into.extend(times[k] + h * real if into is crossings else np.polyval(cubic, real))
    return np.sort(crossings), np.concatenate([turning, voltages])


@given(dyadic_steps(), st.integers(-95, 45))
def test_crossings_are_the_roots_and_alternate(steps, level):
    trace = trace_of(*steps)
    expected, turning = roots_by_eigenvalues(*steps, level)
    assume(np.abs(turning - level).min() > 1e-6)
    up, down = upward_crossings(trace, level), downward_crossings(trace, level)
    both = np.concatenate([up, down])
    order = np.argsort(both)
    np.testing.assert_allclose(both[order], expected, atol=1e-6)
    rising = np.repeat([True, False], [len(up), len(down)])[order]
    assert (rising[1:] != rising[:-1]).all()
    if len(rising):
        assert rising[0] == (trace.voltage_mV(0) < level)
    np.testing.assert_allclose(trace.voltage_mV(both), level, atol=1e-6)


@given(dyadic_steps(), st.integers(-95, 45))
def test_mirrored_curves_have_mirrored_crossings(steps, level):
    t, V, D = steps
    trace, inverted = trace_of(t, V, D), trace_of(t, -V, -D)
    reversed_trace = trace_of(t[-1] - t[::-1], V[::-1], -D[::-1])
    np.testing.assert_array_equal(upward_crossings(inverted, -level), downward_crossings(trace, level))
    forward, backward = downward_crossings(trace, level), upward_crossings(reversed_trace, level)
    np.testing.assert_allclose(t[-1] - backward[::-1], forward, atol=1e-5)


@given(dyadic_steps(), st.integers(-95, 45), st.integers(-50, 50))
def test_a_constant_added_to_curve_and_level_changes_no_crossing(steps, level, constant):
    t, V, D = steps
    raised = upward_crossings(trace_of(t, V + constant, D), level + constant)
    np.testing.assert_allclose(raised, upward_crossings(trace_of(t, V, D), level), atol=1e-6)


@given(dyadic_steps(), st.floats(0, 1), st.floats(0, 1))
def test_more_steps_on_the_same_curve_change_nothing(steps, one, other):
    trace, halved = trace_of(*steps), trace_of(*halve(*steps))
    a, b = sorted([one * trace.duration_ms, other * trace.duration_ms])
    np.testing.assert_allclose(halved.starts_ms, trace.starts_ms, atol=1e-6)
    assert halved.label == trace.label
    for find in (maximum, minimum, max_slope):
        assert find(halved, a, b).value == pytest.approx(find(trace, a, b).value, abs=1e-9)


@given(dyadic_steps(), st.integers(1, 5000))
def test_a_delay_before_the_trace_shifts_the_starts(steps, delay):
    t, V, D = steps
    later = trace_of([0, delay, *(t + delay)], [V[0], V[0], *V], [0, 0, *D])  # with a jump of dV/dt
    np.testing.assert_allclose(later.starts_ms, trace_of(t, V, D).starts_ms + delay, atol=1e-8)


@given(dyadic_steps(), st.floats(0, 1), st.floats(0, 1))
def test_extremes_bound_the_curve_and_are_taken(steps, one, other):
    trace = trace_of(*steps)
    a, b = sorted([one * trace.duration_ms, other * trace.duration_ms])
    t = np.linspace(a, b, 2001).clip(a, b)
    V = trace.voltage_mV(t)
    top, bottom = maximum(trace, a, b), minimum(trace, a, b)
    for extreme, gap in ((top, top.value - V.max()), (bottom, V.min() - bottom.value)):
        assert -1e-9 <= gap <= 0.5  # with |d2V/dt2| < 4 000 the curve rises by less between two samples
        assert a <= extreme.time_ms <= b
        assert trace.voltage_mV(extreme.time_ms) == pytest.approx(extreme.value, abs=1e-9)
    steep = max_slope(trace, a, b)
    assert a <= steep.time_ms <= b
    assert steep.value >= trace.dvdt_mV_per_ms(t[:-1] if b > a else t).max() - 1e-9
    if b > a:
        assert trace.dvdt_mV_per_ms(np.nextafter(steep.time_ms, a)) == pytest.approx(steep.value, abs=1e-6)


def test_crossings_hidden_in_one_step():
    trace = trace_of([0, 4], [-50, -50], [40, 40])  # up, down and up again between two equal ends
    cubic = np.polynomial.Polynomial([-50, 40, -30, 5])  # derived by hand
    assert trace.voltage_mV(1) == pytest.approx(cubic(1))
    exact = [brentq(lambda t: cubic(t) + 40, *bracket, xtol=1e-14) for bracket in ((0, 0.8), (0.8, 3.2))]
    assert upward_crossings(trace, -40) == pytest.approx(exact[:1], abs=1e-9)
    assert downward_crossings(trace, -40) == pytest.approx(exact[1:], abs=1e-9)
    # At -50 mV the curve begins and ends on the level, and crosses it once, half way.
    assert upward_crossings(trace, -50).size == 0
    assert downward_crossings(trace, -50) == pytest.approx([2], abs=1e-9)


@pytest.mark.parametrize(
    "trace",
    [
        trace_of([0, 1, 2], [-50, -40, -30], [10, 10, 10]),
        trace_of([0, 1, 1, 2], [-50, -40, -40, -10], [10, 10, 30, 30]),
        smooth_steps((0, -60), (1, -40), (2, -40), (3, -20)),  # a plateau
    ],
)
def test_a_step_at_the_level_is_one_crossing(trace):
    assert upward_crossings(trace, -40).tolist() == [1]
    assert downward_crossings(trace, -40).tolist() == []


@pytest.mark.parametrize(
    "trace",
    [
        smooth_steps((0, -60), (1, -40), (2, -60)),  # touched from below, at a step
        smooth_steps((0, -20), (1, -40), (2, -20)),  # touched from above
        smooth_steps((0, -60), (1, -40), (2, -40), (3, -60)),  # touched along a step
        smooth_steps((0, -40), (1, -60)),  # begins on the level
        smooth_steps((0, -60), (1, -40)),  # ends on the level
        smooth_steps((0, -40), (1, -40)),
        trace_of([0, 2], [-50, -50], [20, -20]),  # touched inside a step, by the parabola -40 - 10 (t - 1)^2
    ],
)
def test_touching_is_no_crossing(trace):
    assert upward_crossings(trace, -40).size == 0
    assert downward_crossings(trace, -40).size == 0


def test_very_steep_and_very_flat_crossings():
    steep = smooth_steps((0, -80), (1000, -80), (1000.001, 40), (2000, 40))
    assert upward_crossings(steep, -40)[0] == pytest.approx(1000 + s_inverse(1 / 3) * 1e-3, abs=1e-9)
    flat = trace_of([0, 1024], [-48, -32], [0, 0])
    assert upward_crossings(flat, -40)[0] == pytest.approx(512, abs=1e-9)
    triple = trace_of([0, 2], [-41, -39], [3, 3])  # -40 + (t - 1)^3: its slope is 0 at the root
    assert upward_crossings(triple, -40)[0] == pytest.approx(1, abs=1e-9)


def test_extremes_refuse_intervals_outside():
    trace = smooth_steps((0, -80), (10, 0), duration=100, status="failed")
    for find in (maximum, minimum, max_slope):
        for interval in ((-1, 5), (5, 11), (6, 5), (np.nan, 5)):
            with pytest.raises(ValueError, match=r"an interval must lie in \[0, 10\] ms, got"):
                find(trace, *interval)


def test_extremes_at_the_ends_do_not_leave_the_interval_by_rounding():
    rising = trace_of([0, 1 / 3, 5], [-80, -79, -20], [3, 3, 20])
    for a, b in np.sort(np.random.default_rng(2).uniform(0, 5, (500, 2))):
        assert minimum(rising, a, b).time_ms >= a
        assert maximum(rising, a, b).time_ms <= b


def test_max_slope_of_a_smooth_step_is_in_its_middle():
    trace = smooth_steps((0, -80), (10, -80), (14, 0), (20, 0))
    assert max_slope(trace, 0, 20) == pytest.approx((12, 1.5 * 80 / 4))
    assert max_slope(trace, 0, 11).time_ms == 11
    assert max_slope(trace, 13, 20).time_ms == 13
    assert maximum(trace, 0, 12) == pytest.approx((12, -40))
