"""The dense networks and their targets, against NumPy and against networks of one member."""

import math

import numpy as np
import pytest
import torch

from cardioemu.common.registration import NODE_COUNT
from cardioemu.models import MLP
from cardioemu.models.layers.ensemble import EnsembleMLP
from cardioemu.models.layers.firing_head import FiringHead
from cardioemu.models.networks.target_network import make_target
from cardioemu.models.targets import principal_components as pca
from cardioemu.models.targets.principal_components import PrincipalComponents, principal_components

torch.set_num_threads(1)
SIZES = {"samples": 9, "begin_ms": -3.0, "interval_ms": 1.0, "inputs": 3, "components": 4, "width": 6, "blocks": 2}
TARGETS = ("samples", "components", "registered")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def rows(count=20, target="samples"):
    """Random windows, or registered cycles that beat steadily."""
    if target != "registered":
        return 30 * torch.randn(count, 9) @ torch.randn(9, 9) - 60
    landmarks = torch.tensor([90.0, 160.0, 400.0]).log() + 0.1 * torch.rand(count, 3)
    return torch.cat([torch.randn(count, NODE_COUNT), landmarks, torch.zeros(count, 3), torch.rand(count, 1)], 1)


def numpy_trunk(trunk, member, scales):
    """One member, layer by layer."""

    def layer(linear, x):
        return x @ linear.weight[member].detach().numpy() + linear.bias[member].detach().numpy()

    def silu(x):
        return x / (1 + np.exp(-x))

    x = layer(trunk.first, scales - 1)
    for block in trunk.blocks:
        x = x + layer(block.second, silu(layer(block.first, silu(x))))
    return layer(trunk.last, silu(x))


def member_of(network, number):
    """A network of one member out of one of several."""
    alone = MLP(**SIZES | {"target": network.kind}).double()
    state = network.state_dict()
    parameters = [name for name, _ in network.named_parameters()]
    alone.load_state_dict(state | {name: state[name][number : number + 1] for name in parameters})
    return alone


def ensemble(target, members=2):
    network = MLP(**SIZES, target=target, members=members).double()
    network.fit_target(rows(target=target).double().split(7))
    network.kind = target
    return network


def test_trunk_equals_the_definition():
    trunk = EnsembleMLP(members=3, inputs=3, outputs=5, width=4, blocks=2).double()
    scales = torch.rand(6, 3, dtype=torch.float64) * 2
    expected = [numpy_trunk(trunk, member, scales.numpy()) for member in range(3)]
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


@pytest.mark.parametrize("target", TARGETS)
def test_an_ensemble_says_the_mean_of_what_its_members_say(target):
    network, scales = ensemble(target), torch.rand(5, 3, dtype=torch.float64) * 2
    alone = [member_of(network, number) for number in (0, 1)]
    numbers = torch.stack([one.trunk(scales)[0] for one in alone]).mean(0)
    torch.testing.assert_close(network(scales), network.target(numbers), rtol=1e-10, atol=1e-10)
    if target != "registered":  # the others are linear: the mean window is the window of the mean numbers
        torch.testing.assert_close(network(scales), torch.stack([one(scales) for one in alone]).mean(0))
    logits = torch.stack([one.firing_logit(scales) for one in alone])
    torch.testing.assert_close(network.firing_logit(scales), logits.mean(0))


@pytest.mark.parametrize("target", TARGETS)
def test_members_are_trained_each_for_itself(target):
    network, scales = ensemble(target), torch.rand(5, 3, dtype=torch.float64) * 2
    alone, wanted = [member_of(network, number) for number in (0, 1)], rows(5, target).double()
    fires = torch.tensor([1.0, 0, 0, 1, 1], dtype=torch.float64)
    for name, labels in (("loss", wanted), ("firing_loss", fires)):
        together, each = getattr(network, name)(scales, labels), [getattr(one, name)(scales, labels) for one in alone]
        torch.testing.assert_close(together, (each[0] + each[1]) / 2)
        together.backward()
        each[1].backward()
    gradients = {name: parameter.grad for name, parameter in alone[1].named_parameters()}
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad[1:], gradients[name] / 2)


@pytest.mark.parametrize("target", TARGETS[:2])
def test_error_is_that_of_the_windows(target):
    network, scales, windows = ensemble(target, 1), torch.rand(5, 3, dtype=torch.float64), rows(5).double()
    if target == "components":  # what no component can say is no error of the numbers
        basis = network.target.basis
        windows = network.target.mean_mV + (windows - network.target.mean_mV) @ basis.T @ basis
    expected = (network(scales) - windows).square().mean(1).sum()
    torch.testing.assert_close(network.loss(scales, windows), expected, rtol=1e-5, atol=1e-5)


def test_what_a_network_is_trained_on_hangs_on_its_target():
    trained_on = {target: MLP(**SIZES, target=target).trained_on for target in TARGETS}
    assert trained_on == {"samples": "windows", "components": "windows", "registered": "cycles"}
    scales = torch.rand(2, 3)
    assert MLP(**SIZES).cycle_length_ms(scales) is None
    assert ensemble("registered").float().cycle_length_ms(scales).shape == (2,)


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
    representation = make_target(target, samples=60, begin_ms=-5.0, interval_ms=10.0, components=20).double()
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


@pytest.mark.parametrize("target", TARGETS)
def test_all_at_once_is_what_is_said_one_after_the_other(target):
    network, scales = ensemble(target).float(), torch.rand(3, 3)
    told = network.outputs(scales)
    torch.testing.assert_close(told.voltage_mV, network(scales))
    torch.testing.assert_close(told.firing_logit, network.firing_logit(scales))
    expected = network.cycle_length_ms(scales)
    assert told.cycle_length_ms is None if expected is None else torch.equal(told.cycle_length_ms, expected)


def test_firing_loss_by_hand():
    head = FiringHead(members=2, inputs=3, width=4, blocks=1).double()
    scales, fires = torch.rand(4, 3, dtype=torch.float64) * 2, torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    logits = np.array([numpy_trunk(head.trunk, member, scales.numpy())[:, 0] for member in (0, 1)])
    chance = 1 / (1 + np.exp(-logits))
    expected = -np.log(np.where(fires.numpy() == 1, chance, 1 - chance)).mean(0).sum()
    assert head.loss(scales, fires).item() == pytest.approx(expected, rel=1e-12)
    head.temperature.fill_(2.5)  # of calibration; training knows nothing of it
    assert head.loss(scales, fires).item() == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(head(scales).detach(), logits.mean(0) / 2.5, rtol=1e-12)


@pytest.mark.parametrize(("count", "components"), [(40, 4), (40, 9), (3, 5)])
def test_components_are_those_of_numpy(count, components):
    data = rows(count).double()
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
    monkeypatch.setattr(pca, "MOST_ROWS", 10)
    data = rows(30)
    found = principal_components(data.split(4), 2, slice(3, 8))
    for one, other in zip(found, principal_components([data[:10, 3:8]], 2), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("batches", "said"), [([], "has no rows"), ([torch.full((2, 9), math.nan)], "not finite")])
def test_components_of_nothing_are_refused(batches, said):
    with pytest.raises(ValueError, match=said):
        PrincipalComponents(9, 2).fit(batches)
