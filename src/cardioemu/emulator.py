"""The trained network with all that is needed to use it: what goes in, what comes out, where it holds."""

import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import expit
from torch import nn

from cardioemu.errors import UserError
from cardioemu.models import NETWORKS, Network, gaussian_smoothed
from cardioemu.simulation import checked_scales
from cardioemu.tensors import ScaleBatch, VoltageBatch
from cardioemu.types import Predicted, SampleTimes, Scales, Windows
from cardioemu.windowing import WindowRule, WindowSet

BATCH = 1024
CHECKPOINT_KEY = "emulator"
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
        version: of what a checkpoint says.
    """

    network: str
    settings: dict[str, Any]
    scaled: list[str]
    lowest: list[float]
    highest: list[float]
    window: dict[str, Any]
    cell: dict[str, Any]
    cell_sha256: str
    solver: dict[str, Any]
    split: dict[str, Any]
    windows: str
    design: torch.Tensor
    sigma_points: float = 0.0
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise UserError(
                f"model: got the network {self.network!r}, which a checkpoint cannot name; known are "
                f"{', '.join(NETWORKS)} (cardioemu.models.NETWORKS)"
            )

    def build(self) -> Network:
        """Builds the network, initialised as its constructor does."""
        return NETWORKS[self.network](**self.settings)

    def as_plain(self) -> dict[str, Any]:
        """Returns plain containers and the tensor, which a weights-only load accepts."""
        return asdict(self)


@dataclass(frozen=True)
class Prediction:
    """What an emulator says of some cells.

    Attributes:
        time_ms: (samples,), 0 at the AP start, so the first value is -offset_ms.
        voltage_mV: (cells, samples); NaN for a cell that is said not to fire.
        fires: (cells,) whether the cell fires, None where the network has no such output.
        fires_probability: (cells,) how likely that is, None with `fires`.
        cycle_length_ms: (cells,) time from AP start to AP start, NaN for a cell that is said not to fire, None where
            the network has no such output.
    """

    time_ms: SampleTimes
    voltage_mV: Predicted
    fires: np.ndarray | None = None
    fires_probability: np.ndarray | None = None
    cycle_length_ms: np.ndarray | None = None


class Emulator(nn.Module):
    """A trained network: `predict` for arrays, `forward` for tensors with gradients.

    Args:
        network: the trained network.
        specification: what its inputs and outputs are.
    """

    def __init__(self, network: Network, specification: Specification) -> None:
        super().__init__()
        self.network, self.specification = network.eval(), specification
        self.window = WindowRule(**specification.window)

    def forward(self, scales: ScaleBatch) -> VoltageBatch:
        """Returns the windows (batch, samples) in mV of scale vectors (batch, scaled), differentiable."""
        return gaussian_smoothed(self.network(scales), self.specification.sigma_points)

    def predict(self, scales: ArrayLike) -> Prediction:
        """Predicts the window of each scale vector.

        Args:
            scales: (cells, scaled), anything array-like; (scaled,) counts as one cell.

        Raises:
            UserError: a ValueError: wrong width, or a scale that is negative or not a number.

        Warns:
            UserWarning: a scale outside the range of the training part, naming the column and the range.
        """
        table = checked_scales(scales, self.specification.scaled)
        self.warn_outside(table)
        voltage_mV, probability = self.voltage_mV(table), self.fires_probability(table)
        cycle_length_ms = self._batched(self.network.cycle_length_ms, table)
        if probability is None:
            return Prediction(self.window.time_ms, voltage_mV, cycle_length_ms=cycle_length_ms)
        fires = probability >= 0.5
        voltage_mV[~fires] = np.nan
        if cycle_length_ms is not None:
            cycle_length_ms[~fires] = np.nan
        return Prediction(self.window.time_ms, voltage_mV, fires, probability, cycle_length_ms)

    def voltage_mV(self, scales: Scales) -> Predicted:
        """Predicts the window of each scale vector that `checked_scales` has passed, as if the cell fired."""
        found = self._batched(self, scales)
        assert found is not None
        return found

    def fires_probability(self, scales: Scales) -> np.ndarray | None:
        """Predicts how likely each cell fires (cells,), float64; None where the network has no such output."""
        logit = self._batched(self.network.firing_logit, scales)
        return None if logit is None else expit(logit.astype(np.float64))

    def _batched(self, predict: Callable[[ScaleBatch], torch.Tensor | None], scales: Scales) -> np.ndarray | None:
        device = next(self.network.parameters()).device
        parts = []
        with torch.no_grad():
            for batch in torch.from_numpy(scales.astype(np.float32)).split(BATCH):
                if (part := predict(batch.to(device))) is None:
                    return None
                parts.append(part.cpu())
        return torch.cat(parts).numpy()

    def against(self, windows: WindowSet, rows: np.ndarray, doing: str = "test") -> Iterator[tuple[Windows, Predicted]]:
        """Predicts some windowed cells and reads what was simulated, a few cells at a time, with a progress bar.

        Args:
            windows: of the same rule as this emulator's.
            rows: the cells.
            doing: what the progress bar says.

        Yields:
            Simulated (cells, windows, points) and predicted (cells, points), in mV.
        """
        self.warn_outside(windows.scales[rows])
        for simulated, predicted in windows.beside(rows, {"": self.voltage_mV}, doing):
            yield simulated, predicted[""]

    def warn_outside(self, scales: Scales) -> None:
        """Warns of cells outside the range of the training part."""
        s = self.specification
        for column, name, low, high in zip(scales.T, s.scaled, s.lowest, s.highest, strict=True):
            outside = int(((column < low) | (column > high)).sum())
            if outside:
                warnings.warn(
                    f"{name}: {outside} of {len(column)} cells lie outside the trained range {low:g} to {high:g}; "
                    "the prediction there is an extrapolation",
                    stacklevel=3,
                )


def read_checkpoint(path: str | Path, map_location: Any = None) -> dict[str, Any]:
    """Reads tensors and plain values; nothing in the file is executed.

    Raises:
        UserError: the file is damaged, down to a single bit, or no checkpoint of this program.
    """
    try:
        # torch writes a checksum of every tensor but does not look at it when it reads.
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"{damaged} does not match its checksum")
        # Mapped: the weights come from the file as they are used, beside those of a network in training if need be.
        content = torch.load(path, map_location=map_location, weights_only=True, mmap=True)
    except Exception as error:
        said = str(error).partition(". ")[0]
        raise UserError(f"checkpoint: {path} cannot be read, it is damaged or of another program ({said})") from error
    if not isinstance(content, dict):
        raise UserError(f"checkpoint: {path} holds no emulator of this program")
    return content


def load_emulator(path: str | Path) -> Emulator:
    """Loads a trained emulator from a checkpoint; nothing in the file is executed.

    Raises:
        UserError: the file is missing, damaged, or no checkpoint of this version of the program.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"checkpoint: there is no file {path}; give the best.ckpt or last.ckpt of a run folder")
    content = read_checkpoint(path, "cpu")
    if CHECKPOINT_KEY not in content:
        raise UserError(f"checkpoint: {path} holds no emulator of this program")
    try:
        if (version := content[CHECKPOINT_KEY].get("version", 1)) == VERSION:
            return _from_checkpoint(content)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"checkpoint: {path} does not fit this version of the program ({error})") from error
    raise UserError(
        f"checkpoint: {path} is of version {version}, and this program reads version {VERSION}; train again, or use "
        "the program it was trained with (its run has the tag git.commit)"
    )


def _from_checkpoint(content: dict[str, Any]) -> Emulator:
    specification = Specification(**content[CHECKPOINT_KEY])
    with torch.device("meta"):  # the weights come from the file: no initialisation, no second copy
        network = specification.build()
    weights = {key.removeprefix("network."): value for key, value in content["state_dict"].items()}
    network.load_state_dict(weights, assign=True)
    return Emulator(network, specification)
