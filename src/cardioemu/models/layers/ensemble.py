"""Layers of an ensemble that is trained in one run: each product of all members is one batched matrix product.

Source: deep ensembles, Lakshminarayanan, Pritzel and Blundell 2017.
"""

import torch
from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveInt
from torch import nn

Features = Float[torch.Tensor, "members batch features"]


class Linear(nn.Module):
    """A linear layer for each member, initialised like `torch.nn.Linear`.

    Args:
        members: Number of networks.
        inputs: Width of the input.
        outputs: Width of the output.
    """

    def __init__(self, members: PositiveInt, inputs: PositiveInt, outputs: PositiveInt) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs))
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5)

    def forward(self, x: Features) -> Float[torch.Tensor, "members batch outputs"]:
        """Return the output of each member for its own input."""
        return torch.baddbmm(self.bias, x, self.weight)


class ResidualBlock(nn.Module):
    """x + B(silu(A(silu(x)))) for each member.

    Args:
        members: Number of networks.
        width: Width of all layers.
    """

    def __init__(self, members: PositiveInt, width: PositiveInt) -> None:
        super().__init__()
        self.first, self.second = Linear(members, width, width), Linear(members, width, width)

    def forward(self, x: Features) -> Features:
        """Return the sum of the input and the output of two layers."""
        return x + self.second(nn.functional.silu(self.first(nn.functional.silu(x))))


class EnsembleMLP(nn.Module):
    """A dense residual network for each member.

    Args:
        members: Number of networks.
        inputs: Number of scaled conductances.
        outputs: Width of the output.
        width: Width of the layers between.
        blocks: Number of residual blocks, of two layers each.
    """

    def __init__(
        self,
        members: PositiveInt,
        inputs: PositiveInt,
        outputs: PositiveInt,
        width: PositiveInt,
        blocks: NonNegativeInt,
    ) -> None:
        super().__init__()
        self.members = members
        self.first = Linear(members, inputs, width)
        self.blocks = nn.Sequential(*(ResidualBlock(members, width) for _ in range(blocks)))
        self.last = Linear(members, width, outputs)

    def forward(self, scales: Float[torch.Tensor, "batch inputs"]) -> Features:
        """Return the output of each member (members, batch, outputs); its input is zero for the control."""
        x = self.first((scales - 1).expand(self.members, -1, -1))
        output: torch.Tensor = self.last(nn.functional.silu(self.blocks(x)))
        return output
