"""RMSprop as Keras 3 defines it; torch's own adds epsilon outside the root."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, overload

import torch
from pydantic import Field, PositiveFloat
from torch._subclasses.fake_tensor import FakeTensor
from torch.distributed.tensor import DTensor
from torch.optim.optimizer import Optimizer, ParamsT

BLOCK = 2**18  # numbers: 1 MB each of parameter, gradient, velocity and root
LARGE_BLOCK = 2**25  # numbers, where there are no caches to stay in: 134 MB of roots
Tensors = list[torch.Tensor]


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
            rows = [[p, p.grad, self._velocity(p)] for p in group["params"] if p.grad is not None]
            for part in _in_parts(rows):
                _update(group, *part)
        return loss

    def _velocity(self, parameter: torch.Tensor) -> torch.Tensor:
        state = self.state[parameter]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(parameter)
        return state["velocity"]


def _update(group: Mapping[str, Any], parameters: Tensors, gradients: Tensors, velocities: Tensors) -> None:
    torch._foreach_mul_(velocities, group["rho"])
    torch._foreach_addcmul_(velocities, gradients, gradients, value=1 - group["rho"])
    roots = list(torch._foreach_add(velocities, group["epsilon"]))
    torch._foreach_sqrt_(roots)
    torch._foreach_addcdiv_(parameters, gradients, roots, value=-group["lr"])


def _in_parts(rows: Sequence[Tensors]) -> Iterator[list[Tensors]]:
    """Yields what is updated in one go, so that the roots take little memory.

    On a CPU it is as much as its caches hold: the five operations fetch each number from memory once, not five times.
    Elsewhere it is all small parameters together, in few kernels, and the others in large blocks.
    """
    whole: list[Tensors] = []
    for row in rows:
        local = [t.to_local() if isinstance(t, DTensor) else t for t in row]  # elementwise: own shards
        on_cpu, numbers = local[0].is_cpu, local[0].numel()
        if not all(t.is_contiguous() for t in local) or not (on_cpu or numbers > LARGE_BLOCK):
            whole.append(local)
            continue
        flat, size = [t.view(-1) for t in local], BLOCK if on_cpu else LARGE_BLOCK
        begins = range(0, numbers, size)
        for i in begins[:1] if isinstance(local[0], FakeTensor) else begins:  # in a rehearsal one stands for all
            yield [[t[i : i + size]] for t in flat]
    if whole:
        yield [list(column) for column in zip(*whole, strict=True)]
