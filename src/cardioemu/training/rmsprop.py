"""RMSprop as Keras 3 defines it; torch's own adds epsilon outside the root."""

from collections.abc import Callable
from typing import Annotated, Any, overload

import torch
from pydantic import Field, PositiveFloat
from torch.optim.optimizer import Optimizer, ParamsT


class KerasRMSprop(Optimizer):
    """RMSprop with epsilon inside the root, without momentum and not centered.

    With gradient g: `velocity = rho velocity + (1 - rho) g^2`, then `p -= lr g / sqrt(velocity + epsilon)`.
    A parameter without gradient is left alone and costs no velocity. `state_dict` resumes exactly.

    Source: Keras 3, https://keras.io/api/optimizers/rmsprop/ (rule and defaults); the method is from Hinton, Neural
    Networks for Machine Learning, lecture 6e (2012).

    Args:
        params: Parameters, or groups of them with their own `lr`, `rho` and `epsilon`.
        lr: Learning rate.
        rho: Share of the velocity kept at each step.
        epsilon: Added to the velocity under the root, in the unit of a squared gradient.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: PositiveFloat = 0.001,
        rho: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        epsilon: PositiveFloat = 1e-7,
    ) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "epsilon": epsilon})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient.

        Args:
            closure: Evaluates the loss, a number or a tensor of one, and its gradients anew.

        Returns:
            What the closure returned; None without one.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            # The foreach operations refuse empty lists.
            if not parameters:
                continue
            gradients = [p.grad for p in parameters]
            velocities = [self._velocity(p) for p in parameters]
            torch._foreach_mul_(velocities, group["rho"])
            torch._foreach_addcmul_(velocities, gradients, gradients, value=1 - group["rho"])
            roots = torch._foreach_add(velocities, group["epsilon"])
            torch._foreach_sqrt_(roots)
            torch._foreach_addcdiv_(parameters, gradients, roots, value=-group["lr"])
        return loss

    def _velocity(self, parameter: torch.Tensor) -> torch.Tensor:
        state = self.state[parameter]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(parameter)
        return state["velocity"]
