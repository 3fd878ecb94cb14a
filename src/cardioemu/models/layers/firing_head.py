"""Whether a cell fires."""

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import nn

from cardioemu.common.tensors import CellBatch, ScaleBatch
from cardioemu.models.layers.ensemble import EnsembleMLP

WIDTH, BLOCKS = 64, 2


class FiringHead(nn.Module):
    """The logarithm of the odds that a cell fires, by networks of their own, averaged over the members.

    `temperature` divides it: what training makes too sure is calibrated on other cells (Guo et al. 2017).

    Args:
        members: How many networks.
        inputs: Scaled conductances.
        width: Of their layers.
        blocks: Residual blocks.
    """

    temperature: torch.Tensor

    def __init__(
        self,
        members: PositiveInt,
        inputs: PositiveInt,
        width: PositiveInt = WIDTH,
        blocks: NonNegativeInt = BLOCKS,
    ) -> None:
        super().__init__()
        self.trunk = EnsembleMLP(members, inputs, 1, width, blocks)
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, scales: ScaleBatch) -> CellBatch:
        """Return the calibrated logarithm of the odds (batch,)."""
        return self.trunk(scales).mean(0).squeeze(-1) / self.temperature

    def loss(self, scales: ScaleBatch, fires: CellBatch) -> torch.Tensor:
        """Return the cross entropy of each cell, averaged over the members and summed over the batch."""
        logit = self.trunk(scales).squeeze(-1)
        of_each = nn.functional.binary_cross_entropy_with_logits(logit, fires.expand_as(logit), reduction="none")
        return of_each.mean(0).sum()
