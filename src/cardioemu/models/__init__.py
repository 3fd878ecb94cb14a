"""Networks from scale vectors to windows: bare torch modules that know nothing of data, training or tracking."""

from cardioemu.models.coordinate import Coordinate
from cardioemu.models.decoder import Decoder
from cardioemu.models.gaussian_process import GaussianProcess
from cardioemu.models.layers import LSTM, Dense
from cardioemu.models.lstm_network import LSTMNetwork
from cardioemu.models.mlp import MLP
from cardioemu.models.network import Network, Told
from cardioemu.models.normaliser import Normaliser
from cardioemu.models.parameters import parameter_table
from cardioemu.models.smoothing import gaussian_smoothed

NETWORKS: dict[str, type[Network]] = {
    "Coordinate": Coordinate,
    "Decoder": Decoder,
    "GaussianProcess": GaussianProcess,
    "LSTMNetwork": LSTMNetwork,
    "MLP": MLP,
}
"""The only classes a checkpoint may name."""

__all__ = [
    "LSTM",
    "MLP",
    "NETWORKS",
    "Coordinate",
    "Decoder",
    "Dense",
    "GaussianProcess",
    "LSTMNetwork",
    "Network",
    "Normaliser",
    "Told",
    "gaussian_smoothed",
    "parameter_table",
]
