"""SOAP, against the rule written out for one matrix in NumPy."""

import io

import numpy as np
import pytest
import torch

from cardioemu.training import SOAP
from cardioemu.training.optimizers import soap as soap_module

DEFAULTS = {"lr": 2e-3, "beta1": 0.95, "beta2": 0.95, "every": 10, "warmup": 200}
SETTINGS = {"lr": 0.05, "beta1": 0.8, "beta2": 0.9, "every": 3, "warmup": 4}
# The first product of a gradient with itself then leaves one direction at most without a gradient, and no choice.
SHAPES = [(4, 4), (3, 4), (4, 3)]


def numpy_soap(W, gradients, lr, beta1, beta2, every, warmup):
    """All positions of one matrix, as the rule says."""
    M, S, path = np.zeros_like(W), np.zeros_like(W), []
    for t, G in enumerate(gradients, 1):
        if t == 1:
            L, R = G @ G.T, G.T @ G
            U, V = np.linalg.eigh(L)[1], np.linalg.eigh(R)[1]
        L = beta2 * L + (1 - beta2) * G @ G.T
        R = beta2 * R + (1 - beta2) * G.T @ G
        if t % every == 0:
            U, V = np.linalg.qr(L @ U)[0], np.linalg.qr(R @ V)[0]
        M = beta1 * M + (1 - beta1) * G
        S = beta2 * S + (1 - beta2) * (U.T @ G @ V) ** 2
        direction = (U.T @ M @ V / (1 - beta1**t)) / (np.sqrt(S / (1 - beta2**t)) + 1e-8)
        W = W - lr * min(1, t / warmup if warmup else 1) * U @ direction @ V.T
        path.append(W)
    return np.array(path)


def run(gradients, settings=SETTINGS, start=None):
    """The positions of one parameter under given gradients."""
    parameter = torch.nn.Parameter(torch.as_tensor(np.zeros_like(gradients[0]) if start is None else start))
    optimiser, path = SOAP([parameter], **settings), []
    for gradient in gradients:
        parameter.grad = torch.as_tensor(gradient)
        optimiser.step()
        path.append(parameter.detach().numpy().copy())
    return np.array(path)


def gradients_of(shape, steps=12, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(steps, *shape)) * 3.0 ** rng.uniform(-1, 1, size=(steps, *shape))


def rotation(size, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


@pytest.mark.parametrize("changed", [{}, {"warmup": 0}, {"every": 2}, {"beta1": 0.0}, {"beta2": 0.5}])
@pytest.mark.parametrize("shape", SHAPES)
def test_steps_equal_the_rule(shape, changed):
    gradients, start = gradients_of(shape), np.random.default_rng(1).normal(size=shape)
    expected = numpy_soap(start, gradients, **SETTINGS | changed)
    # Along the direction without a gradient roundings are divided by 1e-8, the least there is.
    np.testing.assert_allclose(run(gradients, SETTINGS | changed, start), expected, rtol=0, atol=1e-7)


def test_settings_that_are_not_given():
    gradients = gradients_of((3, 3), steps=25)
    expected = numpy_soap(np.zeros((3, 3)), gradients, **DEFAULTS)
    np.testing.assert_allclose(run(gradients, {}), expected, rtol=0, atol=1e-8)


def test_members_move_each_on_its_own():
    gradients = gradients_of((2, 4, 3))
    for member in (0, 1):
        np.testing.assert_allclose(run(gradients)[:, member], run(gradients[:, member]), rtol=0, atol=1e-7)


def test_a_rotated_problem_is_solved_the_same_way_rotated():
    gradients, U, V = gradients_of((4, 4)), rotation(4, 1), rotation(4, 2)
    plain, rotated = run(gradients), run(U @ gradients @ V.T)
    np.testing.assert_allclose(rotated, U @ plain @ V.T, rtol=0, atol=1e-7)
    assert np.abs(rotated - plain).max() > 0.01


def test_a_vector_is_a_matrix_of_one_row():
    gradients = gradients_of((6,))
    np.testing.assert_array_equal(run(gradients), run(gradients[:, None])[:, 0])
    # Of two numbers the basis is known: it can be compared with the rule, whose left side of one row is no rotation.
    two = gradients_of((2,))
    expected = numpy_soap(np.zeros((1, 2)), two[:, None], **SETTINGS)[:, 0]
    np.testing.assert_allclose(run(two), expected, rtol=0, atol=1e-10)


def test_the_first_step_of_a_vector_follows_its_gradient():
    gradient = np.array([3.0, 0.0, -4.0])
    (found,) = run([gradient], SETTINGS | {"warmup": 0})
    np.testing.assert_allclose(found, [-0.05 * 0.6, 0, 0.05 * 0.8], rtol=0, atol=1e-8)


def numpy_adam(gradients, lr, beta1, beta2, warmup, **_):
    M, S, w, path = 0.0, 0.0, 0.0, []
    for t, G in enumerate(gradients, 1):
        M, S = beta1 * M + (1 - beta1) * G, beta2 * S + (1 - beta2) * G**2
        w = w - lr * min(1, t / warmup) * (M / (1 - beta1**t)) / (np.sqrt(S / (1 - beta2**t)) + 1e-8)
        path.append(w)
    return np.array(path)


def test_a_single_number_moves_as_adam_has_it():
    gradients = gradients_of(())
    np.testing.assert_allclose(run(gradients), numpy_adam(gradients, **SETTINGS), rtol=1e-12)


def test_axes_that_are_too_long_keep_their_basis(monkeypatch):
    gradients = gradients_of((3, 4))
    monkeypatch.setattr(soap_module, "MAX_AXIS", 2)  # neither axis has one: Adam
    np.testing.assert_allclose(run(gradients), numpy_adam(gradients, **SETTINGS), rtol=0, atol=1e-12)
    monkeypatch.setattr(soap_module, "MAX_AXIS", 3)  # only that of 3: rotations of the other one do something else
    U, V = rotation(3, 1), rotation(4, 2)
    np.testing.assert_allclose(run(U @ gradients), U @ run(gradients), rtol=0, atol=1e-9)
    assert np.abs(run(gradients @ V.T) - run(gradients) @ V.T).max() > 0.01


def test_the_learning_rate_rises_from_0():
    # Equal gradients along the axes: every step is their sign, times a quarter, a half, ... of the learning rate.
    gradient = np.diag([3.0, -1.0, 2.0])
    path = run([gradient] * 6)
    expected = -0.05 * np.cumsum([0.25, 0.5, 0.75, 1, 1, 1])[:, None, None] * np.sign(gradient)
    np.testing.assert_allclose(path, expected, rtol=0, atol=1e-8)


def test_a_parameter_without_a_gradient_stays():
    moved, still = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2, 2))
    optimiser = SOAP([moved, still], warmup=0)
    moved.grad = torch.eye(2)
    optimiser.step()
    assert torch.equal(still, torch.ones(2, 2))
    assert not torch.equal(moved, still)
    assert list(optimiser.state) == [moved]


def test_resumed_training_goes_on_to_the_same_numbers():
    gradients = torch.as_tensor(gradients_of((2, 3, 4), steps=14)).float()

    def go_on(parameter, optimiser, steps):
        for gradient in steps:
            parameter.grad = gradient
            optimiser.step()
        return parameter.detach()

    parameter = torch.nn.Parameter(torch.zeros(2, 3, 4))
    optimiser = SOAP([parameter], **SETTINGS)
    go_on(parameter, optimiser, gradients[:7])
    file = io.BytesIO()
    torch.save(optimiser.state_dict(), file)
    again = torch.nn.Parameter(parameter.detach().clone())
    other = SOAP([again])
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(go_on(parameter, optimiser, gradients[7:]), go_on(again, other, gradients[7:]))


def test_ill_conditioned_least_squares_is_solved_much_sooner_than_by_adam():
    rng = np.random.default_rng(0)
    # Inputs with a spread from 1 to 1/1000 along directions that are no axes.
    inputs = torch.as_tensor(rng.normal(size=(200, 10)) * np.logspace(0, -3, 10) @ rotation(10, 1))
    wanted = inputs @ torch.as_tensor(rng.normal(size=(10, 4)))

    def loss_after_training(make):
        W = torch.nn.Parameter(torch.zeros(10, 4, dtype=torch.float64))
        optimiser = make([W])
        course = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 500)
        for _ in range(500):
            optimiser.zero_grad()
            loss = (inputs @ W - wanted).square().mean()
            loss.backward()
            optimiser.step()
            course.step()
        return loss.item()

    adam = min(loss_after_training(lambda p, lr=lr: torch.optim.Adam(p, lr)) for lr in (0.01, 0.03, 0.1, 0.3))
    assert loss_after_training(lambda p: SOAP(p, lr=0.03, warmup=10)) < adam / 100
