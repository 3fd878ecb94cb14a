"""Windows represented by their principal components."""

import torch
from pydantic import PositiveInt

from cardioemu.common.tensors import VectorBatch, VectorBatches, VoltageBatch
from cardioemu.models.targets.target import Errors, Latents, MemberLatents, Representation, Weights

MAX_VECTORS = 4096
"""Vectors that a basis is computed from."""


def principal_components(
    batches: VectorBatches, components: int, columns: slice = slice(None)
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute the mean and the first principal components of vectors, and the standard deviation along each.

    Args:
        batches: Vectors (vectors, size); only the first 4 096 are used.
        components: Number of components.
        columns: Which entries of a vector are used.

    Returns:
        Mean (size,), orthonormal components (components, size), and the standard deviation along each (components,), at
        least a millionth of the largest. Components beyond the number of vectors are 0.

    Raises:
        ValueError: There is no vector, or a value is not finite.
    """
    chunks: list[torch.Tensor] = []
    for batch in batches:
        chunks.append(batch[:, columns].double())
        if sum(map(len, chunks)) >= MAX_VECTORS:
            break
    if not chunks:
        raise ValueError("The target cannot be fitted: the training split has no vectors.")
    vectors = torch.cat(chunks)[:MAX_VECTORS]
    if not vectors.isfinite().all():
        raise ValueError("The target cannot be fitted: the training split has values that are not finite.")
    mean = vectors.mean(0)
    _, singular_values, directions = torch.linalg.svd(vectors - mean, full_matrices=False)
    basis, std = vectors.new_zeros(components, vectors.shape[1]), vectors.new_zeros(components)
    count = min(components, len(singular_values))
    basis[:count] = directions[:count]
    std[:count] = singular_values[:count] / max(len(vectors) - 1, 1) ** 0.5
    return mean, basis, std.clamp(min=max(1e-6 * float(std[0]), 1e-6))


class PrincipalComponents(Representation):
    """Windows as their mean plus a sum of principal components; a latent is a coefficient over its standard deviation.

    Attributes:
        spread_mV: standard deviation along each component (components,).
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
    def fit(self, batches: VectorBatches) -> None:
        """Fit mean, components and standard deviations; raises as `principal_components` does."""
        for buffer, value in zip(
            (self.mean_mV, self.basis, self.spread_mV), principal_components(batches, self.size), strict=True
        ):
            buffer.copy_(value)

    def forward(self, latents: Latents) -> VoltageBatch:
        """Return the windows in mV."""
        return self.mean_mV + (latents * self.spread_mV) @ self.basis

    def encode(self, vectors: VectorBatch) -> Latents:
        """Return the latents of the represented windows nearest to the vectors."""
        return self._coefficients_mV(vectors) / self.spread_mV

    def squared_error(self, latents: MemberLatents, vectors: VectorBatch) -> Errors:
        """Return the mean squared error of each window in mV^2, without the error of the representation itself."""
        return (latents * self.spread_mV - self._coefficients_mV(vectors)).square().sum(-1) / len(self.mean_mV)

    def weights(self) -> Weights:
        """Return the weights of a mean over the samples, in mV."""
        return self.spread_mV / len(self.mean_mV) ** 0.5

    def _coefficients_mV(self, vectors: VectorBatch) -> Latents:
        return (vectors - self.mean_mV) @ self.basis.T
