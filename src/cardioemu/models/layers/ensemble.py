"""Layers of an ensemble of `members` networks trained in one run: each product of all members is one batched product.

Source: deep ensembles, Lakshminarayanan, Pritzel and Blundell 2017.
"""

import torch
from jaxtyping import Float
from pydantic import NonNegativeInt, PositiveInt
from torch import nn

from cardioemu.common.tensors import CellBatch, ScaleBatch

Features = Float[torch.Tensor, "members batch features"]


class Linear(nn.Module):
    """A linear layer for each member, initialised like `torch.nn.Linear`."""

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
    """x + B(silu(A(silu(x)))) for each member."""

    def __init__(self, members: PositiveInt, width: PositiveInt) -> None:
        super().__init__()
        self.first, self.second = Linear(members, width, width), Linear(members, width, width)

    def forward(self, x: Features) -> Features:
        """Return the sum of the input and the output of two layers."""
        return x + self.second(nn.functional.silu(self.first(nn.functional.silu(x))))


class EnsembleMLP(nn.Module):
    """A dense residual network for each member: `blocks` of two layers of `width`, between a first and a last layer."""

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


class FiringHead(nn.Module):
    """The logarithm of the odds that a cell fires: the mean over an ensemble of separate networks.

    The mean is divided by `temperature`, which calibration sets: training alone gives probabilities too close to 0 and
    1 (Guo et al. 2017).
    """

    temperature: torch.Tensor

    def __init__(self, members: PositiveInt, inputs: PositiveInt) -> None:
        super().__init__()
        self.trunk = EnsembleMLP(members, inputs, outputs=1, width=64, blocks=2)
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, scales: ScaleBatch) -> CellBatch:
        """Return the calibrated logarithm of the odds (batch,)."""
        return self.trunk(scales).mean(0).squeeze(-1) / self.temperature

    def loss(self, scales: ScaleBatch, fires: CellBatch) -> torch.Tensor:
        """Return the cross entropy of each cell without calibration, averaged over members and summed over cells."""
        logit = self.trunk(scales).squeeze(-1)
        loss = nn.functional.binary_cross_entropy_with_logits(logit, fires.expand_as(logit), reduction="none")
        return loss.mean(0).sum()
