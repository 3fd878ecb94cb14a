"""The trained network with all that is needed to use it."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import expit
from torch import nn

from cardioemu.common.arrays import Predicted, SampleTimes, Scales, Windows
from cardioemu.common.errors import UserError
from cardioemu.common.tensors import ScaleBatch, VoltageBatch
from cardioemu.emulator.specification import Specification
from cardioemu.emulator.threads import map_threads
from cardioemu.models import Network, NetworkOutput, gaussian_filter1d
from cardioemu.simulation import validate_scales
from cardioemu.windowing import WindowRule, WindowSet

CELLS_AT_ONCE = {"cpu": 256, "cuda": 1024}  # fewer would cost more in calls, more would not stay in a cache
VOLTAGE, CYCLE_LENGTH = "voltage", "cycle_length"  # whose intervals there are
SMALLEST = 1e-4  # mV or ms


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


@dataclass(frozen=True)
class Intervals:
    """Where V and the cycle length lie in nine cells of ten, as if each fired.

    Attributes:
        time_ms: (samples,), 0 at the AP start.
        voltage_low_mV: (cells, samples).
        voltage_high_mV: (cells, samples).
        cycle_length_low_ms: (cells,), None where the network has no such output.
        cycle_length_high_ms: (cells,), None with the other.
    """

    time_ms: SampleTimes
    voltage_low_mV: Predicted
    voltage_high_mV: Predicted
    cycle_length_low_ms: np.ndarray | None = None
    cycle_length_high_ms: np.ndarray | None = None


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
        return gaussian_filter1d(self.network(scales), self.specification.sigma_points)

    def predict(self, scales: ArrayLike) -> Prediction:
        """Predicts the window of each scale vector.

        Args:
            scales: (cells, scaled), anything array-like; (scaled,) counts as one cell.

        Raises:
            UserError: a ValueError: wrong width, or a scale that is negative or not a number.

        Warns:
            UserWarning: a scale outside the range of the training part, naming the column and the range.
        """
        table = validate_scales(scales, self.specification.scaled)
        self.warn_extrapolation(table)
        voltage_mV, logit, cycle_length_ms = self._batched(self._network_outputs, table)
        assert voltage_mV is not None
        if logit is None:
            return Prediction(self.window.time_ms, voltage_mV, cycle_length_ms=cycle_length_ms)
        probability = _probability(logit)
        fires = probability >= 0.5
        voltage_mV[~fires] = np.nan
        if cycle_length_ms is not None:
            cycle_length_ms[~fires] = np.nan
        return Prediction(self.window.time_ms, voltage_mV, fires, probability, cycle_length_ms)

    def intervals(self, scales: ArrayLike) -> Intervals:
        """Tells within what V and the cycle length of each cell lie: as wide as the members of the ensemble disagree.

        Args:
            scales: as of `predict`.

        Raises:
            UserError: a ValueError, as of `predict`; or the network is no ensemble, or not yet calibrated.
        """
        table = validate_scales(scales, self.specification.scaled)
        self.warn_extrapolation(table)
        if (margin_mV := self.interval_half_width_mV(table)) is None:
            raise UserError(
                "model: this emulator has no members that could disagree; train one with model.members=4"
                if self.ensemble_std_mV(table[:1]) is None
                else "checkpoint: its intervals are not calibrated; give best.ckpt of a run that has ended"
            )
        around = [_around(self.voltage_mV(table), margin_mV)]
        lengths_ms, margin_ms = self.cycle_length_ms(table), self.cycle_length_half_width_ms(table)
        if lengths_ms is not None and margin_ms is not None:
            around.append(_around(lengths_ms, margin_ms))
        return Intervals(self.window.time_ms, *(end for ends in around for end in ends))

    def voltage_mV(self, scales: Scales) -> Predicted:
        """Predicts the window of each scale vector that `checked_scales` has passed, as if the cell fired."""
        found = self._each(self, scales)
        assert found is not None
        return found

    def fires_probability(self, scales: Scales) -> np.ndarray | None:
        """Predicts how likely each cell fires (cells,), float64; None where the network has no such output."""
        logit = self._each(self.network.firing_logit, scales)
        return None if logit is None else _probability(logit)

    def cycle_length_ms(self, scales: Scales) -> np.ndarray | None:
        """Predicts the cycle length of each cell (cells,), as if it fired; None where the network does not tell."""
        return self._each(self.network.cycle_length_ms, scales)

    def ensemble_std_mV(self, scales: Scales) -> np.ndarray | None:
        """Returns the standard deviation of the members' windows (cells, samples); None without members."""
        return self._each(lambda some: _spread(self.network.member_windows(some)), scales)

    def cycle_length_std_ms(self, scales: Scales) -> np.ndarray | None:
        """Returns the standard deviation of the members' cycle lengths (cells,); None without such outputs."""
        return self._each(lambda some: _spread(self.network.member_cycle_lengths_ms(some)), scales)

    def interval_half_width_mV(self, scales: Scales) -> np.ndarray | None:
        """Returns half the width of the intervals of V (cells, samples); None without members."""
        return self._scaled(self.ensemble_std_mV(scales), VOLTAGE)

    def cycle_length_half_width_ms(self, scales: Scales) -> np.ndarray | None:
        """Returns half the width of the intervals of the cycle length (cells,); None where there are none."""
        return self._scaled(self.cycle_length_std_ms(scales), CYCLE_LENGTH)

    def _scaled(self, spread: np.ndarray | None, name: str) -> np.ndarray | None:
        factor = self.specification.interval_factors.get(name)
        return None if spread is None or factor is None else factor * spread

    def epistemic_std(self, scales: Scales) -> np.ndarray | None:
        """Tells how far the members of an ensemble are from their mean (cells,); None where the network is none."""
        return self._each(self.network.epistemic_std, scales)

    def _network_outputs(self, scales: ScaleBatch) -> NetworkOutput:
        told = self.network.outputs(scales)
        return told._replace(voltage_mV=gaussian_filter1d(told.voltage_mV, self.specification.sigma_points))

    def _each(self, predict: Callable[[ScaleBatch], torch.Tensor | None], scales: Scales) -> np.ndarray | None:
        (found,) = self._batched(lambda some: (predict(some),), scales)
        return found

    def _batched(
        self, predict: Callable[[ScaleBatch], Sequence[torch.Tensor | None]], scales: Scales
    ) -> list[np.ndarray | None]:
        device = next(self.network.parameters()).device
        size = CELLS_AT_ONCE[device.type]
        cells = torch.from_numpy(scales.astype(np.float32))
        found: list[np.ndarray | None] = []

        def tell(begin: int) -> None:
            with torch.inference_mode():
                parts = predict(cells[begin : begin + size].to(device))
            if not found:
                found.extend(None if p is None else np.empty((len(scales), *p.shape[1:]), np.float32) for p in parts)
            for whole, part in zip(found, parts, strict=True):
                if whole is not None and part is not None:
                    whole[begin:][: len(part)] = part.cpu()

        tell(0)  # before the others, which fill what it makes
        map_threads(range(size, len(cells), size), tell, device)
        return found

    def iter_predictions(
        self, windows: WindowSet, rows: np.ndarray, doing: str = "test"
    ) -> Iterator[tuple[Windows, Predicted]]:
        """Predicts some windowed cells and reads what was simulated, a few cells at a time, with a progress bar.

        Args:
            windows: of the same rule as this emulator's.
            rows: the cells.
            doing: what the progress bar says.

        Yields:
            Simulated (cells, windows, points) and predicted (cells, points), in mV.
        """
        self.warn_extrapolation(windows.scales[rows])
        for simulated, predicted in windows.iter_with_predictions(rows, {"": self.voltage_mV}, doing):
            yield simulated, predicted[""]

    def warn_extrapolation(self, scales: Scales) -> None:
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


def _probability(logit: np.ndarray) -> np.ndarray:
    return expit(logit.astype(np.float64))


def _spread(members: torch.Tensor | None) -> torch.Tensor | None:
    # Members that agree to less are not more certain for it: that is the rounding of float32.
    return None if members is None else members.std(0).clamp(min=SMALLEST)


def _around(values: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values - half, values + half
