"""What all networks of an ensemble and a representation have in common."""

from functools import partial
from importlib import import_module

import pytest
import torch
from member_networks import CASES, fitted, scales_of, training_vectors

from cardioemu.models import MLP, NETWORKS, Coordinate, Decoder
from cardioemu.training import KerasRMSprop
from cardioemu.training.memory.fake_run import measure_memory


@pytest.mark.parametrize("case", CASES)
def test_members_are_networks_of_their_own(case):
    together, alone = fitted(case, members=2), [fitted(case), fitted(case)]
    scales, vectors = scales_of(5), training_vectors(case, 5)
    buffers, fires = dict(together.named_buffers()), torch.tensor([1, 0, 0, 1, 1], dtype=torch.float64)
    for number, network in enumerate(alone):
        state = together.state_dict().items()
        network.load_state_dict({name: v if name in buffers else v.chunk(2)[number] for name, v in state})

    def loss(network):
        torch.manual_seed(1)
        return network.loss(scales, vectors)

    def firing_loss(network):
        return network.firing_loss(scales, fires)

    for ask in (loss, firing_loss, lambda n: n.firing_logit(scales), lambda n: n.latents(scales)):
        expected = torch.stack([ask(network) for network in alone]).mean(0)
        torch.testing.assert_close(ask(together), expected, rtol=1e-12, atol=1e-12)
    window = together.target(torch.stack([network.latents(scales) for network in alone]).mean(0))
    torch.testing.assert_close(together(scales), window, rtol=1e-10, atol=1e-10)
    if case != "registered":  # the other representations are linear
        window = torch.stack([network(scales) for network in alone]).mean(0)
        torch.testing.assert_close(together(scales), window, rtol=1e-10, atol=1e-10)
    for network in (together, *alone):
        (loss(network) + firing_loss(network)).backward()
    gradients = [{name: parameter.grad for name, parameter in network.named_parameters()} for network in alone]
    for name, parameter in together.named_parameters():
        expected = torch.cat([each[name] for each in gradients]) / 2
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-10, atol=1e-12)
        assert parameter.grad.abs().max() > 0


@pytest.mark.parametrize("case", CASES)
def test_outputs_together_are_those_one_by_one(case):
    network, scales = fitted(case, members=2).float(), torch.rand(3, 3)
    outputs = network.outputs(scales)
    torch.testing.assert_close(outputs.voltage_mV, network(scales))
    torch.testing.assert_close(outputs.firing_logit, network.firing_logit(scales))
    expected = network.cycle_length_ms(scales)
    assert outputs.cycle_length_ms is None if expected is None else torch.equal(outputs.cycle_length_ms, expected)
    assert (expected is None) == (case != "registered")
    assert network.trained_on == ("cycles" if case == "registered" else "windows")


@pytest.mark.parametrize("case", ["samples", "components", "decoder", "coordinate"])
def test_loss_is_the_squared_error_of_the_windows(case):
    network = fitted(case, **({"points": 37} if case == "coordinate" else {}))
    scales, windows = scales_of(5), training_vectors(case, 5)
    if case == "components":  # without the error of the representation
        basis = network.target.basis
        windows = network.target.mean_mV + (windows - network.target.mean_mV) @ basis.T @ basis
    expected = (network(scales) - windows).square().mean(1).sum()
    torch.testing.assert_close(network.loss(scales, windows), expected, rtol=1e-10, atol=0)


SHAPES = [
    *((partial(MLP, target=target), n) for target in ("samples", "components", "registered") for n in (1, 7, 1001)),
    *((partial(Decoder, layers=i, channels=k), n) for i in (1, 4) for k in (1, 5) for n in (1, 7, 256, 257)),
    *((partial(Coordinate, **t), n) for t in ({}, {"begin_ms": -50.0, "interval_ms": 0.05}) for n in (1, 2, 37, 1001)),
]


@pytest.mark.parametrize(("make", "samples"), SHAPES)
def test_any_number_of_samples(make, samples):
    network = make(samples, inputs=2, width=4, members=2)
    size = 328 if network.trained_on == "cycles" else samples
    for cells in (0, 3):
        window = network(torch.rand(cells, 2))
        assert window.shape == (cells, samples)
        assert window.isfinite().all()
        network.loss(torch.rand(cells, 2), torch.randn(cells, size)).backward()


@pytest.mark.parametrize("case", ["samples", "components", "decoder", "coordinate"])
def test_gradients_are_those_of_finite_differences(case, monkeypatch):
    monkeypatch.setattr(import_module("cardioemu.models.networks.coordinate"), "POINTS_AT_ONCE", 40)
    assert torch.autograd.gradcheck(fitted(case, members=2), scales_of(2).requires_grad_())


@pytest.mark.parametrize(
    ("make", "factor"),
    [(MLP, 100), (partial(Decoder, channels=16), 5), (partial(Coordinate, interval_ms=0.1, points=64), 20)],
)
def test_it_learns(make, factor):
    network, scales = make(300, inputs=2, width=32), 2 * torch.rand(24, 2)
    windows = 40 * torch.sin(torch.linspace(0, 6, 300)) * scales[:, :1] + 20 * scales[:, 1:] - 50
    network.fit_target([windows])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    before = (network(scales) - windows).square().mean().item()
    for _ in range(60):
        optimizer.zero_grad()
        network.loss(scales, windows).backward()
        optimizer.step()
    assert before > factor * (network(scales) - windows).square().mean().item()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("mixed", [False, True])
def test_memory_is_measured(case, mixed):
    make = partial(CASES[case][0], **CASES[case][1] | {"members": 2})
    sizes = {"inputs": 3, "output_samples": 37, "batch_size": 4, "cells": 3, "windows": 2}
    found, network = measure_memory(make, KerasRMSprop, mixed=mixed, **sizes), make()
    assert found.network == sum(value.nbytes for value in network.state_dict().values())
    assert found.gradients == found.optimizer == sum(parameter.nbytes for parameter in network.parameters())


@pytest.mark.parametrize("case", CASES)
def test_it_is_built_from_its_settings_without_memory(case):
    make, settings = CASES[case]
    with torch.device("meta"):
        network = NETWORKS[make.__name__](**settings)
    assert all(tensor.is_meta for tensor in network.state_dict().values())
    assert make.size_argument in settings
