"""Everything about an emulator except its weights: inputs, outputs, valid range and origin."""

from dataclasses import dataclass, field
from typing import Any

import torch

from cardioemu.common.errors import UserError
from cardioemu.common.old_names import REMOVED_NETWORKS
from cardioemu.models import NETWORKS, Network

# Increase it when the content of a checkpoint changes. Version 1 did not describe the training cells.
VERSION = 3


@dataclass(frozen=True)
class Specification:
    """Everything about an emulator except its weights, as plain values and one tensor; part of every checkpoint.

    It suffices to simulate, window and split the emulator's cells again, with identical results.

    Attributes:
        network: class name of the network, one of `cardioemu.models.NETWORKS`.
        network_arguments: constructor arguments of the network.
        scaled: names of the inputs, in order.
        lowest: smallest scale of each input in the train split.
        highest: largest scale of each input in the train split.
        window: arguments of the `WindowRule` of the output.
        simulator_arguments: arguments of the `CellSettings` of the simulated cells.
        cell_sha256: digest of the cell model (`Cell.digest`).
        solver: arguments of the `SolverSettings`.
        split: arguments of the `SplitRule`.
        windows_key: key of the window set that the emulator was trained on.
        design: scale vectors of all cells, those of validation and test included (cells, scaled), float64.
        sigma_points: standard deviation, in samples, of the Gaussian filter applied to predictions; 0 disables it.
        interval_factors: by output, the half-width of the 90 % prediction interval divided by the standard deviation
            of the ensemble (see `cardioemu.training.calibration`); empty without an ensemble.
        version: version of the checkpoint's content.
    """

    network: str
    network_arguments: dict[str, Any]
    scaled: list[str]
    lowest: list[float]
    highest: list[float]
    window: dict[str, Any]
    simulator_arguments: dict[str, Any]
    cell_sha256: str
    solver: dict[str, Any]
    split: dict[str, Any]
    windows_key: str
    design: torch.Tensor
    sigma_points: float = 0.0
    interval_factors: dict[str, float] = field(default_factory=dict)
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.network in REMOVED_NETWORKS:
            raise UserError(f"the network {self.network} has been removed; {REMOVED_NETWORKS[self.network]}")
        if self.network not in NETWORKS:
            raise UserError(
                f"model: got the network {self.network!r}; networks that a checkpoint can hold are "
                f"{', '.join(NETWORKS)}; add it to cardioemu.models.NETWORKS"
            )

    def build(self) -> Network:
        """Build the network with freshly initialised weights."""
        return NETWORKS[self.network](**self.network_arguments)
