"""The seed with and without the weights that cannot learn: the same predictions, losses and weights all the way."""

import pytest
import torch

from cardioemu.models import LSTMNetwork
from cardioemu.training import KerasRMSprop

LIVE = [0, 2, 3]  # gates: all but forget


def without_dead(state):
    """The state of a network that holds dead weights, without them."""
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
    torch.manual_seed(0)
    shape = {"samples": 100, "hidden": 48, "lstm_layers": layers, "dense_layers": 1 + layers, "normalise": False}
    held, dropped = (LSTMNetwork(dead_weights=kind, **shape) for kind in ("hold", "drop"))
    start = {name: value.clone() for name, value in held.state_dict().items()}
    dropped.load_state_dict(without_dead(start))
    optimizers = [KerasRMSprop(network.parameters(), lr=0.005) for network in (held, dropped)]
    losses = []
    for _ in range(50):
        scales = 2 * torch.rand(32, 5)
        windows = 30 * torch.sin(torch.linspace(0, 6, 100) * scales[:, :1]) - 50
        results = [step(n, o, scales, windows) for n, o in zip((held, dropped), optimizers, strict=True)]
        (expected, held_loss), (found, dropped_loss) = results
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)  # of 80 mV: some units of float32
        assert dropped_loss == pytest.approx(held_loss, rel=1e-5)
        losses.append(held_loss)
    assert losses[-1] < losses[0] / 2, "they must have learned for this test to say anything"
    for name, value in without_dead(held.state_dict()).items():
        torch.testing.assert_close(dropped.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    # What is dropped is what has not moved by a single bit.
    for number in range(layers):
        for name in ("recurrent_kernel", "kernel", "bias"):
            before, after = (state[f"lstm.{number}.{name}"] for state in (start, held.state_dict()))
            still = [torch.equal(b, a) for b, a in zip(before.chunk(4), after.chunk(4), strict=True)]
            assert still == ([True] * 4 if name == "recurrent_kernel" else [False, True, False, False])
