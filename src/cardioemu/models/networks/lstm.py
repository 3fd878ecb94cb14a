"""The seed's network and its followers: LSTM layers on a sequence of length 1, then linear dense layers."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import nn

from cardioemu.common.tensors import ScaleBatch, VoltageBatch
from cardioemu.models.layers.keras import LSTM, DeadWeights, Dense
from cardioemu.models.network import Network
from cardioemu.models.targets.normaliser import Normaliser


class LSTMNetwork(Network):
    """LSTM(inputs -> hidden) and more LSTM layers, dense layers, and Dense(hidden -> samples): one window per cell.

    With `hidden=12000, samples=10000`, one LSTM layer and two dense layers it has the seed's 840 310 000 parameters. Of
    the later LSTM2 and LSTM3 only the numbers of layers are published; that all are `hidden` wide, and all dense layers
    linear as the seed's, is ours.

    The sequence has length 1, so part of the LSTM layers is dead: `LSTM` says which.

    Source: decoded from the seed's layer sizes and parameter count.

    Args:
        samples: Points of one window.
        inputs: Scaled conductances.
        hidden: Width of every layer but the last.
        lstm_layers: How many LSTM layers.
        dense_layers: How many dense layers, the last included.
        dead_weights: "hold" the weights that cannot learn, or "drop" them: the same network in less memory.
        normalise: Put a `Normaliser` on the output; without it this is the bare seed, whose last layer gives mV.
    """

    normaliser: Normaliser | nn.Identity

    def __init__(
        self,
        samples: PositiveInt,
        inputs: PositiveInt = 5,
        hidden: PositiveInt = 256,
        lstm_layers: PositiveInt = 1,
        dense_layers: PositiveInt = 2,
        dead_weights: DeadWeights = "hold",
        normalise: bool = True,
    ) -> None:
        super().__init__()
        widths = [inputs, *[hidden] * (lstm_layers - 1)]
        self.lstm = nn.ModuleList(LSTM(width, hidden, dead_weights) for width in widths)
        for layer in self.lstm:
            if layer.recurrent_kernel is not None:
                # Said rather than left to be found: training in several processes waits for every expected gradient.
                layer.recurrent_kernel.requires_grad_(False)
        self.dense = nn.ModuleList(Dense(hidden, hidden) for _ in range(dense_layers - 1))
        self.readout = Dense(hidden, samples)
        self.normaliser = Normaliser(samples) if normalise else nn.Identity()

    def forward(self, scales: ScaleBatch) -> VoltageBatch:
        """Return the window of each scale vector.

        Args:
            scales: (batch, inputs), multiples of the control conductance.

        Returns:
            (batch, samples), in mV.
        """
        state = scales
        for layer in self.lstm:
            state = layer(state.unsqueeze(1))
        for layer in self.dense:
            state = layer(state)
        return self.normaliser(self.readout(state))

    def fit_target(self, batches: Iterable[Float[torch.Tensor, "_ samples"]]) -> None:
        """Fit the normaliser to the training part; does nothing without one.

        Args:
            batches: as `Normaliser.fit` takes them.

        Raises:
            ValueError: As `Normaliser.fit`.
        """
        if isinstance(self.normaliser, Normaliser):
            self.normaliser.fit(batches)
