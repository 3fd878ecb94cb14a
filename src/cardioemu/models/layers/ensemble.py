"""Layers of several networks side by side: an ensemble that is trained in one run, every product one batched product.

Source: deep ensembles, Lakshminarayanan, Pritzel and Blundell 2017.
"""

import torch
from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveInt
from torch import nn

Features = Float[torch.Tensor, "members batch features"]


class Linear(nn.Module):
    """A linear layer of each member, started as `torch.nn.Linear` starts one.

    Args:
        members: How many networks.
        inputs: Values in.
        outputs: Values out.
    """

    def __init__(self, members: PositiveInt, inputs: PositiveInt, outputs: PositiveInt) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs))
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5)

    def forward(self, x: Features) -> Float[torch.Tensor, "members batch outputs"]:
        """Return what each member makes of its own inputs."""
        return torch.baddbmm(self.bias, x, self.weight)


class ResidualBlock(nn.Module):
    """x + B(silu(A(silu(x)))) of each member.

    Args:
        members: How many networks.
        width: Of all layers.
    """

    def __init__(self, members: PositiveInt, width: PositiveInt) -> None:
        super().__init__()
        self.first, self.second = Linear(members, width, width), Linear(members, width, width)

    def forward(self, x: Features) -> Features:
        """Return the sum of the input and what two layers make of it."""
        return x + self.second(nn.functional.silu(self.first(nn.functional.silu(x))))


class EnsembleMLP(nn.Module):
    """Scale vectors to numbers: a residual network of each member.

    Args:
        members: How many networks.
        inputs: Scaled conductances.
        outputs: Numbers.
        width: Of the layers between.
        blocks: How many residual blocks of two layers each.
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
        """Return the numbers of each scale vector, by member: (members, batch, outputs); the control lies at zero."""
        x = self.first((scales - 1).expand(self.members, -1, -1))
        output: torch.Tensor = self.last(nn.functional.silu(self.blocks(x)))
        return output
