"""Networks that predict windows from scale vectors: torch modules, independent of data, training and tracking."""

from cardioemu.models.layers.gaussian_filter import gaussian_filter1d
from cardioemu.models.layers.keras import LSTM, Dense
from cardioemu.models.network import Network, NetworkOutput
from cardioemu.models.networks.coordinate import Coordinate
from cardioemu.models.networks.decoder import Decoder
from cardioemu.models.networks.lstm import LSTMNetwork
from cardioemu.models.networks.mlp import MLP
from cardioemu.models.parameters import parameter_table
from cardioemu.models.targets.normaliser import Normaliser

NETWORKS: dict[str, type[Network]] = {each.__name__: each for each in (Coordinate, Decoder, LSTMNetwork, MLP)}
"""The only classes a checkpoint may name."""

__all__ = [
    "LSTM",
    "MLP",
    "NETWORKS",
    "Coordinate",
    "Decoder",
    "Dense",
    "LSTMNetwork",
    "Network",
    "NetworkOutput",
    "Normaliser",
    "gaussian_filter1d",
    "parameter_table",
]
