"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner, for smooth regression to many digits."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import nn

Decay = Annotated[float, Field(ge=0, lt=1)]
SMALLEST = 1e-8
WIDEST = 1024  # longer axes keep their basis: its product would take more than the step


class SOAP(torch.optim.Optimizer):
    """Adam along the eigenvectors of the averaged G G' and G' G of each gradient matrix G.

    The last two axes of a parameter are its matrix; those before count matrices of their own, as those of the members
    of an ensemble. A vector is a matrix of one row. An axis of length 1, or above 1 024, keeps its basis.

    Source: Vyas et al., SOAP: improving and stabilizing Shampoo using Adam, 2024, algorithm 3; the bases follow by one
    step of power iteration every few steps, as there. The mean gradient is kept in the basis, and turned with it.

    Args:
        params: Of a network.
        lr: Learning rate.
        beta1: Decay of the mean gradient.
        beta2: Decay of the mean square and of the preconditioner.
        every: Steps between two changes of the bases.
        warmup: Steps in which the learning rate rises from 0.
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
        """Take a step; a parameter without a gradient stays."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
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
            mean = _rotated_back(state["mean"], state)
            for side in pairs:
                state[f"{side}_basis"] = torch.linalg.qr(state[side] @ state[f"{side}_basis"]).Q
            state["mean"] = _rotated(mean, state)
        rotated = _rotated(gradient, state)
        state["mean"].lerp_(rotated, 1 - beta1)
        state["square"].lerp_(rotated.square(), 1 - beta2)
        direction = state["mean"] / (state["square"] / (1 - beta2**step)).sqrt_().add_(SMALLEST)
        warm = min(1.0, step / group["warmup"]) if group["warmup"] else 1.0
        change = _rotated_back(direction, state).reshape(parameter.shape)
        parameter.add_(change, alpha=-group["lr"] * warm / (1 - beta1**step))


def _matrices(gradient: torch.Tensor) -> torch.Tensor:
    rows, columns = torch.atleast_2d(gradient).shape[-2:]
    return gradient.reshape(-1, rows, columns)


def _pairs(gradient: torch.Tensor) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """What is multiplied to the products of a gradient with itself over either axis, of the axes that have a basis."""
    pairs = {"left": (gradient, gradient.mT), "right": (gradient.mT, gradient)}
    lengths = dict(zip(pairs, gradient.shape[-2:], strict=True))
    return {side: pair for side, pair in pairs.items() if 1 < lengths[side] <= WIDEST}


def _rotated(matrix: torch.Tensor, state: dict[str, Any]) -> torch.Tensor:
    matrix = state["left_basis"].mT @ matrix if "left" in state else matrix
    return matrix @ state["right_basis"] if "right" in state else matrix


def _rotated_back(matrix: torch.Tensor, state: dict[str, Any]) -> torch.Tensor:
    matrix = state["left_basis"] @ matrix if "left" in state else matrix
    return matrix @ state["right_basis"].mT if "right" in state else matrix
