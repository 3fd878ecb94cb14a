"""The network of scales and time: against its definition in NumPy, and its draws and chunks against all samples."""

from functools import partial
from importlib import import_module

import numpy as np
import pytest
import torch
from member_networks import fitted, residual, scales_of, training_vectors

from cardioemu.models import Coordinate, Network
from cardioemu.training import KerasRMSprop
from cardioemu.training.memory.fake_run import measure_memory

module = import_module("cardioemu.models.networks.coordinate")
small = partial(fitted, "coordinate")


def batch(cells):
    return scales_of(cells), training_vectors("coordinate", cells)


def test_equals_the_definition():
    network, scales = small(), scales_of(5)
    found, mean_mV, std_mV = network(scales), network.target.mean_mV, network.target.std_mV
    for cell, row in enumerate(scales.numpy()):
        for sample in range(37):
            time_ms = -5 + 0.5 * sample
            # The window is 18.5 ms long and ends at 13.5: the periods go up to 32 ms, the first that is longer.
            waves = [f(2 * np.pi * time_ms / period) for f in (np.sin, np.cos) for period in (4, 8, 16, 32)]
            (latent,) = residual(np.array([*(row - 1), time_ms / 13.5, *waves]), network.trunk)
            assert found[cell, sample].item() == pytest.approx((mean_mV[sample] + std_mV * latent).item(), rel=1e-12)


@pytest.mark.parametrize("points", [1, 8, 36, 50])
def test_the_mean_loss_over_all_draws_is_that_of_all_samples(points, monkeypatch):
    network, (scales, windows) = small(points=points), batch(5)
    draws = []
    for first in range(37):  # all possible draws
        monkeypatch.setattr(torch, "randint", lambda high, size, device, first=first: torch.full(size, first))
        draws.append(network.loss(scales, windows))
    expected = Network.loss(network, scales, windows)
    torch.testing.assert_close(torch.stack(draws).mean(), expected, rtol=1e-12, atol=0)
    assert torch.stack(draws).std() > 1e-3 * expected


def test_draws_are_even_anew_and_made_by_the_seed():
    network, (scales, windows) = small(), batch(2000)
    loss, exact = network.loss(scales, windows), Network.loss(network, scales, windows)
    assert loss.item() == pytest.approx(exact.item(), rel=0.02)
    assert network.loss(scales, windows) != loss
    losses = []
    for _ in range(2):
        torch.manual_seed(3)
        losses.append(network.loss(scales, windows))
    assert losses[0] == losses[1]


@pytest.mark.parametrize("at_once", [1, 100, 2**15])
def test_chunks_change_nothing(at_once, monkeypatch):
    network, (scales, windows) = small(members=2), batch(5)
    found = []
    for size in (at_once, 10**9):
        monkeypatch.setattr(module, "POINTS_AT_ONCE", size)
        inputs = scales.clone().requires_grad_()
        network.zero_grad()
        (network(inputs) - windows).square().sum().backward()
        found.append((network(scales).detach(), inputs.grad, network.trunk.first.weight.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_second_derivatives_are_those_of_finite_differences(monkeypatch):
    monkeypatch.setattr(module, "POINTS_AT_ONCE", 4)
    network = Coordinate(9, inputs=3, width=6, blocks=1).double()
    assert torch.autograd.gradgradcheck(network, scales_of(2).requires_grad_())


@pytest.mark.parametrize("mixed", [False, True])
def test_memory_grows_with_the_points_and_hardly_with_the_samples(mixed, monkeypatch):
    monkeypatch.setattr(module, "POINTS_AT_ONCE", 256)

    def working(samples, points):
        make = partial(Coordinate, samples=samples, points=points, width=32, interval_ms=1000 / samples)
        sizes = {"inputs": 5, "output_samples": samples, "batch_size": 8, "cells": 1, "windows": 1}
        return measure_memory(make, KerasRMSprop, mixed=mixed, **sizes).working

    few = working(1000, 64)
    assert working(1000, 256) > 3 * few
    assert working(2000, 64) < 1.1 * few


def test_periods_by_hand():
    with torch.device("meta"):
        network = Coordinate(10_000, begin_ms=-50.0, interval_ms=0.05, shortest_ms=4.0, members=2)
    assert network.trunk.first.weight.shape == (2, 5 + 1 + 2 * 8, 128)  # periods of 4, 8, ..., 512 ms
