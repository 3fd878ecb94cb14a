"""Layers as Keras defines them: a network described in Keras has the same parameters and the same start here."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import nn
from torch.nn import functional

DeadWeights = Literal["hold", "drop"]


class LSTM(nn.Module):
    """One LSTM layer with Keras' parameters, started from a zero state, that returns its last hidden state.

    Gates stand in the order input, forget, candidate, output; each has `hidden` rows. `kernel` has the shape
    (4 hidden, inputs), `recurrent_kernel` (4 hidden, hidden) and the single `bias` (4 hidden,). They start
    glorot-uniform, orthogonal, and zero with ones for the forget gate.

    On a sequence of length 1 the forget gate multiplies the zero state and the recurrent kernel the zero hidden state:
    dead weights, which change nothing and get no gradient. Without them `kernel` is (3 hidden, inputs), `bias`
    (3 hidden,), and the same random state gives the other weights the same start
    (docs/decisions/0014-dead-weights.md has the proof).

    Source: Keras 3, https://keras.io/api/layers/recurrent_layers/lstm/ (defaults of `keras.layers.LSTM`).

    Args:
        inputs: Values per time step.
        hidden: Width of the state.
        dead_weights: "hold", or "drop" for sequences of length 1 only.
    """

    def __init__(self, inputs: PositiveInt, hidden: PositiveInt, dead_weights: DeadWeights = "hold") -> None:
        super().__init__()
        self.inputs = inputs
        self.hidden = hidden
        held = dead_weights == "hold"
        self.gates = 4 if held else 3
        self.kernel = nn.Parameter(torch.empty(self.gates * hidden, inputs))
        self.recurrent_kernel = nn.Parameter(torch.empty(4 * hidden, hidden)) if held else None
        self.bias = nn.Parameter(torch.empty(self.gates * hidden))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the initial parameters; does nothing on the meta device."""
        limit = math.sqrt(6 / (self.inputs + 4 * self.hidden))  # glorot's, of all four gates whether held or not
        self.bias.zero_()
        entry, *forget, candidate, exit_ = self.kernel.chunk(self.gates)
        for live in (entry, candidate, exit_):
            live.uniform_(-limit, limit)
        if self.recurrent_kernel is not None:
            self.bias.chunk(4)[1].fill_(1.0)
            with torch.random.fork_rng(devices=[]):  # what is drawn next does not depend on the dead weights
                forget[0].uniform_(-limit, limit)
                _orthonormal_columns(self.recurrent_kernel)

    def forward(self, sequence: Float[torch.Tensor, "batch time inputs"]) -> Float[torch.Tensor, "batch hidden"]:
        """Return the hidden state after the last time step.

        Args:
            sequence: (batch, time, inputs).

        Returns:
            (batch, hidden).

        Raises:
            ValueError: The sequence has no time step, or more than one and the layer no recurrent kernel.
        """
        if sequence.shape[1] == 0:
            raise ValueError("An LSTM needs a sequence of at least one time step, this one has none.")
        first, *later = (_affine(step, self.kernel, self.bias) for step in sequence.unbind(1))
        # The initial state is zero: the recurrent product and what the forget gate lets through are exactly zero, so
        # neither is computed. At the seed's size this spares reading 2.3 GB of weights, and as much again of gradient.
        entry, *_, candidate, exit_ = first.chunk(self.gates, dim=-1)
        cell = entry.sigmoid() * candidate.tanh()
        state = exit_.sigmoid() * cell.tanh()
        for step in later:
            if self.recurrent_kernel is None:
                raise ValueError("An LSTM without its dead weights takes sequences of one time step, this has more.")
            entry, forget, candidate, exit_ = (step + functional.linear(state, self.recurrent_kernel)).chunk(4, dim=-1)
            cell = forget.sigmoid() * cell + entry.sigmoid() * candidate.tanh()
            state = exit_.sigmoid() * cell.tanh()
        return state

    def extra_repr(self) -> str:
        """Return the sizes, for print."""
        return f"inputs={self.inputs}, hidden={self.hidden}"


def _affine(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Returns `x weight' + bias` of rows (batch, inputs), as `torch.nn.functional.linear` does.

    Calculated as its transpose: with few rows and many weights a CPU then takes half the time, forward and backward
    (benchmarks/training.py).
    """
    return torch.addmm(bias.unsqueeze(1), weight, x.mT).mT


def _orthonormal_columns(tall: torch.Tensor) -> None:
    """Fills a matrix with random orthonormal columns, as `torch.nn.init.orthogonal_` does.

    A = Q R has R' R = A' A, so R is a Cholesky factor and Q = A / R, with the positive diagonal of R that makes Q
    evenly distributed. A Gaussian matrix four times as tall as wide has a condition number near 3, so this loses no
    digits; it takes 12 n^3 operations where reflections take 15 n^3, nearly all in matrix products, and no second tall
    matrix.

    Source: Trefethen and Bau, Numerical Linear Algebra (1997), lecture 23; Mezzadri, Notices AMS 54 (2007), 592.
    """
    tall.normal_()
    upper = torch.linalg.cholesky(tall.mT @ tall).mT
    for rows in tall.split(tall.shape[1]):
        rows.copy_(torch.linalg.solve_triangular(upper, rows, upper=True, left=False))


class Dense(nn.Linear):
    """A linear dense layer of rows (batch, inputs), with Keras' start: glorot-uniform weights and zero bias.

    Source: Keras 3, https://keras.io/api/layers/core_layers/dense/ (defaults of `keras.layers.Dense`).

    Args:
        inputs: Width of the input.
        outputs: Width of the output.
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
