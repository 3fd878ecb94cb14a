"""The output normaliser: what turns a network's numbers near zero and one into mV."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from pydantic import PositiveInt

from cardioemu.common.tensors import RowBatch, VoltageBatch
from cardioemu.models.targets.target import Errors, Latents, Representation, Weights

ROWS_AT_ONCE = 32
"""Windows turned to float64 at a time in `fit`."""


class Normaliser(Representation):
    """The affine map from a network's output to mV, with the mean window and one standard deviation as buffers.

    `mean_mV` has the shape (samples,), `std_mV` (); until fitted they are 0 and 1, the identity. There is one standard
    deviation for all samples because the one per sample is zero at the aligned AP start.

    Args:
        samples: Points of one window.
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
        """Go back to the identity; does nothing on the meta device."""
        self.mean_mV.zero_()
        self.std_mV.fill_(1.0)

    @torch.no_grad()
    def fit(self, batches: Iterable[Float[torch.Tensor, "_ samples"]]) -> None:
        """Set the mean window and the root mean square deviation from it.

        A set in which all windows are equal gets a standard deviation of 1 mV: the mean alone says everything about
        it, and the network's output stays in mV instead of being multiplied away.

        Args:
            batches: (windows, samples) in mV, which together are the training part; memory holds one at a time.

        Raises:
            ValueError: There is no window, the windows have another length, or a value is not finite.

        Source: Chan, Golub and LeVeque, Am. Stat. 37 (1983), for joining the deviations of parts.
        """
        samples = self.mean_mV.numel()
        # float64: in float32 the sum of a million windows would lose the digits that the deviation needs.
        count, mean, squares = 0, torch.zeros(samples, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for part in (part for batch in batches for part in batch.split(ROWS_AT_ONCE)):
            if part.shape[-1] != samples:
                raise ValueError(f"The normaliser is for {samples} samples per window, these have {part.shape[-1]}.")
            rows = part.double()
            # Both parts about the mean of their own, and what moving them to the common mean adds.
            own = rows.mean(0)
            weight = len(rows) / (count + len(rows))
            squares += (rows - own).square().sum() + count * weight * (own - mean).square().sum()
            mean += weight * (own - mean)
            count += len(rows)
        if count == 0:
            raise ValueError("The normaliser cannot be fitted: the training part has no windows.")
        if not mean.isfinite().all():
            raise ValueError("The normaliser cannot be fitted: the training part has values that are not finite.")
        std = (squares / (count * samples)).sqrt()
        # Equal windows leave the rounding error of their mean, not zero; float32 data hold nothing real below this.
        noise = torch.finfo(torch.float32).eps * mean.abs().max()
        self.mean_mV.copy_(mean)
        self.std_mV.copy_(std if std > noise else torch.ones_like(std))

    def forward(self, z: Float[torch.Tensor, "batch samples"]) -> VoltageBatch:
        """Return `mean_mV + std_mV * z`.

        Args:
            z: (batch, samples), dimensionless.

        Returns:
            (batch, samples), in mV.
        """
        return self.mean_mV + self.std_mV * z

    def encode(self, rows: RowBatch) -> Latents:
        """Return `(rows - mean_mV) / std_mV`, which `forward` undoes."""
        return (rows - self.mean_mV) / self.std_mV

    def squared_error(self, z: Float[torch.Tensor, "*members batch samples"], rows: RowBatch) -> Errors:
        """Return the mean squared error of each window in mV^2."""
        return (self.mean_mV + self.std_mV * z - rows).square().mean(-1)

    def weights(self) -> Weights:
        """Return those of a mean over the samples, in mV."""
        return (self.std_mV / self.size**0.5).expand(self.size)
