"""Windows as sums of their principal components."""

import torch
from pydantic import PositiveInt

from cardioemu.common.tensors import RowBatch, RowBatches, VoltageBatch
from cardioemu.models.targets.target import Errors, Latents, MemberLatents, Representation, Weights

MOST_ROWS = 4096
"""Rows that a basis is made from."""


def principal_components(
    batches: RowBatches, components: int, columns: slice = slice(None)
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Find the mean, the first principal components and the spread along each of some rows.

    Args:
        batches: Rows (rows, numbers); of more than 4 096 those are taken that come first.
        components: How many.
        columns: Which numbers of a row count.

    Returns:
        Mean (numbers,), orthonormal components (components, numbers), and the standard deviation along each
        (components,), at least a millionth of the largest. Where there are fewer rows, the components left over are 0.

    Raises:
        ValueError: There is no row, or a value is not finite.
    """
    taken: list[torch.Tensor] = []
    for batch in batches:
        taken.append(batch[:, columns].double())
        if sum(map(len, taken)) >= MOST_ROWS:
            break
    if not taken:
        raise ValueError("The target cannot be fitted: the training part has no rows.")
    rows = torch.cat(taken)[:MOST_ROWS]
    if not rows.isfinite().all():
        raise ValueError("The target cannot be fitted: the training part has values that are not finite.")
    mean = rows.mean(0)
    found = torch.linalg.svd(rows - mean, full_matrices=False)
    basis, spread = rows.new_zeros(components, rows.shape[1]), rows.new_zeros(components)
    count = min(components, len(found.S))
    basis[:count] = found.Vh[:count]
    spread[:count] = found.S[:count] / max(len(rows) - 1, 1) ** 0.5
    return mean, basis, spread.clamp(min=max(1e-6 * float(spread[0]), 1e-6))


class PrincipalComponents(Representation):
    """Windows as their mean and a sum of principal components; numbers are multiples of the spread along each.

    Args:
        samples: Points of one window.
        components: How many components.
    """

    mean_mV: torch.Tensor
    basis: torch.Tensor
    spread_mV: torch.Tensor

    def __init__(self, samples: PositiveInt, components: PositiveInt) -> None:
        super().__init__()
        self.size = components
        self.register_buffer("mean_mV", torch.zeros(samples))
        self.register_buffer("basis", torch.zeros(components, samples))
        self.register_buffer("spread_mV", torch.ones(components))

    @torch.no_grad()
    def fit(self, batches: RowBatches) -> None:
        """Fit mean, components and spread; raises as `principal_components`."""
        for buffer, value in zip(
            (self.mean_mV, self.basis, self.spread_mV), principal_components(batches, self.size), strict=True
        ):
            buffer.copy_(value)

    def forward(self, numbers: Latents) -> VoltageBatch:
        """Return the windows in mV."""
        return self.mean_mV + (numbers * self.spread_mV) @ self.basis

    def encode(self, rows: RowBatch) -> Latents:
        """Return the numbers of the windows nearest to rows."""
        return self._coefficients_mV(rows) / self.spread_mV

    def squared_error(self, numbers: MemberLatents, rows: RowBatch) -> Errors:
        """Return the mean squared error of each window in mV^2, but for what the components leave out."""
        return (numbers * self.spread_mV - self._coefficients_mV(rows)).square().sum(-1) / len(self.mean_mV)

    def weights(self) -> Weights:
        """Return those of a mean over the samples, in mV."""
        return self.spread_mV / len(self.mean_mV) ** 0.5

    def _coefficients_mV(self, rows: RowBatch) -> Latents:
        return (rows - self.mean_mV) @ self.basis.T
