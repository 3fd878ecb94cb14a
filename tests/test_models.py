"""The networks, against second implementations written out in NumPy and against torch's own LSTM."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from cardioemu.models import LSTM, NETWORKS, Dense, LSTMNetwork, Normaliser, gaussian_filter1d, parameter_table


def lstm64(inputs=3, hidden=4):
    layer = LSTM(inputs, hidden).double()
    with torch.no_grad():
        layer.bias.normal_()
    return layer


def numpy_lstm(layer, sequences):
    """The definition, one number at a time, with the recurrent product taken at every step."""
    kernel, recurrent, bias = (p.detach().numpy() for p in (layer.kernel, layer.recurrent_kernel, layer.bias))
    size = layer.hidden
    answers = []
    for sequence in sequences:
        h, c = np.zeros(size), np.zeros(size)
        for x in sequence:
            old = h.copy()
            for unit in range(size):
                rows = [gate * size + unit for gate in range(4)]
                i, f, g, o = (kernel[row] @ x + recurrent[row] @ old + bias[row] for row in rows)
                i, f, o = (1 / (1 + math.exp(-a)) for a in (i, f, o))
                c[unit] = f * c[unit] + i * math.tanh(g)
                h[unit] = o * math.tanh(c[unit])
        answers.append(h)
    return np.array(answers)


@pytest.mark.parametrize("time", [1, 3])
def test_lstm_equals_the_definition(time):
    layer, sequence = lstm64(), torch.randn(5, time, 3, dtype=torch.float64)
    np.testing.assert_allclose(layer(sequence).detach(), numpy_lstm(layer, sequence.numpy()), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("time", [1, 4])
def test_lstm_equals_torch(time):
    layer, reference = lstm64(), nn.LSTM(3, 4, batch_first=True).double()
    with torch.no_grad():
        reference.weight_ih_l0.copy_(layer.kernel)
        reference.weight_hh_l0.copy_(layer.recurrent_kernel)
        # torch adds two biases where Keras has one; only their sum counts.
        reference.bias_hh_l0.copy_(layer.bias - reference.bias_ih_l0)
    sequence = torch.randn(6, time, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(sequence), reference(sequence)[0][:, -1], rtol=1e-12, atol=1e-14)


def test_recurrent_kernel_is_read_and_learns_from_the_second_step_on():
    layer = lstm64()
    orthogonal = layer.recurrent_kernel.detach().clone()
    nn.init.constant_(layer.recurrent_kernel, math.nan)
    layer(torch.randn(2, 1, 3, dtype=torch.float64)).sum().backward()
    assert layer.recurrent_kernel.grad is None
    assert layer.bias.grad.chunk(4)[1].abs().max() == 0
    assert all(layer.bias.grad.chunk(4)[gate].abs().min() > 0 for gate in (0, 2, 3))
    layer.recurrent_kernel.data = orthogonal
    layer(torch.randn(2, 2, 3, dtype=torch.float64)).sum().backward()
    assert layer.recurrent_kernel.grad.abs().min() > 0


def test_orthonormal_columns_are_those_of_the_qr_factorisation():
    layer = LSTM(5, 60)
    torch.manual_seed(0)
    for _ in range(4):  # of the kernel; the last gate, forget, and what follows come from a stream apart
        torch.empty(60, 5).uniform_()
    gaussian = torch.empty(240, 60).normal_()
    q, r = torch.linalg.qr(gaussian.double())
    torch.testing.assert_close(layer.recurrent_kernel.double(), q * r.diagonal().sign(), rtol=0, atol=1e-6)


def test_empty_sequence_is_a_sentence():
    with pytest.raises(ValueError, match="at least one time step"):
        lstm64()(torch.zeros(2, 0, 3, dtype=torch.float64))


def test_initialisation_is_keras():
    layer, dense = LSTM(5, 200), Dense(200, 300)
    for weights, fans in [(layer.kernel, 5 + 4 * 200), (dense.weight, 200 + 300)]:
        limit = math.sqrt(6 / fans)
        assert 0.99 * limit < weights.abs().max() <= limit
        assert weights.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.05)
    recurrent = layer.recurrent_kernel.detach()
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(200), rtol=0, atol=1e-5)
    assert dense.bias.abs().max() == 0
    assert [gate.unique().tolist() for gate in layer.bias.chunk(4)] == [[0], [1], [0], [0]]


@pytest.mark.parametrize("normalise", [True, False])
def test_published_lstm_has_840_310_000_parameters(normalise):
    before = torch.get_rng_state()
    with torch.device("meta"):
        network = LSTMNetwork(samples=10_000, hidden=12_000, normalise=normalise)
        table = parameter_table(network)
        assert network(torch.empty(16, 5)).shape == (16, 10_000)
    assert all(tensor.is_meta for tensor in network.state_dict().values())
    assert torch.equal(before, torch.get_rng_state())
    assert table.index.tolist() == ["lstm.0", "dense.0", "readout", "total"]
    assert table.parameters.tolist() == [576_288_000, 144_012_000, 120_010_000, 840_310_000]
    assert table.loc["lstm.0", "shape"] == "kernel 48000 x 5, recurrent_kernel 48000 x 12000, bias 48000"


@pytest.mark.parametrize(("lstm_layers", "dense_layers", "normalise"), [(1, 2, True), (3, 3, False)])
def test_network_equals_the_definition(lstm_layers, dense_layers, normalise):
    settings = {"lstm_layers": lstm_layers, "dense_layers": dense_layers, "normalise": normalise}
    network = LSTMNetwork(samples=7, inputs=3, hidden=4, **settings).double()
    windows = 30 * torch.randn(9, 7, dtype=torch.float64) - 60
    network.fit_target(windows.split(4))
    scales = torch.rand(6, 3, dtype=torch.float64)
    x = scales.numpy()
    for layer in network.lstm:
        x = numpy_lstm(layer, x[:, None])
    for layer in (*network.dense, network.readout):
        x = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    assert (len(network.lstm), len(network.dense)) == (lstm_layers, dense_layers - 1)
    data = windows.numpy()
    mean, std = data.mean(0), np.sqrt(np.mean((data - data.mean(0)) ** 2))
    np.testing.assert_allclose(network(scales).detach(), mean + std * x if normalise else x, rtol=1e-12)


@pytest.mark.parametrize("sigma", [0.0, 0.3, 1.0, 2.5, 7.6])
def test_smoothing_is_that_of_scipy(sigma):
    windows = torch.randn(3, 90, dtype=torch.float64, requires_grad=True)
    smoothed = gaussian_filter1d(windows, sigma)
    expected = ndimage.gaussian_filter1d(windows.detach().numpy(), sigma, axis=1) if sigma else windows.detach().numpy()
    np.testing.assert_allclose(smoothed.detach(), expected, rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(lambda v: gaussian_filter1d(v, sigma), windows[:, :12])


def test_smoothing_keeps_what_is_level_even_where_the_window_is_short():
    torch.testing.assert_close(gaussian_filter1d(torch.full((2, 5), -73.0), 30.0), torch.full((2, 5), -73.0))


def test_parameter_table_counts_a_shared_parameter_once():
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.ReLU())
    network[1].weight = network[0].weight
    assert parameter_table(network).parameters.to_dict() == {"0": 12, "1": 3, "total": 15}
    assert parameter_table(nn.Linear(2, 1)).parameters.to_dict() == {"Linear": 3, "total": 3}


def test_network_built_on_meta_is_loaded_or_initialised_later():
    network, z, scales = LSTMNetwork(samples=7, hidden=6), torch.randn(4, 7), torch.rand(4, 5)
    network.fit_target([torch.randn(9, 7)])
    with torch.device("meta"):
        later = LSTMNetwork(samples=7, hidden=6)
    later.load_state_dict(network.state_dict(), assign=True)
    assert torch.equal(later(scales), network(scales))
    later.to("meta").to_empty(device="cpu")
    for tensor in later.state_dict().values():
        tensor.fill_(math.nan)
    for layer in (*later.lstm, *later.dense, later.readout, later.normaliser):
        layer.reset_parameters()
    assert later(scales).isfinite().all()
    assert torch.equal(later.normaliser(z), z)


def test_output_is_differentiable_with_respect_to_scales():
    network = LSTMNetwork(samples=3, hidden=4).double()
    scales = torch.rand(2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, scales)
    network(scales).sum().backward()
    assert scales.grad.abs().min() > 0


def test_without_normaliser():
    network = LSTMNetwork(samples=7, hidden=4, normalise=False)
    scales = torch.rand(4, 5)
    before = network(scales)
    network.fit_target([torch.randn(9, 7)])
    assert list(network.buffers()) == []
    assert torch.equal(network(scales), before)


@pytest.mark.parametrize("count", [2, 2500])
def test_normaliser_fits_and_lives_in_the_state_dict(count):
    windows = torch.randn(count, 7) * 30 - 60
    windows[:, 2] = -40.0
    normaliser, loaded = Normaliser(7), Normaliser(7)
    z = torch.randn(3, 7)
    assert torch.equal(normaliser(z), z)
    normaliser.fit(windows.split(1000))
    data = windows.double().numpy()
    np.testing.assert_allclose(normaliser.mean_mV, data.mean(0), rtol=1e-6)
    np.testing.assert_allclose(normaliser.std_mV, np.sqrt(np.mean((data - data.mean(0)) ** 2)), rtol=1e-6)
    assert {name: tuple(t.shape) for name, t in normaliser.state_dict().items()} == {"mean_mV": (7,), "std_mV": ()}
    loaded.load_state_dict(normaliser.state_dict())
    assert torch.equal(loaded(z), normaliser(z))


@pytest.mark.parametrize(("count", "value"), [(1, -73.1), (971, 0.0), (9999, -73.1)])
def test_constant_training_set_leaves_one_millivolt(count, value):
    normaliser = Normaliser(4)
    normaliser.fit(torch.full((count, 4), value).split(100))
    assert normaliser.std_mV == 1
    torch.testing.assert_close(normaliser.mean_mV, torch.full((4,), value))


@pytest.mark.parametrize(
    ("windows", "sentence"),
    [
        (torch.zeros(0, 2), "has no windows"),
        (torch.zeros(3, 1), "for 2 samples per window, these have 1"),
        (torch.tensor([[0.0, math.nan]]), "not finite"),
        (torch.tensor([[0.0, math.inf]]), "not finite"),
    ],
)
def test_normaliser_refuses_in_a_sentence_and_keeps_its_state(windows, sentence):
    normaliser, z = Normaliser(2), torch.randn(3, 2)
    with pytest.raises(ValueError, match=sentence):
        normaliser.fit(windows.split(1000) if len(windows) else [])
    assert torch.equal(normaliser(z), z)


def test_networks_are_named_after_their_class():
    assert all(name == network.__name__ for name, network in NETWORKS.items())
