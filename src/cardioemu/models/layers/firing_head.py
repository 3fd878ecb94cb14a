"""Classification of cells: which of them fire."""

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import nn

from cardioemu.common.tensors import CellBatch, ScaleBatch
from cardioemu.models.layers.ensemble import EnsembleMLP

WIDTH, BLOCKS = 64, 2


class FiringHead(nn.Module):
    """The logarithm of the odds that a cell fires: the mean over an ensemble of separate networks.

    The mean is divided by `temperature`, which calibration sets: training alone gives probabilities too close to 0 and
    1 (Guo et al. 2017).

    Args:
        members: Number of networks.
        inputs: Number of scaled conductances.
        width: Width of the layers.
        blocks: Number of residual blocks.
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
        """Return the cross entropy of each cell without calibration, averaged over members and summed over cells."""
        logit = self.trunk(scales).squeeze(-1)
        loss = nn.functional.binary_cross_entropy_with_logits(logit, fires.expand_as(logit), reduction="none")
        return loss.mean(0).sum()
