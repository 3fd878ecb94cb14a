"""The output normaliser: windows in mV from outputs of zero mean and unit variance."""

import torch
from pydantic import PositiveInt

from cardioemu.common.tensors import VectorBatch, VectorBatches, VoltageBatch
from cardioemu.models.targets.target import Errors, Latents, MemberLatents, Representation, Weights

WINDOWS_AT_ONCE = 32
"""Windows that `fit` converts to float64 at a time."""


class Normaliser(Representation):
    """The affine map from normalised windows to mV; its buffers are the mean window and one standard deviation.

    The shape of `mean_mV` is (samples,), of `std_mV` (); before `fit` they are 0 and 1, the identity. All samples share
    one standard deviation, because the one of the sample at the aligned AP start would be zero.
    """

    mean_mV: torch.Tensor
    std_mV: torch.Tensor

    def __init__(self, samples: PositiveInt) -> None:
        super().__init__()
        self.size = samples
        self.register_buffer("mean_mV", torch.empty(samples))
        self.register_buffer("std_mV", torch.empty(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reset to the identity; does nothing on the meta device."""
        self.mean_mV.zero_()
        self.std_mV.fill_(1.0)

    @torch.no_grad()
    def fit(self, batches: VectorBatches) -> None:
        """Set the mean window and the root mean square deviation from it.

        If all windows are equal, the standard deviation is set to 1 mV: zero would remove the network's output.

        Args:
            batches: (windows, samples) in mV, all windows of the training split; memory holds one batch at a time.

        Raises:
            ValueError: There is no window, the windows have another length, or a value is not finite.

        Source: Chan, Golub and LeVeque, Am. Stat. 37 (1983), for the sum of squared deviations of joined batches.
        """
        samples = self.mean_mV.numel()
        # float64: in float32 the sum of a million windows would lose digits that the deviation needs.
        count, mean, squares = 0, torch.zeros(samples, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for chunk in (chunk for batch in batches for chunk in batch.split(WINDOWS_AT_ONCE)):
            if chunk.shape[-1] != samples:
                raise ValueError(f"The normaliser is for {samples} samples per window, these have {chunk.shape[-1]}.")
            windows = chunk.double()
            chunk_mean = windows.mean(0)
            weight = len(windows) / (count + len(windows))
            # The deviations of either set from its own mean, and those of the two means from the common one.
            squares += (windows - chunk_mean).square().sum() + count * weight * (chunk_mean - mean).square().sum()
            mean += weight * (chunk_mean - mean)
            count += len(windows)
        if count == 0:
            raise ValueError("The normaliser cannot be fitted: the training split has no windows.")
        if not mean.isfinite().all():
            raise ValueError("The normaliser cannot be fitted: the training split has values that are not finite.")
        std = (squares / (count * samples)).sqrt()
        # The deviation of equal windows is the rounding error of their mean, not zero.
        noise = torch.finfo(torch.float32).eps * mean.abs().max()
        self.mean_mV.copy_(mean)
        self.std_mV.copy_(std if std > noise else torch.ones_like(std))

    def forward(self, latents: Latents) -> VoltageBatch:
        """Return the windows `mean_mV + std_mV * latents` in mV."""
        return self.mean_mV + self.std_mV * latents

    def encode(self, vectors: VectorBatch) -> Latents:
        """Return `(vectors - mean_mV) / std_mV`, the inverse of `forward`."""
        return (vectors - self.mean_mV) / self.std_mV

    def squared_error(self, latents: MemberLatents, vectors: VectorBatch) -> Errors:
        """Return the mean squared error of each window in mV^2."""
        return (self.mean_mV + self.std_mV * latents - vectors).square().mean(-1)

    def weights(self) -> Weights:
        """Return the weights of a mean over the samples, in mV."""
        return (self.std_mV / self.size**0.5).expand(self.size)
