"""The seed's network: an LSTM on a sequence of length 1 and two linear dense layers."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import nn

from cardioemu.models.layers import LSTM, Dense
from cardioemu.models.normaliser import Normaliser
from cardioemu.tensors import ScaleBatch, VoltageBatch


class SeedLSTM(nn.Module):
    """LSTM(inputs -> hidden), Dense(hidden -> hidden), Dense(hidden -> samples): one window from one scale vector.

    With `hidden=12000, samples=10000` it has the seed's 840 310 000 parameters. The sequence has length 1, so the
    recurrent kernel is held but never read and gets no gradient.

    Source: decoded from the seed's layer sizes and parameter count.

    Args:
        samples: Points of one window.
        inputs: Scaled conductances.
        hidden: Width of the LSTM and of the first dense layer.
        normalise: Put a `Normaliser` on the output; without it this is the bare seed, whose last layer gives mV.
    """

    normaliser: Normaliser | nn.Identity

    def __init__(
        self,
        samples: PositiveInt,
        inputs: PositiveInt = 5,
        hidden: PositiveInt = 256,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        self.lstm = LSTM(inputs, hidden)
        self.dense = Dense(hidden, hidden)
        self.readout = Dense(hidden, samples)
        self.normaliser = Normaliser(samples) if normalise else nn.Identity()

    def forward(self, scales: ScaleBatch) -> VoltageBatch:
        """Return the window of each scale vector.

        Args:
            scales: (batch, inputs), multiples of the control conductance.

        Returns:
            (batch, samples), in mV.
        """
        state = self.lstm(scales.unsqueeze(1))
        return self.normaliser(self.readout(self.dense(state)))

    def fit_normaliser(self, batches: Iterable[Float[torch.Tensor, "_ samples"]]) -> None:
        """Fit the normaliser to the training part; does nothing without one.

        Args:
            batches: as `Normaliser.fit` takes them.

        Raises:
            ValueError: As `Normaliser.fit`.
        """
        if isinstance(self.normaliser, Normaliser):
            self.normaliser.fit(batches)
