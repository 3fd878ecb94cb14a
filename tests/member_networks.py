"""What networks of several members are checked against: their dense layers in NumPy, and each member by itself."""

import numpy as np
import torch


def batch(cells, inputs, samples):
    return torch.rand(cells, inputs, dtype=torch.float64), 20 * torch.randn(cells, samples, dtype=torch.float64) - 60


def fitted(network):
    """In double precision, with a normaliser of its own."""
    network.double().fit_target([batch(9, 1, network.target.size)[1]])
    return network


def silu(x):
    return x / (1 + np.exp(-x))


def dense(x, layer):
    return x @ layer.weight[0].numpy(force=True) + layer.bias[0].numpy(force=True)


def residual(x, trunk):
    """The definition, of one row; `x` are the inputs about 0."""
    x = dense(x, trunk.first)
    for block in trunk.blocks:
        x = x + dense(silu(dense(silu(x), block.first)), block.second)
    return dense(silu(x), trunk.last)


def assert_members_are_networks_of_their_own(together, alone, scales, windows):
    """Compares a network of several members with networks `alone`, into which it puts a member each."""
    buffers, fires = dict(together.named_buffers()), torch.ones_like(scales[:, 0])
    for number, network in enumerate(alone):
        state = together.state_dict().items()
        network.load_state_dict({k: v if k in buffers else v.chunk(len(alone))[number] for k, v in state})

    def error(network):
        torch.manual_seed(1)
        return network.loss(scales, windows) + network.firing_loss(scales, fires)

    for ask in (error, lambda network: network(scales), lambda network: network.firing_logit(scales)):
        expected = torch.stack([ask(network) for network in alone]).mean(0)
        torch.testing.assert_close(ask(together), expected, rtol=1e-12, atol=1e-12)
    for network in (together, *alone):
        error(network).backward()
    own = [dict(network.named_parameters()) for network in alone]
    for name, parameter in together.named_parameters():
        expected = torch.cat([each[name].grad for each in own]) / len(alone)
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-10, atol=1e-12)
        assert parameter.grad.abs().max() > 0


def lowered(network):
    """By which factor sixty steps lower the error of all samples of windows that are sums of two."""
    scales = 2 * torch.rand(24, 2)
    windows = 40 * torch.sin(torch.linspace(0, 6, network.target.size)) * scales[:, :1] + 20 * scales[:, 1:] - 50
    network.fit_target([windows])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    before = (network(scales) - windows).square().mean().item()
    for _ in range(60):
        optimizer.zero_grad()
        network.loss(scales, windows).backward()
        optimizer.step()
    return before / (network(scales) - windows).square().mean().item()
