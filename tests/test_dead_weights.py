"""The published LSTM with and without the weights that cannot learn: the same start, predictions and weights."""

import math

import pytest
import torch

from cardioemu.models import LSTM, LSTMNetwork, parameter_table
from cardioemu.training import KerasRMSprop

LIVE = [0, 2, 3]  # gates: all but forget


def both_ways(make):
    """What `make` returns with and without dead weights, from the same seed."""
    made = []
    for dead_weights in ("hold", "drop"):
        torch.manual_seed(0)
        made.append(make(dead_weights))
    return made


def test_layers_start_the_same():
    whole, dropped = both_ways(lambda dead_weights: LSTM(3, 40, dead_weights))
    for name in ("kernel", "bias"):
        gates = getattr(whole, name).chunk(4)
        assert torch.equal(getattr(dropped, name), torch.cat([gates[gate] for gate in LIVE]))
    assert torch.equal(whole(torch.ones(2, 1, 3)), dropped(torch.ones(2, 1, 3)))
    assert [name for name, _ in dropped.named_parameters()] == ["kernel", "bias"]
    with pytest.raises(ValueError, match="sequences of one time step"):
        dropped(torch.ones(2, 2, 3))
    # The limit of glorot is that of four gates, of which three remain.
    limit = math.sqrt(6 / (5 + 4 * 200))
    assert 0.99 * limit < LSTM(5, 200, "drop").kernel.abs().max() <= limit


@pytest.mark.parametrize("layers", [1, 3])
def test_networks_start_the_same(layers):
    settings = {"hidden": 16, "lstm_layers": layers}
    networks = both_ways(lambda dead_weights: LSTMNetwork(7, dead_weights=dead_weights, **settings))
    scales = torch.rand(4, 5)
    torch.testing.assert_close(networks[0](scales), networks[1](scales), rtol=1e-6, atol=1e-7)
    count = [parameter_table(network).parameters["total"] for network in networks]
    assert count[0] - count[1] == 16 * (5 + (layers - 1) * 16) + layers * (4 * 16 * 16 + 16)


@pytest.mark.parametrize(("layers", "more"), [(1, 0), (2, 1), (3, 2)])
def test_parameters_by_hand(layers, more):
    with torch.device("meta"):
        network = LSTMNetwork(10_000, 5, 12_000, lstm_layers=layers, dense_layers=3, dead_weights="drop")
    table = parameter_table(network).parameters
    assert table["lstm.0"] == 3 * 12_000 * (5 + 1) == 216_000
    assert [table[f"lstm.{i + 1}"] for i in range(more)] == [3 * 12_000 * (12_000 + 1)] * more
    assert table["total"] == 216_000 + more * 36_000 * 12_001 + 2 * 144_012_000 + 120_010_000


def without_dead(state):
    """The state of a network with dead weights, without them."""
    kept = {name: value for name, value in state.items() if not name.endswith("recurrent_kernel")}
    for name in [name for name in kept if name.startswith("lstm")]:
        kept[name] = torch.cat([kept[name].chunk(4)[gate] for gate in LIVE])
    return kept


def step(network, optimizer, scales, windows):
    predicted = network(scales)
    loss = torch.nn.functional.mse_loss(predicted, windows)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return predicted.detach(), loss.item()


@pytest.mark.parametrize("layers", [1, 3])
def test_fifty_steps_with_and_without_dead_weights(layers):
    shape = {"samples": 100, "hidden": 48, "lstm_layers": layers, "dense_layers": 1 + layers, "normalise": False}
    whole, dropped = (LSTMNetwork(dead_weights=kind, **shape) for kind in ("hold", "drop"))
    start = {name: value.clone() for name, value in whole.state_dict().items()}
    dropped.load_state_dict(without_dead(start))
    optimizers = [KerasRMSprop(network.parameters(), lr=0.005) for network in (whole, dropped)]
    losses = []
    for _ in range(50):
        scales = 2 * torch.rand(32, 5)
        windows = 30 * torch.sin(torch.linspace(0, 6, 100) * scales[:, :1]) - 50
        results = [step(n, o, scales, windows) for n, o in zip((whole, dropped), optimizers, strict=True)]
        (expected, whole_loss), (found, dropped_loss) = results
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)  # of 80 mV: some units of float32
        assert dropped_loss == pytest.approx(whole_loss, rel=1e-5)
        losses.append(whole_loss)
    assert losses[-1] < losses[0] / 2, "they must have learned for this test to say anything"
    for name, value in without_dead(whole.state_dict()).items():
        torch.testing.assert_close(dropped.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    # What is dropped is what has not moved by a single bit.
    for number in range(layers):
        for name in ("recurrent_kernel", "kernel", "bias"):
            before, after = (state[f"lstm.{number}.{name}"] for state in (start, whole.state_dict()))
            still = [torch.equal(b, a) for b, a in zip(before.chunk(4), after.chunk(4), strict=True)]
            assert still == ([True] * 4 if name == "recurrent_kernel" else [False, True, False, False])
