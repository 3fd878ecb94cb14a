"""The registered target: against simulated windows, and against cycles laid end to end by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cardioemu.common.registration import EDGE_MS, NODE_COUNT, node_times_ms
from cardioemu.models.targets.registered_cycle import (
    MIN_COMPONENT_WEIGHT,
    WEIGHTS,
    CycleParameters,
    RegisteredCycle,
    concatenate_cycles,
)
from cardioemu.simulation import design, load_cell, simulate
from cardioemu.windowing.cycle import CycleRule, registered_cycle_vector

SETTLE_MS = 50.0
LANDMARKS_MS = torch.tensor([[90.0, 160.0, 400.0], [200.0, 300.0, 750.0]], dtype=torch.float64)
MARKS = slice(NODE_COUNT, NODE_COUNT + 3)


@pytest.fixture(scope="module")
def beating():
    """Cells that beat steadily, by their traces and registered rows."""
    traces = simulate(load_cell("akwaboah2021"), design("sobol", n=20), 4000.0, threads=1, transient_ms=20_000.0)
    traces = [trace for trace in traces if trace.label == "fires"]
    rows = [registered_cycle_vector(trace, CycleRule(SETTLE_MS)) for trace in traces]
    found = [(trace, row) for trace, row in zip(traces, rows, strict=True) if row is not None]
    assert len(found) > 10
    return [trace for trace, _ in found], torch.from_numpy(np.array([row for _, row in found]))


def target_of(rows, samples=1000, begin_ms=-50.0, interval_ms=0.5, components=30):
    target = RegisteredCycle(samples, begin_ms, interval_ms, components).to(rows.dtype)
    target.fit(rows.split(7))
    return target


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("begin_ms", "interval_ms", "samples"), [(-50, 0.05, 10_000), (-50, 0.5, 1000), (20, 1, 900)])
def test_numbers_of_a_row_make_the_simulated_window(beating, begin_ms, interval_ms, samples, dtype):
    traces, rows = beating[0], beating[1].to(dtype)
    target = target_of(rows, samples, float(begin_ms), float(interval_ms))
    windows, cl_ms = target(target.encode(rows)), target.cycle_length_ms(target.encode(rows))
    assert windows.shape == (len(rows), samples)
    for trace, window, cycle, row in zip(traces, windows, cl_ms, rows, strict=True):
        first, second = trace.starts_ms[trace.starts_ms >= SETTLE_MS][:2]
        simulated = trace.voltage_mV(first + begin_ms + interval_ms * np.arange(samples))
        rmse_mV = np.sqrt(np.mean((window.numpy() - simulated) ** 2))
        steady = row[MARKS.stop : -1].abs().max() < 5e-4
        assert rmse_mV < (0.03 if steady else 0.13)
        assert cycle.item() == pytest.approx(second - first, abs=1e-2)


def test_encoded_numbers_are_standard_and_weighted(beating):
    rows = beating[1].double()
    target = target_of(rows, components=6)
    numbers = target.encode(rows).numpy()
    assert numbers.shape == (len(rows), target.size) == (len(rows), 6 + 7)
    # Coefficients and landmarks: of mean 0 and spread 1; gains: a third where they are of the usual size.
    np.testing.assert_allclose(numbers[:, :6].std(0, ddof=1), 1, rtol=1e-4)
    np.testing.assert_allclose(numbers[:, 6:9].std(0), 1, rtol=1e-4)
    np.testing.assert_allclose(numbers[:, [*range(9), 12]].mean(0), 0, atol=1e-4)
    middle = np.sort(np.sinh(2 * np.abs(numbers[:, 9:12])), 0)[(len(rows) - 1) // 2]
    np.testing.assert_allclose(middle, 1 / 3, rtol=1e-4)
    other = torch.randn(2, *numbers.shape, dtype=torch.float64)
    spread = np.linalg.svd(rows[:, :NODE_COUNT] - rows[:, :NODE_COUNT].mean(0))[1][:6]
    marks = np.repeat([WEIGHTS["landmarks"], WEIGHTS["gains"], WEIGHTS["beats"]], [3, 3, 1])
    weight = np.concatenate([np.maximum(spread / spread[0], MIN_COMPONENT_WEIGHT), marks])
    expected = (((other.numpy() - numbers) * weight) ** 2).sum(-1)
    np.testing.assert_allclose(target.squared_error(other, rows), expected, rtol=1e-4)
    assert target.squared_error(target.encode(rows), rows).max() == 0


def cells(gains=0.0, landmarks_ms=LANDMARKS_MS, dtype=torch.float64):
    """Two cells with a V of their own at the nodes."""
    part = torch.linspace(0, 1, NODE_COUNT, dtype=torch.float64)
    nodes_mV = -60 + torch.stack([70 * torch.sin(3 * part), 90 * torch.sin(6 * part) * part])
    nodes_mV[:, -1] = nodes_mV[:, 0]
    return CycleParameters(*(x.to(dtype) for x in (nodes_mV, landmarks_ms.log(), torch.full_like(landmarks_ms, gains))))


@pytest.mark.parametrize(
    ("begin_ms", "end_ms", "first"), [(-50, 450, -1), (0, 900, 0), (-2000, 1500, -5), (30, 700, 0)]
)
@pytest.mark.parametrize("gain", [0.0, 0.02, -0.05])
def test_cycles_follow_each_other_by_hand(begin_ms, end_ms, first, gain):
    beating = cells(gain)
    times_ms, voltages_mV = concatenate_cycles(beating, float(begin_ms), float(end_ms))
    assert times_ms.shape == voltages_mV.shape
    assert (times_ms.diff() > 0).all()
    assert (times_ms[:, 0] <= begin_ms).all()
    assert (times_ms[:, -1] >= end_ms).all()
    starts_ms = times_ms[:, :: NODE_COUNT - 1].numpy()
    cycles = starts_ms.shape[1] - 1
    before = int((starts_ms[0] < -1e-9).sum())
    assert before >= -first
    for cell, landmarks_ms in enumerate(LANDMARKS_MS.numpy()):
        numbers = np.arange(-before, cycles - before)
        of_cycles = np.exp(np.log(landmarks_ms) + gain * numbers[:, None])
        starts = np.concatenate([[0], np.cumsum(of_cycles[:, -1])])
        np.testing.assert_allclose(starts_ms[cell], starts - starts[before], rtol=0, atol=1e-9)
        for number in range(cycles):
            of_cycle = slice(number * (NODE_COUNT - 1), (number + 1) * (NODE_COUNT - 1) + 1)
            expected = starts_ms[cell, number] + node_times_ms(of_cycles[number])
            np.testing.assert_allclose(times_ms[cell, of_cycle], expected, rtol=0, atol=1e-9)
            np.testing.assert_array_equal(voltages_mV[cell, of_cycle], beating.nodes_mV[cell])


@pytest.mark.parametrize("gain", [0.0, 0.1, -0.1])
@pytest.mark.parametrize(("more_ms", "cycles"), [(-1.0, 3 + 4), (1.0, 4 + 5)])
def test_as_many_cycles_as_are_needed(gain, more_ms, cycles):
    cl_ms = 400 * np.exp(gain * np.arange(-3, 4))
    beating = CycleParameters(*(x[:1] for x in cells(gain)))
    times_ms, _ = concatenate_cycles(beating, -cl_ms[:3].sum() - more_ms, cl_ms[3:].sum() + more_ms)
    assert times_ms.shape == (1, cycles * (NODE_COUNT - 1) + 1)


def test_long_windows_of_a_constant_cycle_repeat():
    rows = torch.cat([cells().nodes_mV, LANDMARKS_MS.log(), torch.zeros(2, 3), torch.full((2, 1), 7.5)], 1)
    target = target_of(rows, samples=10_000, begin_ms=-1000.0, interval_ms=1.0, components=2)
    windows = target(target.encode(rows))
    # Sums of some thousand ms carry roundings of 1e-12 ms.
    for window, cl in zip(windows, (400, 750), strict=True):
        torch.testing.assert_close(window[cl:], window[:-cl], rtol=0, atol=1e-6)
        assert (window[cl // 2 :] - window[: -cl // 2]).abs().max() > 10
    single = target.float()(target.encode(rows.float()))
    assert (single - windows).square().mean().sqrt() < 0.05


def test_landmarks_are_moved_from_the_time_of_the_row_to_the_ap_start():
    gains = torch.tensor([[0.03, 0.02, 0.01], [-0.01, 0.0, 0.04]], dtype=torch.float64)
    beats = torch.tensor([[7.25], [3.0]], dtype=torch.float64)
    rows = torch.cat([cells().nodes_mV, LANDMARKS_MS.log(), gains, beats], 1)
    target = target_of(rows, components=2)
    found = target.cycle_parameters(target.encode(rows))
    expected = LANDMARKS_MS.log() + torch.tensor([[0.75], [0.0]]) * gains
    torch.testing.assert_close(found.log_landmarks, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.gains, gains, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found.nodes_mV, cells().nodes_mV, rtol=0, atol=1e-4)
    torch.testing.assert_close(target.cycle_length_ms(target.encode(rows)), expected[:, 2].exp(), rtol=1e-6, atol=0)


def test_wild_gains_are_bounded():
    rows = torch.cat([cells().nodes_mV, LANDMARKS_MS.log(), torch.full((2, 3), 0.01), torch.ones(2, 1)], 1).double()
    target = target_of(rows, components=2)
    numbers = torch.tensor([[1e6], [-1e6], [0.0]], dtype=torch.float64).expand(3, target.size)
    # Three times the usual gain of 0.01, times the hyperbolic sine of twice 5.
    expected = 0.03 * np.sinh(10) * np.array([1, -1, 0])
    np.testing.assert_allclose(target.cycle_parameters(numbers).gains[:, 0], expected, rtol=1e-6)


@given(
    st.lists(st.floats(-2, 9), min_size=3, max_size=3),
    st.floats(-0.1, 0.1),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_landmarks_out_of_order_are_put_apart(logarithms, gain, dtype):
    beating = cells(gain, torch.tensor([logarithms, [4.0, 5.0, 6.0]], dtype=torch.float64).exp(), dtype)
    times_ms, voltages_mV = concatenate_cycles(beating, -50.0, 450.0)
    assert times_ms.isfinite().all()
    assert voltages_mV.isfinite().all()
    starts_ms = times_ms[0, :: NODE_COUNT - 1]
    cl_ms = starts_ms.diff()
    assert (cl_ms > 2 * EDGE_MS).all()
    # The knots of a cycle are in ascending order for any prediction of the network.
    knots_ms = times_ms[0, :-1].reshape(-1, NODE_COUNT - 1)[:, [0, 60, 150, 210, 290]] - starts_ms[:-1, None]
    assert (knots_ms.diff() > 0.1).all()


def test_nothing_is_nan_for_any_prediction(beating):
    target = target_of(beating[1])
    numbers = 3 * torch.randn(200, target.size, generator=torch.Generator().manual_seed(0))
    assert target(numbers).isfinite().all()
    assert target.cycle_length_ms(numbers).isfinite().all()
    assert target(numbers[:0]).shape == (0, 1000)


def test_window_is_differentiable(beating):
    rows = beating[1][:4].double()
    target = target_of(rows, samples=30, begin_ms=-7.0, interval_ms=1.3, components=3)
    numbers = target.encode(rows).requires_grad_()
    assert torch.autograd.gradcheck(target, numbers, eps=1e-7, atol=1e-3, rtol=1e-3)
