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
    step of power iteration every few steps, as there.

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
        gradient, state = torch.atleast_2d(parameter.grad), self.state[parameter]
        beta1, beta2, products = group["beta1"], group["beta2"], _outer(gradient)
        if not state:
            state["step"] = 0
            state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
            for side, product in products.items():
                state[side], state[f"{side}_basis"] = product, torch.linalg.eigh(product).eigenvectors
        state["step"] = step = state["step"] + 1
        for side, product in products.items():
            state[side].lerp_(product, 1 - beta2)
            if step % group["every"] == 0:
                state[f"{side}_basis"] = torch.linalg.qr(state[side] @ state[f"{side}_basis"]).Q
        left, right = state.get("left_basis"), state.get("right_basis")
        state["mean"].lerp_(gradient, 1 - beta1)
        state["square"].lerp_(_rotated(gradient, left, right).square(), 1 - beta2)
        direction = _rotated(state["mean"], left, right) / (1 - beta1**step)
        direction /= (state["square"] / (1 - beta2**step)).sqrt() + SMALLEST
        warm = min(1.0, step / group["warmup"]) if group["warmup"] else 1.0
        change = _rotated(direction, None if left is None else left.mT, None if right is None else right.mT)
        parameter.add_(change.reshape(parameter.shape), alpha=-group["lr"] * warm)


def _outer(gradient: torch.Tensor) -> dict[str, torch.Tensor]:
    """Products of a gradient with itself over either axis, of the axes that have a basis."""
    products = {}
    if 1 < gradient.shape[-2] <= WIDEST:
        products["left"] = gradient @ gradient.mT
    if 1 < gradient.shape[-1] <= WIDEST:
        products["right"] = gradient.mT @ gradient
    return products


def _rotated(matrix: torch.Tensor, left: torch.Tensor | None, right: torch.Tensor | None) -> torch.Tensor:
    matrix = matrix if left is None else left.mT @ matrix
    return matrix if right is None else matrix @ right
