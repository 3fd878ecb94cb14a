"""Networks from scale vectors to windows: bare torch modules that know nothing of data, training or tracking."""

from torch import nn

from cardioemu.models.layers import LSTM, Dense
from cardioemu.models.normaliser import Normaliser
from cardioemu.models.parameters import parameter_table
from cardioemu.models.seed_lstm import SeedLSTM

NETWORKS: dict[str, type[nn.Module]] = {"SeedLSTM": SeedLSTM}
"""The only classes a checkpoint may name."""

__all__ = ["LSTM", "NETWORKS", "Dense", "Normaliser", "SeedLSTM", "parameter_table"]
