"""The published LSTM and its two successors: LSTM layers on a sequence of length 1, then linear dense layers."""

from typing import ClassVar

from pydantic import PositiveInt
from torch import nn

from cardioemu.common.tensors import ScaleBatch, VectorBatches, VoltageBatch
from cardioemu.models.layers.keras import LSTM, DeadWeights, Dense
from cardioemu.models.network import Network
from cardioemu.models.targets.normaliser import Normaliser


class LSTMNetwork(Network):
    """LSTM(inputs -> hidden), more LSTM layers, dense layers, and Dense(hidden -> samples): one window per cell.

    With `hidden=12000, samples=10000`, one LSTM layer and two dense layers it has the 840 310 000 parameters of the
    published LSTM. For its successors LSTM2 and LSTM3 only the numbers of layers are published; here all layers have
    the width `hidden`, and all dense layers are linear as in the published LSTM.

    The sequence has length 1, so some weights of the LSTM layers are dead, see `LSTM`.

    Source: inferred from the published layer sizes and parameter count.

    Args:
        hidden: Width of every layer except the last.
        lstm_layers: Number of LSTM layers.
        dense_layers: Number of dense layers, including the last.
        dead_weights: "hold" the weights that cannot learn, or "drop" them: the same network in less memory.
        normalise: Whether a `Normaliser` follows the last layer; without it the last layer predicts mV, as published.
    """

    size_argument = "hidden"
    equivalent_arguments: ClassVar = {"dead_weights": "drop"}
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
                # Training in several processes would wait for its gradient, which never comes.
                layer.recurrent_kernel.requires_grad_(False)
        self.dense = nn.ModuleList(Dense(hidden, hidden) for _ in range(dense_layers - 1))
        self.readout = Dense(hidden, samples)
        self.normaliser = Normaliser(samples) if normalise else nn.Identity()

    def forward(self, scales: ScaleBatch) -> VoltageBatch:
        """Return the window of each scale vector in mV."""
        state = scales
        for layer in self.lstm:
            state = layer(state.unsqueeze(1))
        for layer in self.dense:
            state = layer(state)
        return self.normaliser(self.readout(state))

    def fit_target(self, batches: VectorBatches) -> None:
        """Fit the normaliser, if there is one, as in `Normaliser.fit`."""
        if isinstance(self.normaliser, Normaliser):
            self.normaliser.fit(batches)
