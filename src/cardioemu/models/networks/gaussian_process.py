"""A Gaussian process on the numbers of any representation of the window: the baseline where cells are few."""

import math
import warnings
from typing import Annotated, NamedTuple

import torch
from pydantic import Field, PositiveInt

from cardioemu.common.tensors import CellBatch, RowBatch, RowBatches, ScaleBatch
from cardioemu.models.layers.ensemble import Features
from cardioemu.models.layers.firing_head import FiringHead
from cardioemu.models.layers.matern import Matern
from cardioemu.models.networks.target_network import TargetName, TargetNetwork, make_target

MOST_CELLS = 4096
"""Time grows with the third power of the cells, memory with the second: so many take seconds and some 0.5 GB."""

NOWHERE = 1e9
"""Scale at which places for cells that there are not stand, each as far from the next: all covariances are 0 there."""


class Posterior(NamedTuple):
    """What the cells that are conditioned on say.

    Attributes:
        state: which tensors this was calculated from, and how often they had been changed by then.
        sources: these tensors, held so that no others get their identity.
        factor: lower Cholesky factor of the covariance of the cells, noise included (cells, cells).
        weights: the numbers of the cells divided by that covariance (cells, size).
    """

    state: list[tuple[int, object]]
    sources: list[torch.Tensor]
    factor: torch.Tensor
    weights: torch.Tensor


class GaussianProcess(TargetNetwork):
    """Numbers are posterior means of Gaussian processes given the training part; a network says whether the cell fires.

    All numbers share one covariance (`Matern`), whose parameters are trained; their prior mean is 0, the target's mean.
    Scale vectors and numbers of the training part are buffers, so that a checkpoint has them. Windows have gradients
    with respect to scales; the parameters of the covariance learn from `summed_error` alone.

    Source: Rasmussen and Williams, Gaussian processes for machine learning (2006), algorithm 2.1.

    Args:
        samples: Points of one window.
        begin_ms: Time of the first point, 0 being the AP start.
        interval_ms: Time from one to the next.
        inputs: Scaled conductances.
        target: What the numbers are, as of `make_target`.
        components: Principal components; "samples" has none.
        cells: Training rows that are conditioned on, at most; of more those are taken that come first.
    """

    known_scales: torch.Tensor
    known_numbers: torch.Tensor

    def __init__(
        self,
        samples: PositiveInt,
        begin_ms: float = 0.0,
        interval_ms: float = 1.0,
        inputs: PositiveInt = 5,
        target: TargetName = "samples",
        components: PositiveInt = 48,
        cells: Annotated[PositiveInt, Field(le=MOST_CELLS)] = 2048,
    ) -> None:
        super().__init__()
        self.target = make_target(target, samples, begin_ms, interval_ms, components)
        self.kernel = Matern(inputs)
        self.firing = FiringHead(1, inputs)
        self.register_buffer("known_scales", torch.empty(cells, inputs))
        self.register_buffer("known_numbers", torch.empty(cells, self.target.size))
        self.forget()
        self._posterior: Posterior | None = None

    def forget(self) -> None:
        """Condition on nothing again."""
        places = torch.arange(1, len(self.known_scales) + 1, device=self.known_scales.device)
        self.known_scales.copy_(NOWHERE * places[:, None])
        self.known_numbers.zero_()

    @torch.no_grad()
    def condition(self, scales: ScaleBatch, batches: RowBatches) -> None:
        """Condition on these rows of the training part, and no others.

        Warns:
            UserWarning: there are more than `cells`.
        """
        cells, known = len(self.known_scales), 0
        if len(scales) > cells:
            warnings.warn(
                f"model.cells: the Gaussian process is conditioned on {cells} of {len(scales)} training rows",
                stacklevel=2,
            )
        self.forget()
        self.known_scales[: len(scales)] = scales[:cells]
        for rows in batches:
            taken = rows[: cells - known]
            self.known_numbers[known : known + len(taken)] = self.target.encode(taken)
            known += len(taken)
            if known == cells:
                break

    def member_latents(self, scales: ScaleBatch) -> Features:
        """Return the posterior means."""
        mean = self.kernel(scales, self.known_scales) @ self.posterior().weights
        return mean.to(scales.dtype)[None]

    @property
    def has_uncertainty(self) -> bool:
        """Whether it says how unsure it is: without members, too."""
        return True

    def epistemic_std(self, scales: ScaleBatch) -> CellBatch:
        """Return the posterior standard deviation of the numbers, in the root of the squared error."""
        return self.spread(scales) * self.target.weights().norm()

    def spread(self, scales: ScaleBatch) -> CellBatch:
        """Return the posterior standard deviation that all numbers of a cell have (batch,), without the noise."""
        covariance = self.kernel(self.known_scales, scales)
        told = torch.linalg.solve_triangular(self.posterior().factor, covariance, upper=False).square().sum(0)
        return (self.kernel.variance - told).clamp(min=0).sqrt().to(scales.dtype)

    def loss(self, scales: ScaleBatch, rows: RowBatch) -> torch.Tensor:
        """Return the negative logarithm of the marginal likelihood of a batch, averaged over the numbers.

        The chain rule makes it a sum over the rows, of how unlikely each is after those before it. Numbers weigh as in
        the target's squared error: were they alike, the many small components, which are rougher, would set the length
        scales of the landmarks. A batch is one sample of the process: large ones tell more of its length scales.
        """
        weights = self.target.weights().double().square()
        factor = torch.linalg.cholesky(self.kernel(scales))
        surprise = torch.linalg.solve_triangular(factor, self.target.encode(rows).double(), upper=False)
        mean_square = surprise.square() @ (weights / weights.sum())
        of_each = (mean_square + math.log(2 * math.pi)) / 2 + factor.diagonal().log()
        return of_each.sum().to(scales.dtype)

    # Numbers of a posterior made under inference_mode could not be differentiated later.
    @torch.inference_mode(False)
    @torch.no_grad()
    def posterior(self) -> Posterior:
        """Return what the cells say, calculated where any tensor it hangs on has changed since the last time."""
        sources = [*self.kernel.parameters(), self.known_scales, self.known_numbers]
        # A tensor made under inference_mode counts no changes: it may always have changed.
        state = [(id(tensor), object() if tensor.is_inference() else tensor._version) for tensor in sources]
        if self._posterior is None or self._posterior.state != state:
            factor = torch.linalg.cholesky(self.kernel(self.known_scales))
            weights = torch.cholesky_solve(self.known_numbers.double(), factor)
            self._posterior = Posterior(state, sources, factor, weights)
        return self._posterior
