"""V and dV/dt of a trace between its steps, and invalid traces."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from trace_shapes import REFERENCE_TIME_MS, LogisticAPs, reference, smooth_steps, trace_of

from cardioemu.traces import Trace

FAILED = smooth_steps((0, -80), (10, -80), (12, 0), (20, -10), duration=100, status="step too small: 1e-9 ms")


def test_reproduces_a_cubic_exactly():
    cubic = np.polynomial.Polynomial([-70, 3, 5, -2])
    knots = np.array([0, 0.5, 1.25, 3, 4])  # dyadic, so that float32 holds the values
    trace = trace_of(knots, cubic(knots), cubic.deriv()(knots))
    t = np.linspace(0, 4, 1001)
    np.testing.assert_allclose(trace.voltage_mV(t), cubic(t), rtol=1e-13)
    np.testing.assert_allclose(trace.dvdt_mV_per_ms(t), cubic.deriv()(t), rtol=1e-12, atol=1e-12)


def test_error_falls_with_the_fourth_power_of_the_step():
    t = np.linspace(0, 8, 4001)

    def error(step):
        knots = np.arange(0, 8 + step / 2, step)
        return np.abs(trace_of(knots, np.sin(knots), np.cos(knots)).voltage_mV(t) - np.sin(t)).max()

    assert error(1.0) / error(0.5) == pytest.approx(16, rel=0.05)
    assert error(0.5) / error(0.25) == pytest.approx(16, rel=0.05)
    assert error(0.5) == pytest.approx(0.5**4 / 384, rel=0.05)


def test_slope_is_the_derivative_of_the_voltage():
    trace = LogisticAPs([100, 500]).trace()
    t = np.random.default_rng(0).uniform(1, 1499, 2000)
    difference = (trace.voltage_mV(t + 1e-5) - trace.voltage_mV(t - 1e-5)) / 2e-5
    np.testing.assert_allclose(trace.dvdt_mV_per_ms(t), difference, atol=1e-4)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (7,), (3, 4), (2, 1, 5)])
def test_any_shape_and_order_of_times(shape):
    trace = LogisticAPs([100]).trace()
    t = np.random.default_rng(1).uniform(0, 1500, shape)
    for read, exact in ((trace.voltage_mV, LogisticAPs([100]).V), (trace.dvdt_mV_per_ms, LogisticAPs([100]).dVdt)):
        values = read(t)
        assert isinstance(values, np.ndarray)
        assert values.shape == shape
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, exact(t), atol=2e-4)


def test_curve_passes_through_the_steps():
    trace = LogisticAPs([100]).trace()
    np.testing.assert_array_equal(trace.voltage_mV(trace.step_time_ms), trace.step_voltage_mV)
    np.testing.assert_array_equal(trace.dvdt_mV_per_ms(trace.step_time_ms), trace.step_dvdt_mV_per_ms)
    assert trace.voltage_mV([0, 1500]).tolist() == trace.step_voltage_mV[[0, -1]].tolist()


@pytest.mark.parametrize("wrong", [-1e-9, 100.5, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("trace", [FAILED, smooth_steps((0, -80), (100, -60))])
def test_times_outside_are_refused(trace, wrong):
    for read in (trace.voltage_mV, trace.dvdt_mV_per_ms):
        with pytest.raises(ValueError, match=rf"times must lie in \[0, 100\] ms, got {wrong:.12g}"):
            read([[50.0, wrong]])


def test_failed_trace_is_nan_after_its_last_step():
    t = [0, 11, 20, 20.001, 100]
    assert np.isnan(FAILED.voltage_mV(t)).tolist() == [False, False, False, True, True]
    assert np.isnan(FAILED.dvdt_mV_per_ms(t)).tolist() == [False, False, False, True, True]
    assert FAILED.voltage_mV(11) == pytest.approx(-40)
    assert FAILED.end_ms == 20
    assert FAILED.label is None
    assert FAILED.starts_ms == pytest.approx([11])


def test_trace_that_fails_at_time_0():
    trace = trace_of([0], [-70], [1], duration=100, status="derivative is not finite")
    assert trace.voltage_mV(0) == -70
    assert trace.dvdt_mV_per_ms(0) == 1
    assert np.isnan(trace.voltage_mV(1e-6))
    assert trace.starts_ms.shape == (0,)
    assert trace.label is None


def test_stimulus_edges_have_a_left_and_a_right_derivative():
    trace = trace_of([0, 10, 10, 12, 14], [-80, -70, -70, -30, -20], [1, 1, 20, 20, 0])
    assert trace.dvdt_mV_per_ms(10) == 20
    assert trace.dvdt_mV_per_ms(10 - 1e-9) == pytest.approx(1, abs=1e-6)
    assert trace.voltage_mV([9, 10, 11]) == pytest.approx([-71, -70, -50])
    # At both ends of a trace.
    trace = trace_of([0, 0, 10, 10], [-80, -80, -70, -70], [0, 1, 1, 5])
    assert trace.voltage_mV([0, 5, 10]) == pytest.approx([-80, -75, -70])
    assert trace.dvdt_mV_per_ms([0, 5, 10]) == pytest.approx([1, 1, 5])


@pytest.mark.parametrize(
    ("times", "voltages", "message"),
    [
        ([0, 10, 5], [-80, -80, -80], "step times must ascend from 0 to 5 ms"),
        ([1, 10], [-80, -80], "step times must ascend from 0 to 10 ms, got 1 to 10"),
        ([0, 10], [-80, np.nan], "finite voltages and slopes"),
        ([0, np.nan], [-80, -80], "step times must be finite"),
    ],
)
def test_invalid_steps(times, voltages, message):
    with pytest.raises(ValueError, match=message):
        trace_of(times, voltages, np.zeros(len(times)))


def test_duration_and_status_must_agree_with_the_steps():
    with pytest.raises(ValueError, match='status "ok" must reach 100 ms, got 0 to 20 ms'):
        smooth_steps((0, -80), (20, -80), duration=100)
    with pytest.raises(ValueError, match="must ascend from 0 to 10 ms, got 0 to 20"):
        smooth_steps((0, -80), (20, -80), duration=10, status="failed")
    with pytest.raises(ValueError, match="one step or more of time, value and slope are needed"):
        trace_of([], [], [], duration=10, status="failed")
    # But the last step may miss the duration by rounding.
    trace = smooth_steps((0, -80), (100 - 1e-10, -60), duration=100)
    assert trace.voltage_mV(100) == pytest.approx(-60)


def test_from_samples_counts_time_from_the_first_sample():
    shape = LogisticAPs([100], duration=300)
    t = np.arange(-50, 250.05, 0.1)
    trace = Trace.from_samples(t, shape.V(t + 50).astype(np.float32))
    assert trace.duration_ms == pytest.approx(300)
    assert trace.starts_ms == pytest.approx(shape.trace().starts_ms, abs=1e-5)
    np.testing.assert_allclose(trace.voltage_mV(t - t[0]), shape.V(t + 50), atol=1e-5)


def test_from_samples_is_the_cubic_spline():
    V = reference("program")["voltage_mV"][0]
    spline = CubicSpline(REFERENCE_TIME_MS, V, bc_type="not-a-knot")
    t = np.linspace(0, 5000, 77777)
    np.testing.assert_allclose(Trace.from_samples(REFERENCE_TIME_MS, V).voltage_mV(t), spline(t), atol=1e-5)


@pytest.mark.parametrize(
    ("times", "voltages", "message"),
    [
        ([0.0], [-80.0], "two or more times"),
        ([0.0, 1.0, 2.0], [-80.0, -80.0], "as many voltages"),
        ([[0.0, 1.0]], [[-80.0, -80.0]], "two or more times"),
        ([0.0, 1.0, 1.0], [-80.0, -80.0, -80.0], "strictly ascending"),
        ([0.0, 1.0, 2.0], [-80.0, np.nan, -80.0], "finite"),
    ],
)
def test_invalid_samples(times, voltages, message):
    with pytest.raises(ValueError, match=message):
        Trace.from_samples(times, voltages)
