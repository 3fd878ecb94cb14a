"""Parity with Keras itself: the same weights give the same outputs, and training goes the same way."""

import os
import sys
from importlib import import_module

import numpy as np
import pytest
import torch

from cardioemu.models import LSTMNetwork
from cardioemu.training import KerasRMSprop

os.environ["KERAS_BACKEND"] = "torch"
keras = import_module("keras")  # which reads this when it is imported
# When Hydra sets up logging, the handler of absl, which Keras brings, closes its stream: that would be pytest's own.
import_module("absl.logging").get_absl_handler().python_handler.stream = sys.__stderr__

SAMPLES, BATCH = 200, 32


def keras_seed(hidden):
    """The seed as its authors would have written it."""
    keras.utils.set_random_seed(1)
    layers = keras.layers
    network = keras.Sequential([keras.Input((1, 5)), layers.LSTM(hidden), layers.Dense(hidden), layers.Dense(SAMPLES)])
    network.compile(optimizer="rmsprop", loss="mse")
    return network


def ours(reference, hidden, dead_weights):
    """Our network with the weights of Keras'; without dead weights, the gates that live of them."""
    network = LSTMNetwork(SAMPLES, hidden=hidden, dead_weights=dead_weights, normalise=False)
    kernel, recurrent, bias, *dense = (torch.from_numpy(w) for w in reference.get_weights())
    gates = [0, 1, 2, 3] if dead_weights == "hold" else [0, 2, 3]
    lstm = network.lstm[0]
    with torch.no_grad():
        lstm.kernel.copy_(torch.cat([kernel.T.chunk(4)[gate] for gate in gates]))
        lstm.bias.copy_(torch.cat([bias.chunk(4)[gate] for gate in gates]))
        if lstm.recurrent_kernel is not None:
            lstm.recurrent_kernel.copy_(recurrent.T)
        for layer, weight, bias_ in zip((*network.dense, network.readout), dense[::2], dense[1::2], strict=True):
            layer.weight.copy_(weight.T)
            layer.bias.copy_(bias_)
    return network


def batches(count):
    """Scales, and windows in mV that look like action potentials."""
    rng = np.random.default_rng(0)
    time = np.linspace(0, 1, SAMPLES)
    for _ in range(count):
        scales = rng.uniform(0, 2, (BATCH, 5)).astype(np.float32)
        windows = 60 * np.tanh(8 * (scales[:, 1:2] + 0.2) * (0.5 * scales[:, :1] + 0.1 - time)) - 20
        yield scales, windows.astype(np.float32)


def relative(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("dead_weights", ["hold", "drop"])
@pytest.mark.parametrize("hidden", [64, 512])
def test_keras_parity(hidden, dead_weights):
    reference = keras_seed(hidden)
    network = ours(reference, hidden, dead_weights)
    optimizer = KerasRMSprop(network.parameters())
    probe = next(batches(1))[0]

    def outputs():
        with torch.no_grad():
            return network(torch.from_numpy(probe)).numpy(), reference.predict(probe[:, None], verbose=0)

    assert relative(*outputs()) < 1e-5
    start = outputs()[0]
    for scales, windows in batches(20):
        theirs = reference.train_on_batch(scales[:, None], windows)
        loss = torch.nn.functional.mse_loss(network(torch.from_numpy(scales)), torch.from_numpy(windows))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert loss.item() == pytest.approx(float(theirs), rel=1e-4)
    found, expected = outputs()
    assert relative(found, expected) < 1e-4
    assert relative(start, expected) > 0.1, "twenty steps must have moved the network for this test to say anything"


def test_keras_starts_as_we_do():
    hidden = 256
    reference, network = keras_seed(hidden), LSTMNetwork(SAMPLES, hidden=hidden, normalise=False)
    lstm = network.lstm[0]
    mine = [lstm.kernel.T, lstm.recurrent_kernel.T, lstm.bias]
    mine += [p.T for layer in (*network.dense, network.readout) for p in (layer.weight, layer.bias)]
    for theirs, weights in zip(reference.get_weights(), (w.detach().numpy() for w in mine), strict=True):
        assert theirs.shape == weights.shape
        assert weights.std() == pytest.approx(theirs.std(), rel=0.03)
        assert np.abs(weights).max() == pytest.approx(np.abs(theirs).max(), rel=0.3)
    recurrent = reference.get_weights()[1]
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(hidden), atol=1e-5)  # as ours: test_initialisation
    assert reference.optimizer.epsilon == 1e-7
    assert reference.optimizer.rho == 0.9
    assert float(reference.optimizer.learning_rate) == pytest.approx(1e-3)
