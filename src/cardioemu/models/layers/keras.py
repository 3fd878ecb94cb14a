"""Layers as Keras defines them: a network described in Keras has the same parameters and initialisation here."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import nn
from torch.nn import functional

DeadWeights = Literal["hold", "drop"]


class LSTM(nn.Module):
    """One LSTM layer with Keras' parameters and a zero initial state; it returns its last hidden state.

    The order of the gates is input, forget, candidate, output; each has `hidden` rows. The shape of `kernel` is
    (4 hidden, inputs), of `recurrent_kernel` (4 hidden, hidden) and of the single `bias` (4 hidden,). Their initial
    values are glorot-uniform, orthogonal, and zero with ones for the forget gate.

    On a sequence of length 1 the forget gate multiplies the zero state, and the recurrent kernel the zero hidden state:
    these dead weights change nothing and get no gradient. Without them `kernel` is (3 hidden, inputs) and `bias`
    (3 hidden,), and the same random seed gives the other weights the same initial values. Proof:
    docs/decisions/0014-dead-weights.md.

    Source: Keras 3, https://keras.io/api/layers/recurrent_layers/lstm/ (defaults of `keras.layers.LSTM`).

    Args:
        inputs: Number of values per time step.
        hidden: Width of the state.
        dead_weights: "hold"; "drop" only for sequences of length 1.
    """

    def __init__(self, inputs: PositiveInt, hidden: PositiveInt, dead_weights: DeadWeights = "hold") -> None:
        super().__init__()
        self.inputs = inputs
        self.hidden = hidden
        has_dead_weights = dead_weights == "hold"
        self.gates = 4 if has_dead_weights else 3
        self.kernel = nn.Parameter(torch.empty(self.gates * hidden, inputs))
        self.recurrent_kernel = nn.Parameter(torch.empty(4 * hidden, hidden)) if has_dead_weights else None
        self.bias = nn.Parameter(torch.empty(self.gates * hidden))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the initial parameters; does nothing on the meta device."""
        limit = math.sqrt(6 / (self.inputs + 4 * self.hidden))  # of glorot: four gates, with or without dead weights
        self.bias.zero_()
        input_gate, *forget, candidate, output_gate = self.kernel.chunk(self.gates)
        for weights in (input_gate, candidate, output_gate):
            weights.uniform_(-limit, limit)
        if self.recurrent_kernel is not None:
            self.bias.chunk(4)[1].fill_(1.0)
            with torch.random.fork_rng(devices=[]):  # later random numbers do not depend on the dead weights
                forget[0].uniform_(-limit, limit)
                _fill_orthonormal_columns(self.recurrent_kernel)

    def forward(self, sequence: Float[torch.Tensor, "batch time inputs"]) -> Float[torch.Tensor, "batch hidden"]:
        """Return the hidden state (batch, hidden) after the last time step.

        Raises:
            ValueError: The sequence has no time step, or more than one while the layer has no recurrent kernel.
        """
        if sequence.shape[1] == 0:
            raise ValueError("An LSTM needs at least one time step; this sequence has none.")
        first, *later = (_affine(step, self.kernel, self.bias) for step in sequence.unbind(1))
        # The initial state is zero, so the products with the forget gate and the recurrent kernel are zero and are not
        # computed. At the published size this saves reading 2.3 GB of weights, and as much again of gradients.
        input_gate, *_, candidate, output_gate = first.chunk(self.gates, dim=-1)
        cell = input_gate.sigmoid() * candidate.tanh()
        state = output_gate.sigmoid() * cell.tanh()
        for step in later:
            if self.recurrent_kernel is None:
                raise ValueError("An LSTM without its dead weights needs sequences of one time step; this has more.")
            gates = step + functional.linear(state, self.recurrent_kernel)
            input_gate, forget, candidate, output_gate = gates.chunk(4, dim=-1)
            cell = forget.sigmoid() * cell + input_gate.sigmoid() * candidate.tanh()
            state = output_gate.sigmoid() * cell.tanh()
        return state

    def extra_repr(self) -> str:
        """Return the sizes, which print shows."""
        return f"inputs={self.inputs}, hidden={self.hidden}"


def _affine(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return `x weight' + bias` for x (batch, inputs), like `torch.nn.functional.linear`.

    The transpose is computed: for small batches and many weights a CPU then needs half the time, forward and backward
    (benchmarks/training.py).
    """
    return torch.addmm(bias.unsqueeze(1), weight, x.mT).mT


def _fill_orthonormal_columns(tall: torch.Tensor) -> None:
    """Fill a matrix with random orthonormal columns, like `torch.nn.init.orthogonal_`.

    In A = Q R, R is the Cholesky factor of A' A, because R' R = A' A; its diagonal is positive, which makes Q uniformly
    distributed. A Gaussian matrix four times as tall as wide has a condition number near 3, so no digits are lost. This
    takes 12 n^3 operations, nearly all in matrix products, and no second tall matrix; reflections take 15 n^3.

    Source: Trefethen and Bau, Numerical Linear Algebra (1997), lecture 23; Mezzadri, Notices AMS 54 (2007), 592.
    """
    tall.normal_()
    upper = torch.linalg.cholesky(tall.mT @ tall).mT
    for square in tall.split(tall.shape[1]):
        square.copy_(torch.linalg.solve_triangular(upper, square, upper=True, left=False))


class Dense(nn.Linear):
    """A linear dense layer with Keras' initialisation: glorot-uniform weights and zero bias.

    Source: Keras 3, https://keras.io/api/layers/core_layers/dense/ (defaults of `keras.layers.Dense`).
    """

    def __init__(self, inputs: PositiveInt, outputs: PositiveInt) -> None:
        super().__init__(inputs, outputs)

    def reset_parameters(self) -> None:
        """Draw the initial parameters; does nothing on the meta device."""
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Float[torch.Tensor, "batch inputs"]) -> Float[torch.Tensor, "batch outputs"]:
        """Return (batch, outputs)."""
        return _affine(x, self.weight, self.bias)
