"""The decoder: against transposed convolutions written out in NumPy, and its members against networks of their own."""

from functools import partial

import numpy as np
import pytest
import torch
from member_networks import assert_members_are_networks_of_their_own, batch, fitted, lowered, residual, silu

from cardioemu.models import NETWORKS, Decoder, parameter_table
from cardioemu.training import KerasRMSprop
from cardioemu.training.memory.fake_run import measure_memory

SMALL = {"samples": 37, "inputs": 3, "channels": 8, "layers": 2, "width": 6, "blocks": 1}
STRIDE, PADDING = 4, 2


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def small(**changes):
    return fitted(Decoder(**SMALL | changes))


def spread(feature_map, layer):
    """The definition of a transposed convolution: every point lays a kernel down, and what sticks out is cut off."""
    kernel, bias = (p.numpy(force=True) for p in (layer.weight, layer.bias))
    long = np.zeros((kernel.shape[1], STRIDE * (feature_map.shape[1] - 1) + kernel.shape[2]))
    for point, column in enumerate(feature_map.T):
        for value, laid in zip(column, kernel, strict=True):
            long[:, STRIDE * point : STRIDE * point + kernel.shape[2]] += value * laid
    return bias[:, None] + long[:, PADDING:-PADDING]


def test_equals_the_definition():
    network, (scales, _) = small(), batch(4, 3, 37)
    for row, found in zip(scales.numpy(), network(scales).numpy(force=True), strict=True):
        feature_map = residual(row - 1, network.trunk).reshape(8, 3)
        for layer in (network.layers[1], network.layers[3]):
            feature_map = spread(silu(feature_map), layer)
        assert feature_map.shape == (1, 48)
        expected = network.target.mean_mV.numpy() + network.target.std_mV.item() * feature_map[0, :37]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("samples", [1, 7, 256, 257])
@pytest.mark.parametrize("layers", [1, 4])
@pytest.mark.parametrize("channels", [1, 5])
def test_any_number_of_samples(samples, layers, channels):
    network = Decoder(samples, inputs=2, channels=channels, layers=layers, width=4, members=2)
    for cells in (0, 3):
        assert network(torch.rand(cells, 2)).shape == (cells, samples)
        network.loss(torch.rand(cells, 2), torch.randn(cells, samples)).backward()


def test_members_are_networks_of_their_own():
    assert_members_are_networks_of_their_own(small(members=2), [small(), small()], *batch(5, 3, 37))


def test_members_start_as_a_network_alone_would():
    together, alone = Decoder(64, channels=64, layers=2, members=5), Decoder(64, channels=64, layers=2)
    for layer in (1, 3):
        limits = [network.layers[layer].weight.abs().max().item() for network in (together, alone)]
        assert limits[0] == pytest.approx(limits[1], rel=0.05)


def test_error_is_that_of_the_window():
    network, (scales, windows) = small(), batch(5, 3, 37)
    expected = ((network(scales) - windows) ** 2).mean(1).sum()
    torch.testing.assert_close(network.loss(scales, windows), expected, rtol=1e-12, atol=0)


def test_gradients_are_those_of_finite_differences():
    assert torch.autograd.gradcheck(small(members=2), batch(2, 3, 37)[0].requires_grad_())


def test_it_learns():
    assert lowered(Decoder(300, inputs=2, channels=16, width=32)) > 5


@pytest.mark.parametrize("mixed", [False, True])
def test_a_rehearsal_goes_through(mixed):
    make = partial(Decoder, samples=1000, channels=16, width=32, members=2)
    found = measure_memory(
        make, KerasRMSprop, inputs=5, output_samples=1000, batch_size=4, cells=3, windows=2, mixed=mixed
    )
    network = make()
    # The last map alone has as many numbers as the windows of two members.
    assert found.working > 4 * 2 * 4 * 1000
    assert found.network == sum(value.nbytes for value in network.state_dict().values())
    assert found.gradients == sum(parameter.nbytes for parameter in network.parameters())


def test_it_is_built_from_its_settings_and_small():
    with torch.device("meta"):
        network = NETWORKS["Decoder"](samples=10_000, inputs=5, channels=64, layers=4, width=256, blocks=3, members=1)
    assert all(tensor.is_meta for tensor in network.state_dict().values())
    table = parameter_table(network).parameters
    halves = [(64, 32), (32, 16), (16, 8), (8, 1)]
    assert [table[f"layers.{2 * i + 1}"] for i in range(4)] == [8 * before * after + after for before, after in halves]
    assert table["trunk.last"] == 257 * 64 * 40
    assert table["total"] < 3_000_000
