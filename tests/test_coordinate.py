"""The network of scales and time: against its definition in NumPy, and its draws and chunks against all samples."""

from functools import partial
from importlib import import_module

import numpy as np
import pytest
import torch
from member_networks import assert_members_are_networks_of_their_own, batch, fitted, lowered, residual

from cardioemu.models import NETWORKS, Coordinate, Network
from cardioemu.training import KerasRMSprop
from cardioemu.training.memory.fake_run import measure_memory

module = import_module("cardioemu.models.networks.coordinate")
SMALL = {"samples": 37, "begin_ms": -5.0, "interval_ms": 0.5, "inputs": 3, "shortest_ms": 4.0, "points": 8}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def small(**changes):
    return fitted(Coordinate(**SMALL | {"width": 6, "blocks": 1} | changes))


def test_equals_the_definition():
    network, (scales, _) = small(), batch(5, 3, 37)
    found, mean_mV, std_mV = network(scales), network.target.mean_mV, network.target.std_mV
    for cell, row in enumerate(scales.numpy()):
        for sample in range(37):
            time_ms = -5 + 0.5 * sample
            # The window is 18.5 ms long and ends at 13.5: the periods go up to 32 ms, the first that is longer.
            waves = [f(2 * np.pi * time_ms / period) for f in (np.sin, np.cos) for period in (4, 8, 16, 32)]
            (number,) = residual(np.array([*(row - 1), time_ms / 13.5, *waves]), network.trunk)
            assert found[cell, sample].item() == pytest.approx((mean_mV[sample] + std_mV * number).item(), rel=1e-12)


@pytest.mark.parametrize("samples", [1, 2, 37, 1001])
@pytest.mark.parametrize("time", [{}, {"begin_ms": -50.0, "interval_ms": 0.05}])
def test_any_number_of_samples(samples, time):
    network = Coordinate(samples, inputs=2, width=4, members=2, **time)
    for cells in (0, 3):
        window = network(torch.rand(cells, 2))
        assert window.shape == (cells, samples)
        assert window.isfinite().all()
        network.loss(torch.rand(cells, 2), torch.randn(cells, samples)).backward()


def test_members_are_networks_of_their_own():
    assert_members_are_networks_of_their_own(small(members=2), [small(), small()], *batch(5, 3, 37))


@pytest.mark.parametrize("points", [1, 8, 36, 50])
def test_error_is_on_the_mean_that_of_all_samples(points, monkeypatch):
    network, (scales, windows) = small(points=points), batch(5, 3, 37)
    draws = []
    for first in range(37):  # every one there is
        monkeypatch.setattr(torch, "randint", lambda high, size, device, first=first: torch.full(size, first))
        draws.append(network.loss(scales, windows))
    expected = Network.loss(network, scales, windows)
    torch.testing.assert_close(torch.stack(draws).mean(), expected, rtol=1e-12, atol=0)
    assert torch.stack(draws).std() > 1e-3 * expected


def test_with_all_points_the_error_is_exact():
    network, (scales, windows) = small(points=37), batch(5, 3, 37)
    expected = Network.loss(network, scales, windows)
    torch.testing.assert_close(network.loss(scales, windows), expected, rtol=1e-12, atol=0)


def test_draws_are_even_anew_and_made_by_the_seed():
    network, (scales, windows) = small(), batch(2000, 3, 37)
    error, exact = network.loss(scales, windows), Network.loss(network, scales, windows)
    assert error.item() == pytest.approx(exact.item(), rel=0.02)
    assert network.loss(scales, windows) != error
    errors = []
    for _ in range(2):
        torch.manual_seed(3)
        errors.append(network.loss(scales, windows))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("at_once", [1, 100, 2**15])
def test_chunks_change_nothing(at_once, monkeypatch):
    network, (scales, windows) = small(members=2), batch(5, 3, 37)
    found = []
    for size in (at_once, 10**9):
        monkeypatch.setattr(module, "AT_ONCE", size)
        inputs = scales.clone().requires_grad_()
        network.zero_grad()
        (network(inputs) - windows).square().sum().backward()
        found.append((network(scales).detach(), inputs.grad, network.trunk.first.weight.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_gradients_are_those_of_finite_differences(monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 40)
    scales = batch(2, 3, 37)[0].requires_grad_()
    assert torch.autograd.gradcheck(small(members=2), scales)
    assert torch.autograd.gradgradcheck(small(samples=9), scales)


def test_it_learns():
    assert lowered(Coordinate(300, interval_ms=0.1, inputs=2, points=64, width=32)) > 20


@pytest.mark.parametrize("mixed", [False, True])
def test_a_rehearsal_grows_with_the_points_and_hardly_with_the_samples(mixed, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 256)

    def found(samples, points):
        make = partial(Coordinate, samples=samples, points=points, width=32, interval_ms=1000 / samples)
        return measure_memory(
            make, KerasRMSprop, inputs=5, output_samples=samples, batch_size=8, cells=1, windows=1, mixed=mixed
        )

    few = found(1000, 64)
    assert few.network == sum(value.nbytes for value in Coordinate(1000, width=32).state_dict().values())
    assert found(1000, 256).working > 3 * few.working
    assert found(2000, 64).working < 1.1 * few.working


def test_it_is_built_from_its_settings():
    settings = {"samples": 10_000, "begin_ms": -50.0, "interval_ms": 0.05, "inputs": 5, "shortest_ms": 4.0}
    with torch.device("meta"):
        network = NETWORKS["Coordinate"](**settings, points=128, width=128, blocks=3, members=2)
    assert all(tensor.is_meta for tensor in network.state_dict().values())
    assert network.trunk.first.weight.shape == (2, 5 + 1 + 2 * 8, 128)  # periods of 4, 8, ..., 512 ms
