"""The covariance of smooth unknown functions of the scales."""

import math

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import nn

from cardioemu.common.tensors import ScaleBatch

NOISE = 0.1
"""Standard deviation of the noise that training begins with."""

JITTER = 1e-9
"""Part of the variance that is always noise: without it the matrix of cells that lie close has no Cholesky factor."""

PACE = 10.0
"""Steps of optimisers are as the weights of networks need them; the logarithms here have further to go."""


class Matern(nn.Module):
    """The Matérn covariance of smoothness 5/2 with a length scale for each input, and the noise of what is observed.

    Its parameters are logarithms divided by `PACE`: of the length scales (inputs,), in multiples of the control
    conductance, and of the standard deviations of the function and of the noise (1,), in units of the function. All is
    calculated in float64.

    Source: Rasmussen and Williams, Gaussian processes for machine learning (2006), equation 4.17.

    Args:
        inputs: Scaled conductances.
    """

    def __init__(self, inputs: PositiveInt) -> None:
        super().__init__()
        self.log_lengths = nn.Parameter(torch.zeros(inputs))
        self.log_amplitude = nn.Parameter(torch.zeros(1))
        self.log_noise = nn.Parameter(torch.full((1,), math.log(NOISE) / PACE))

    @property
    def variance(self) -> torch.Tensor:
        """Of the function, before any of it is observed (1,)."""
        return (2 * PACE * self.log_amplitude.double()).exp()

    def forward(
        self, scales: ScaleBatch, others: Float[torch.Tensor, "others scaled"] | None = None
    ) -> Float[torch.Tensor, "batch columns"]:
        """Return the covariance (batch, others) of the function, or (batch, batch) of what is observed, with noise."""
        lengths = (PACE * self.log_lengths.double()).exp()
        here = scales.double() / lengths
        there = here if others is None else others.double() / lengths
        # Not by products, which lose the digits of small distances.
        distance = math.sqrt(5) * torch.cdist(here, there, compute_mode="donot_use_mm_for_euclid_dist")
        covariance = self.variance * (1 + distance + distance.square() / 3) * (-distance).exp()
        if others is not None:
            return covariance
        noise = (2 * PACE * self.log_noise.double()).exp() + JITTER * self.variance
        return covariance + noise.expand(len(scales)).diag_embed()
