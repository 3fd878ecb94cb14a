"""Networks from scale vectors to windows: bare torch modules that know nothing of data, training or tracking."""

from cardioemu.models.layers import LSTM, Dense
from cardioemu.models.lstm_network import LSTMNetwork
from cardioemu.models.mlp import MLP
from cardioemu.models.network import Network
from cardioemu.models.normaliser import Normaliser
from cardioemu.models.parameters import parameter_table
from cardioemu.models.smoothing import gaussian_smoothed

NETWORKS: dict[str, type[Network]] = {"LSTMNetwork": LSTMNetwork, "MLP": MLP}
"""The only classes a checkpoint may name."""

__all__ = [
    "LSTM",
    "MLP",
    "NETWORKS",
    "Dense",
    "LSTMNetwork",
    "Network",
    "Normaliser",
    "gaussian_smoothed",
    "parameter_table",
]
