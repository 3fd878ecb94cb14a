"""The Gaussian process, against scikit-learn's and finite differences."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from cardioemu.common.registration import NODE_COUNT
from cardioemu.models import GaussianProcess
from cardioemu.models.layers.matern import JITTER, PACE
from cardioemu.training import KerasRMSprop
from cardioemu.training.memory.fake_run import measure_memory

torch.set_num_threads(1)
TARGETS = ("samples", "components", "registered")
LENGTHS, AMPLITUDE, NOISE = [0.7, 1.1, 2.5], 1.3, 0.05
OBSERVED = NOISE**2 + JITTER * AMPLITUDE**2  # variance of an observation about the function
SIZES = {"samples": 60, "begin_ms": -5.0, "interval_ms": 10.0, "inputs": 3, "components": 4}


def rows_of(scales, target):
    """Rows that are smooth functions of the scales: windows, or registered cycles."""
    a, b, c = scales.unbind(1)
    shape = torch.linspace(0, 3, NODE_COUNT if target == "registered" else SIZES["samples"])
    rows = -70 + 100 * (1 + a[:, None]) * (-((shape - 0.2 - 0.3 * b[:, None]) ** 2)).exp() + 5 * torch.sin(c[:, None])
    if target != "registered":
        return rows
    landmarks = (100 * (scales + torch.tensor([1, 4, 8]))).log()
    return torch.cat([rows, landmarks, 0.01 * scales.sin(), 7 + scales[:, :1]], 1)


def conditioned(target="samples", cells=25, known=25, **changes):
    """A process in double precision with the hyperparameters above, and what it is conditioned on."""
    torch.manual_seed(0)
    network = GaussianProcess(**SIZES | {"target": target, "cells": cells} | changes).double()
    scales = torch.rand(known, 3, dtype=torch.float64) * 2
    rows = rows_of(scales, target).double()
    network.fit_target(rows.split(10))
    network.condition(scales, rows.split(10))
    with torch.no_grad():
        network.kernel.log_lengths.copy_(torch.tensor(LENGTHS).log() / PACE)
        network.kernel.log_amplitude.fill_(np.log(AMPLITUDE) / PACE)
        network.kernel.log_noise.fill_(np.log(NOISE) / PACE)
    return network, scales, rows


def reference(scales, numbers):
    kernel = ConstantKernel(AMPLITUDE**2) * Matern(LENGTHS, nu=2.5) + WhiteKernel(OBSERVED)
    return GaussianProcessRegressor(kernel, alpha=0.0, optimizer=None).fit(scales.numpy(), numbers.numpy())


@pytest.mark.parametrize("cells", [25, 40])
def test_posterior_is_that_of_scikit_learn_whatever_room_there_is(cells):
    network, scales, rows = conditioned(cells=cells)
    new = torch.rand(9, 3, dtype=torch.float64) * 2
    mean, sd = reference(scales, network.target.encode(rows)).predict(new.numpy(), return_std=True)
    np.testing.assert_allclose(network.latents(new).detach(), mean, rtol=0, atol=1e-6)
    windows = network.target.mean_mV + network.target.std_mV * torch.from_numpy(mean)
    np.testing.assert_allclose(network(new).detach(), windows, rtol=0, atol=1e-6)
    np.testing.assert_allclose(network.spread(new).detach() ** 2 + OBSERVED, sd[:, 0] ** 2, rtol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
def test_error_is_the_marginal_likelihood_of_scikit_learn(target):
    network, scales, rows = conditioned(target)
    numbers = network.target.encode(rows).mT
    expected = [-reference(scales, each).log_marginal_likelihood_value_ for each in numbers]
    found = network.loss(scales, rows)
    assert found.item() == pytest.approx(np.average(expected, weights=network.target.weights().square()), rel=1e-6)
    found.backward()
    assert all(parameter.grad.abs().min() > 0 for parameter in network.kernel.parameters())
    assert network.loss(scales[:0], rows[:0]) == 0


@pytest.mark.parametrize("target", TARGETS)
def test_windows_have_the_gradients_of_finite_differences(target):
    network, scales, _ = conditioned(target)
    new = torch.cat([scales[:1], torch.rand(1, 3, dtype=torch.float64) + 0.5]).requires_grad_()
    assert torch.autograd.gradcheck(network, new, eps=1e-6, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("target", TARGETS)
def test_numbers_of_rows_make_their_windows_and_weigh_as_in_the_squared_error(target):
    network, _, rows = conditioned(target, components=20)
    numbers = network.target.encode(rows)
    if target == "registered":
        beating = network.target.cycle_parameters(numbers)
        torch.testing.assert_close(beating.nodes_mV, rows[:, :NODE_COUNT], rtol=0, atol=1e-3)
        beats = (beating.log_landmarks - rows[:, NODE_COUNT : NODE_COUNT + 3]) / beating.gains
        torch.testing.assert_close(beats, (-rows[:, -1:] % 1).expand(-1, 3), rtol=0, atol=1e-4)
    else:
        torch.testing.assert_close(network.target(numbers), rows, rtol=0, atol=1e-3)
    others = numbers[:1] + torch.eye(numbers.shape[1])
    found = network.target.squared_error(others, rows[:1].expand(len(others), -1)).sqrt() / network.target.weights()
    torch.testing.assert_close(found, torch.ones_like(found), rtol=1e-4, atol=0)


def test_more_rows_than_cells_are_left_out_and_said_to_be():
    network, scales, rows = conditioned(cells=12, known=12)
    with pytest.warns(UserWarning, match="conditioned on 12 of 18 training rows"):
        network.condition(torch.cat([scales, scales[:6] / 2]), [rows, rows[:6]])
    again, new, _ = conditioned(cells=12, known=12)
    assert torch.equal(network(new / 3), again(new / 3))
    network.condition(scales[:5], [rows[:5]])  # and what it knew before is forgotten
    mean = reference(scales[:5], network.target.encode(rows[:5])).predict(new / 3)
    np.testing.assert_allclose(network.latents(new / 3).detach(), mean, rtol=0, atol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
@torch.inference_mode()  # as Lightning validates; gradients are wanted later
def test_the_state_dict_says_all(target):
    with torch.inference_mode(False):
        network = conditioned(target, cells=30)[0].float().eval()
    make, new = partial(GaussianProcess, **SIZES | {"target": target, "cells": 30}), torch.rand(6, 3)
    with torch.device("meta"):
        loaded = make()
    fresh = make()
    fresh(new)
    for other, assign in ((loaded, True), (fresh, False), (fresh, True)):
        other.load_state_dict(network.state_dict(), assign=assign)
        assert torch.equal(other(new), network(new))
    with torch.inference_mode(False):
        assert torch.autograd.grad(network(scales := torch.rand(6, 3, requires_grad=True)).sum(), scales)[0].all()


def test_training_lowers_the_error_and_what_is_kept_follows(monkeypatch):
    network, scales, rows = conditioned("components")
    solve, solved = torch.cholesky_solve, []
    monkeypatch.setattr(torch, "cholesky_solve", lambda *given: solved.append(0) or solve(*given))
    optimizer, errors = KerasRMSprop(network.parameters(), lr=0.005), []
    for step in range(20):
        errors.append(network.loss(scales, rows))
        assert torch.equal(network(scales), network(scales))
        assert len(solved) == step + 1
        optimizer.zero_grad()
        errors[-1].backward()
        optimizer.step()
    assert errors[-1] < errors[0]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("mixed", [False, True])
def test_training_is_rehearsed(target, mixed):
    make = partial(GaussianProcess, **SIZES | {"target": target, "cells": 1000})
    found = measure_memory(
        make, KerasRMSprop, inputs=3, output_samples=60, batch_size=8, cells=4, windows=2, mixed=mixed
    )
    assert found.working > 2 * 8 * 1000**2
