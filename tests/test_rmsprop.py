"""KerasRMSprop, against the rule written out in NumPy."""

import copy

import numpy as np
import pytest
import torch

from cardioemu.training.optimizers import rmsprop
from cardioemu.training.optimizers.rmsprop import KerasRMSprop


def sparse_gradients(steps, shapes, seed=0):
    """Gradients of widely different sizes, most of them exactly zero."""
    rng = np.random.default_rng(seed)
    return [
        [rng.normal(size=s) * 10.0 ** rng.integers(-8, 2, size=s) * (rng.random(s) < 0.3) for s in shapes]
        for _ in range(steps)
    ]


def run(optimiser, parameters, gradients):
    for step in gradients:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = torch.as_tensor(gradient, dtype=parameter.dtype)
        optimiser.step()


@pytest.mark.parametrize("settings", [{}, {"lr": 0.02, "rho": 0.5, "epsilon": 1e-3}, {"rho": 0.0}])
def test_twenty_steps_equal_the_rule(settings):
    shapes = [(4, 3), (5,), ()]
    rng = np.random.default_rng(1)
    expected = [rng.normal(size=shape) for shape in shapes]
    parameters = [torch.nn.Parameter(torch.tensor(p)) for p in expected]
    gradients = sparse_gradients(20, shapes)
    run(KerasRMSprop(parameters, **settings), parameters, gradients)

    lr, rho, epsilon = ({"lr": 0.001, "rho": 0.9, "epsilon": 1e-7} | settings).values()
    for k in range(len(shapes)):
        velocity = np.zeros(shapes[k])
        for step in gradients:
            velocity = rho * velocity + (1 - rho) * step[k] ** 2
            expected[k] = expected[k] - lr * step[k] / np.sqrt(velocity + epsilon)
        np.testing.assert_allclose(parameters[k].detach().numpy(), expected[k], rtol=1e-13, atol=1e-15)


def test_epsilon_stands_inside_the_root():
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    parameter.grad = torch.full_like(parameter, 1e-6)
    KerasRMSprop([parameter]).step()
    assert parameter.item() == pytest.approx(-0.001 * 1e-6 / (0.1 * 1e-12 + 1e-7) ** 0.5, rel=1e-12)


def test_zero_gradient_moves_nothing():
    parameter = torch.nn.Parameter(torch.randn(6))
    before = parameter.detach().clone()
    run(KerasRMSprop([parameter]), [parameter], [[np.zeros(6)]] * 3)
    assert torch.equal(parameter, before)


def test_parameter_without_gradient_is_left_alone():
    used, dead = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    optimiser = KerasRMSprop([{"params": [dead, used]}, {"params": [torch.nn.Parameter(torch.ones(2))]}])
    used.grad = torch.ones(3)
    optimiser.step()
    assert torch.equal(dead, torch.ones(3))
    assert not torch.equal(used, torch.ones(3))
    assert list(optimiser.state) == [used]


def test_groups_keep_their_own_settings():
    slow, fast = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    optimiser = KerasRMSprop([{"params": [slow]}, {"params": [fast], "lr": 0.1}])
    run(optimiser, [slow, fast], [[np.ones(1), np.ones(1)]])
    assert fast.item() == pytest.approx(100 * slow.item(), rel=1e-6)


def test_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path):
    shapes = [(4, 3), (5,)]
    gradients = sparse_gradients(20, shapes, seed=2)
    straight = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    interrupted = copy.deepcopy(straight)
    run(KerasRMSprop(straight, lr=0.01), straight, gradients)

    first = KerasRMSprop(interrupted, lr=0.01)
    run(first, interrupted, gradients[:8])
    torch.save({"optimiser": first.state_dict(), "parameters": interrupted}, tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = KerasRMSprop(saved["parameters"])
    resumed.load_state_dict(saved["optimiser"])
    run(resumed, saved["parameters"], gradients[8:])
    assert all(torch.equal(a, b) for a, b in zip(straight, saved["parameters"], strict=True))


def test_closure_is_evaluated_with_gradients():
    parameter = torch.nn.Parameter(torch.tensor(1.0))
    optimiser = KerasRMSprop([parameter])

    def closure():
        optimiser.zero_grad()
        loss = parameter.square()
        loss.backward()
        return loss.item()

    assert optimiser.step(closure) == 1.0
    assert optimiser.step(closure) < 1.0
    assert optimiser.step() is None


def test_elsewhere_than_on_a_cpu_roots_are_made_of_blocks_of_large_parameters(monkeypatch):
    parts = []
    monkeypatch.setattr(rmsprop, "_update", lambda group, p, g, v: parts.append([t.numel() for t in p]))
    parameters = [torch.nn.Parameter(torch.empty(n, device="meta")) for n in (2 * rmsprop.LARGE_BLOCK + 3, 7, 5)]
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    KerasRMSprop(parameters).step()
    assert parts == [[rmsprop.LARGE_BLOCK], [rmsprop.LARGE_BLOCK], [3], [7, 5]]
