"""Layers as Keras defines them: a network described in Keras has the same parameters and the same start here."""

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import nn
from torch.nn import functional


class LSTM(nn.Module):
    """One LSTM layer with Keras' parameters, started from a zero state, that returns its last hidden state.

    Gates stand in the order input, forget, candidate, output; each has `hidden` rows. `kernel` has the shape
    (4 hidden, inputs), `recurrent_kernel` (4 hidden, hidden) and the single `bias` (4 hidden,). They start
    glorot-uniform, orthogonal, and zero with ones for the forget gate.

    Source: Keras 3, https://keras.io/api/layers/recurrent_layers/lstm/ (defaults of `keras.layers.LSTM`).

    Args:
        inputs: Values per time step.
        hidden: Width of the state.
    """

    def __init__(self, inputs: PositiveInt, hidden: PositiveInt) -> None:
        super().__init__()
        self.inputs = inputs
        self.hidden = hidden
        self.kernel = nn.Parameter(torch.empty(4 * hidden, inputs))
        self.recurrent_kernel = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.bias = nn.Parameter(torch.empty(4 * hidden))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the initial parameters; does nothing on the meta device."""
        nn.init.xavier_uniform_(self.kernel)
        nn.init.orthogonal_(self.recurrent_kernel)
        with torch.no_grad():
            _, forget, _, _ = self.bias.zero_().chunk(4)
            forget.fill_(1.0)

    def forward(self, sequence: Float[torch.Tensor, "batch time inputs"]) -> Float[torch.Tensor, "batch hidden"]:
        """Return the hidden state after the last time step.

        Args:
            sequence: (batch, time, inputs).

        Returns:
            (batch, hidden).

        Raises:
            ValueError: The sequence has no time step.
        """
        if sequence.shape[1] == 0:
            raise ValueError("An LSTM needs a sequence of at least one time step, this one has none.")
        first, *later = functional.linear(sequence, self.kernel, self.bias).unbind(1)
        # The initial state is zero: the recurrent product and what the forget gate lets through are exactly zero, so
        # neither is computed. At the seed's size this spares reading 2.3 GB of weights, and as much again of gradient.
        entry, _, candidate, exit_ = first.chunk(4, dim=-1)
        cell = entry.sigmoid() * candidate.tanh()
        state = exit_.sigmoid() * cell.tanh()
        for step in later:
            entry, forget, candidate, exit_ = (step + functional.linear(state, self.recurrent_kernel)).chunk(4, dim=-1)
            cell = forget.sigmoid() * cell + entry.sigmoid() * candidate.tanh()
            state = exit_.sigmoid() * cell.tanh()
        return state

    def extra_repr(self) -> str:
        """Return the sizes, for print."""
        return f"inputs={self.inputs}, hidden={self.hidden}"


class Dense(nn.Linear):
    """A linear dense layer with Keras' start: glorot-uniform weights and zero bias.

    Source: Keras 3, https://keras.io/api/layers/core_layers/dense/ (defaults of `keras.layers.Dense`).

    Args:
        inputs: Width of the input, (..., inputs).
        outputs: Width of the output, (..., outputs).
    """

    def __init__(self, inputs: PositiveInt, outputs: PositiveInt) -> None:
        super().__init__(inputs, outputs)

    def reset_parameters(self) -> None:
        """Draw the initial parameters; does nothing on the meta device."""
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)
