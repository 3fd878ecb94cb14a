"""What an emulator is but its weights: what goes in, what comes out, where it holds and where it comes from."""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from cardioemu.common.errors import UserError
from cardioemu.models import NETWORKS, Network

# Raise it when a checkpoint says other things than before; 1 said nothing of the cells it was trained on.
VERSION = 3


@dataclass(frozen=True)
class Specification:
    """Everything of an emulator but its weights, as plain values and a tensor: what a checkpoint holds beside these.

    From it the cells that it was trained on can be simulated, cut and split again, to the same numbers.

    Attributes:
        network: class name, one of `cardioemu.models.NETWORKS`.
        settings: the arguments it was built with.
        scaled: names of the inputs.
        lowest: smallest scale of each input in the training part.
        highest: largest scale of each input in the training part.
        window: the `WindowRule` of its output.
        cell: the arguments of the `Simulator` that its cells came from.
        cell_sha256: digest of that cell (`Cell.digest`).
        solver: the arguments of their `Solver`.
        split: the arguments of the `SplitRule` that told which of them train.
        windows: key of the windows it was trained on.
        design: scale vectors of all these cells (cells, scaled), float64, those that did not train included.
        sigma_points: standard deviation of the Gaussian that smooths its predictions; 0: none does.
        interval_factors: by what the intervals are wider than the disagreement of the members, by the name of the
            output (`calibrate` finds them); empty without members.
        version: of what a checkpoint says.
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
        if self.network not in NETWORKS:
            raise UserError(
                f"model: got the network {self.network!r}, which a checkpoint cannot name; known are "
                f"{', '.join(NETWORKS)} (cardioemu.models.NETWORKS)"
            )

    def build(self) -> Network:
        """Builds the network, initialised as its constructor does."""
        return NETWORKS[self.network](**self.network_arguments)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain containers and the tensor, which a weights-only load accepts."""
        return asdict(self)
