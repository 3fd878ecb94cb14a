"""Dense networks and the representations that they predict, against NumPy."""

import math

import numpy as np
import pytest
import torch
from member_networks import residual

from cardioemu.common.registration import NODE_COUNT
from cardioemu.models import MLP
from cardioemu.models.layers.ensemble import EnsembleMLP, FiringHead
from cardioemu.models.targets import principal_components as pca
from cardioemu.models.targets.principal_components import PrincipalComponents, principal_components

TARGETS = ("samples", "components", "registered")


def windows_of(count):
    return 30 * torch.randn(count, 9, dtype=torch.float64) @ torch.randn(9, 9, dtype=torch.float64) - 60


def test_trunk_equals_the_definition():
    trunk = EnsembleMLP(members=3, inputs=3, outputs=5, width=4, blocks=2).double()
    scales = torch.rand(6, 3, dtype=torch.float64) * 2
    expected = [residual(scales.numpy() - 1, trunk, member) for member in range(3)]
    np.testing.assert_allclose(trunk(scales).detach(), expected, rtol=1e-12, atol=1e-14)


def test_layers_start_as_those_of_torch():
    trunk = EnsembleMLP(members=2, inputs=5, outputs=400, width=300, blocks=1)
    for layer, inputs in ((trunk.first, 5), (trunk.blocks[0].first, 300), (trunk.last, 300)):
        reference = torch.nn.Linear(inputs, layer.weight.shape[-1])
        for parameter, like in ((layer.weight, reference.weight), (layer.bias, reference.bias)):
            limit = 1 / math.sqrt(inputs)
            assert 0.95 * limit < parameter.abs().max() <= limit
            assert parameter.std().item() == pytest.approx(like.std().item(), rel=0.15)
    assert not torch.equal(trunk.first.weight[0], trunk.first.weight[1])


def smooth_rows(scales, target):
    """Training vectors that are smooth functions of the scales: windows of 60 samples, or registered cycles."""
    a, b, c = scales.unbind(1)
    shape = torch.linspace(0, 3, NODE_COUNT if target == "registered" else 60)
    windows = -70 + 100 * (1 + a[:, None]) * (-((shape - 0.2 - 0.3 * b[:, None]) ** 2)).exp() + 5 * c.sin()[:, None]
    if target != "registered":
        return windows.double()
    landmarks = (100 * (scales + torch.tensor([1, 4, 8]))).log()
    return torch.cat([windows, landmarks, 0.01 * scales.sin(), 7 + scales[:, :1]], 1).double()


@pytest.mark.parametrize("target", TARGETS)
def test_latents_make_their_windows_and_weigh_as_in_the_squared_error(target):
    training = smooth_rows(2 * torch.rand(25, 3, dtype=torch.float64), target)
    representation = MLP(60, begin_ms=-5.0, interval_ms=10.0, inputs=3, target=target, components=20).target.double()
    representation.fit(training.split(10))
    latents = representation.encode(training)
    if target == "registered":
        cycle = representation.cycle_parameters(latents)
        torch.testing.assert_close(cycle.nodes_mV, training[:, :NODE_COUNT], rtol=0, atol=1e-3)
        beats = (cycle.log_landmarks - training[:, NODE_COUNT : NODE_COUNT + 3]) / cycle.gains
        torch.testing.assert_close(beats, (-training[:, -1:] % 1).expand(-1, 3), rtol=0, atol=1e-4)
    else:
        torch.testing.assert_close(representation(latents), training, rtol=0, atol=1e-3)
    others = latents[:1] + torch.eye(latents.shape[1])
    error = representation.squared_error(others, training[:1].expand(len(others), -1)).sqrt()
    torch.testing.assert_close(error, representation.weights(), rtol=1e-4, atol=0)


def test_firing_loss_by_hand():
    head = FiringHead(members=2, inputs=3).double()
    scales, fires = torch.rand(4, 3, dtype=torch.float64) * 2, torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    logits = np.array([residual(scales.numpy() - 1, head.trunk, member)[:, 0] for member in (0, 1)])
    chance = 1 / (1 + np.exp(-logits))
    expected = -np.log(np.where(fires.numpy() == 1, chance, 1 - chance)).mean(0).sum()
    assert head.loss(scales, fires).item() == pytest.approx(expected, rel=1e-12)
    head.temperature.fill_(2.5)  # of calibration; training knows nothing of it
    assert head.loss(scales, fires).item() == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(head(scales).detach(), logits.mean(0) / 2.5, rtol=1e-12)


@pytest.mark.parametrize(("count", "components"), [(40, 4), (40, 9), (3, 5)])
def test_components_are_those_of_numpy(count, components):
    data = windows_of(count)
    mean, basis, spread = principal_components(data.split(7), components)
    centred = data.numpy() - data.numpy().mean(0)
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    rank = min(components, count - 1)  # of three rows about their mean
    np.testing.assert_allclose(mean, data.numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(spread[:rank], (values / np.sqrt(count - 1))[:rank], rtol=1e-10)
    np.testing.assert_allclose(np.abs((basis.numpy() @ vectors[:components].T).diagonal())[:rank], 1, rtol=1e-10)
    assert (spread >= 1e-6 * spread[0]).all()
    if components > count:
        assert basis[count:].abs().max() == 0
    target = PrincipalComponents(9, components).double()
    target.fit(data.split(7))
    expected = data.numpy().mean(0) + centred @ vectors[:components].T @ vectors[:components]
    np.testing.assert_allclose(target(target.encode(data)), expected, rtol=0, atol=1e-4)


def test_components_of_some_columns_of_the_first_rows(monkeypatch):
    monkeypatch.setattr(pca, "MAX_VECTORS", 10)
    data = windows_of(30).float()
    found = principal_components(data.split(4), 2, slice(3, 8))
    for one, other in zip(found, principal_components([data[:10, 3:8]], 2), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("batches", "why"), [([], "has no vectors"), ([torch.full((2, 9), math.nan)], "not finite")])
def test_components_of_nothing_are_refused(batches, why):
    with pytest.raises(ValueError, match=why):
        PrincipalComponents(9, 2).fit(batches)
