"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner, for accurate regression of smooth functions."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import nn

Decay = Annotated[float, Field(ge=0, lt=1)]
EPSILON = 1e-8
MAX_AXIS = 1024  # longer axes are not rotated: the product with their basis would take longer than the step


class SOAP(torch.optim.Optimizer):
    """Adam along the eigenvectors of the averages of G G' and G' G for each gradient matrix G.

    The matrices are the last two axes of a parameter; the axes before number separate matrices, such as those of the
    members of an ensemble. A vector is a matrix with one row. An axis of length 1, or above 1 024, is not rotated.

    Source: Vyas et al., SOAP: improving and stabilizing Shampoo using Adam, 2024, algorithm 3, including the update of
    the bases by one step of power iteration. The mean gradient is stored in the basis, and rotated with it.

    Args:
        params: Parameters of a network.
        lr: Learning rate.
        beta1: Decay of the mean gradient.
        beta2: Decay of the mean square and of the preconditioner.
        every: Steps from one update of the bases to the next.
        warmup: Steps in which the learning rate rises linearly from 0.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: PositiveFloat = 2e-3,
        beta1: Decay = 0.95,
        beta2: Decay = 0.95,
        every: PositiveInt = 10,
        warmup: NonNegativeInt = 200,
    ) -> None:
        super().__init__(params, {"lr": lr, "beta1": beta1, "beta2": beta2, "every": every, "warmup": warmup})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient; return the result of the closure, which computes them."""
        loss = torch.enable_grad()(closure)() if closure else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, group)
        return loss

    def _step(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        assert parameter.grad is not None
        gradient, state = _matrices(parameter.grad), self.state[parameter]
        beta1, beta2, pairs = group["beta1"], group["beta2"], _pairs(gradient)
        if not state:
            state["step"] = 0
            state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
            for side, pair in pairs.items():
                state[side] = torch.bmm(*pair)
                state[f"{side}_basis"] = torch.linalg.eigh(state[side]).eigenvectors
        state["step"] = step = state["step"] + 1
        for side, pair in pairs.items():
            state[side].baddbmm_(*pair, beta=beta2, alpha=1 - beta2)
        if step % group["every"] == 0:
            mean = _rotate_back(state["mean"], state)
            for side in pairs:
                state[f"{side}_basis"] = torch.linalg.qr(state[side] @ state[f"{side}_basis"]).Q
            state["mean"] = _rotate(mean, state)
        rotated = _rotate(gradient, state)
        state["mean"].lerp_(rotated, 1 - beta1)
        state["square"].lerp_(rotated.square(), 1 - beta2)
        direction = state["mean"] / (state["square"] / (1 - beta2**step)).sqrt_().add_(EPSILON)
        warm = min(1.0, step / group["warmup"]) if group["warmup"] else 1.0
        change = _rotate_back(direction, state).reshape(parameter.shape)
        parameter.add_(change, alpha=-group["lr"] * warm / (1 - beta1**step))


def _matrices(gradient: torch.Tensor) -> torch.Tensor:
    rows, columns = torch.atleast_2d(gradient).shape[-2:]
    return gradient.reshape(-1, rows, columns)


def _pairs(gradient: torch.Tensor) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return the factors of G G' ("left") and G' G ("right"), for the axes that are rotated."""
    pairs = {"left": (gradient, gradient.mT), "right": (gradient.mT, gradient)}
    lengths = dict(zip(pairs, gradient.shape[-2:], strict=True))
    return {side: pair for side, pair in pairs.items() if 1 < lengths[side] <= MAX_AXIS}


def _rotate(matrix: torch.Tensor, state: dict[str, Any]) -> torch.Tensor:
    matrix = state["left_basis"].mT @ matrix if "left" in state else matrix
    return matrix @ state["right_basis"] if "right" in state else matrix


def _rotate_back(matrix: torch.Tensor, state: dict[str, Any]) -> torch.Tensor:
    matrix = state["left_basis"] @ matrix if "left" in state else matrix
    return matrix @ state["right_basis"].mT if "right" in state else matrix
