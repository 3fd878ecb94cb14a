"""The trained emulator: from scales of conductances to action potentials and their prediction intervals."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import expit
from torch import nn

from cardioemu.common.arrays import Predicted, Scales, Windows
from cardioemu.common.errors import UserError
from cardioemu.common.tensors import ScaleBatch, VoltageBatch
from cardioemu.emulator.prediction import Intervals, Prediction
from cardioemu.emulator.specification import Specification
from cardioemu.models import Network, NetworkOutput, gaussian_filter1d
from cardioemu.simulation import validate_scales
from cardioemu.windowing import WindowRule, WindowSet

CELLS_AT_ONCE = {"cpu": 256, "cuda": 1024}  # smaller batches cost more calls, larger ones do not fit the cache
VOLTAGE, CYCLE_LENGTH = "voltage", "cycle_length"  # outputs with prediction intervals
MIN_STD = 1e-4  # mV or ms: smaller differences between members are rounding errors of float32


class Emulator(nn.Module):
    """A trained emulator: from scales of conductances to action potentials.

        emulator = cardioemu.load_emulator("runs/2026-01-31/12-00-00/best.ckpt")
        prediction = emulator.predict([1, 1, 0.5, 1, 1])  # IKr halved

    `predict` and `intervals` take arrays and check them. `forward` takes tensors and is differentiable. The other
    methods take scales that `predict` would accept, without checking them.

    Args:
        network: the trained network.
        specification: the meaning of its inputs and outputs.

    Attributes:
        window: the `WindowRule` of the predicted windows.
    """

    def __init__(self, network: Network, specification: Specification) -> None:
        super().__init__()
        self.network, self.specification = network.eval(), specification
        self.window = WindowRule(**specification.window)

    def forward(self, scales: ScaleBatch) -> VoltageBatch:
        """Return the windows (batch, samples), in mV, of scale vectors (batch, scaled), with gradients."""
        return gaussian_filter1d(self.network(scales), self.specification.sigma_points)

    def predict(self, scales: ArrayLike) -> Prediction:
        """Predict the action potential of each scale vector.

        Args:
            scales: scale vectors (cells, scaled), anything array-like, in the order of `specification.scaled`. A
                single vector (scaled,) counts as one cell.

        Raises:
            UserError: a ValueError: the shape is wrong, or a scale is negative or not finite.

        Warns:
            UserWarning: a scale is outside the range of the train split; names the conductance and the range.
        """
        checked = validate_scales(scales, self.specification.scaled)
        self.warn_extrapolation(checked)
        voltage_mV, logit, cycle_length_ms = self._map_batches(self._network_outputs, checked)
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
        """Return 90 % prediction intervals of voltage and cycle length for each scale vector.

        The half-width is the standard deviation of the ensemble times a factor calibrated on the validation cells.

        Args:
            scales: as for `predict`.

        Raises:
            UserError: a ValueError: as for `predict`; or the emulator is not an ensemble, or is not calibrated.

        Warns:
            UserWarning: as for `predict`.
        """
        checked = validate_scales(scales, self.specification.scaled)
        self.warn_extrapolation(checked)
        if (half_width_mV := self.interval_half_width_mV(checked)) is None:
            raise UserError(
                "model.members: prediction intervals need an ensemble, but this emulator has one member; train one "
                "with model.members=4"
                if self.ensemble_std_mV(checked[:1]) is None
                else "checkpoint: its prediction intervals are not calibrated; give the best.ckpt of a finished run"
            )
        voltage_mV = self.voltage_mV(checked)
        limits = [voltage_mV - half_width_mV, voltage_mV + half_width_mV]
        length_ms, half_width_ms = self.cycle_length_ms(checked), self.cycle_length_half_width_ms(checked)
        if length_ms is not None and half_width_ms is not None:
            limits += [length_ms - half_width_ms, length_ms + half_width_ms]
        return Intervals(self.window.time_ms, *limits)

    def voltage_mV(self, scales: Scales) -> Predicted:
        """Return the window of each cell (cells, samples), in mV, assuming that it fires."""
        voltage_mV = self._map_output(self, scales)
        assert voltage_mV is not None
        return voltage_mV

    def fires_probability(self, scales: Scales) -> np.ndarray | None:
        """Return the probability that each cell fires (cells,); None if the network does not predict firing."""
        logit = self._map_output(self.network.firing_logit, scales)
        return None if logit is None else _probability(logit)

    def cycle_length_ms(self, scales: Scales) -> np.ndarray | None:
        """Return the cycle length of each cell (cells,), assuming that it fires; None if it is not predicted."""
        return self._map_output(self.network.cycle_length_ms, scales)

    def ensemble_std_mV(self, scales: Scales) -> np.ndarray | None:
        """Return the standard deviation of the ensemble's windows (cells, samples); None without an ensemble."""
        return self._map_output(lambda batch: _ensemble_std(self.network.member_windows(batch)), scales)

    def cycle_length_std_ms(self, scales: Scales) -> np.ndarray | None:
        """Return the standard deviation of the ensemble's cycle lengths (cells,); None if there are none."""
        return self._map_output(lambda batch: _ensemble_std(self.network.member_cycle_lengths_ms(batch)), scales)

    def interval_half_width_mV(self, scales: Scales) -> np.ndarray | None:
        """Return the half-width of the voltage intervals (cells, samples); None without a calibrated ensemble."""
        return self._times_factor(self.ensemble_std_mV(scales), VOLTAGE)

    def cycle_length_half_width_ms(self, scales: Scales) -> np.ndarray | None:
        """Return the half-width of the cycle-length intervals (cells,); None if there are none."""
        return self._times_factor(self.cycle_length_std_ms(scales), CYCLE_LENGTH)

    def _times_factor(self, std: np.ndarray | None, output: str) -> np.ndarray | None:
        factor = self.specification.interval_factors.get(output)
        return None if std is None or factor is None else factor * std

    def epistemic_std(self, scales: Scales) -> np.ndarray | None:
        """Return how far the ensemble's members are apart, one number per cell (cells,); None without an ensemble."""
        return self._map_output(self.network.epistemic_std, scales)

    def _network_outputs(self, scales: ScaleBatch) -> NetworkOutput:
        outputs = self.network.outputs(scales)
        return outputs._replace(voltage_mV=gaussian_filter1d(outputs.voltage_mV, self.specification.sigma_points))

    def _map_output(self, predict: Callable[[ScaleBatch], torch.Tensor | None], scales: Scales) -> np.ndarray | None:
        (values,) = self._map_batches(lambda batch: (predict(batch),), scales)
        return values

    def _map_batches(
        self, predict: Callable[[ScaleBatch], Sequence[torch.Tensor | None]], scales: Scales
    ) -> list[np.ndarray | None]:
        """Apply a function to the cells batch by batch; return each of its outputs for all cells."""
        device = next(self.network.parameters()).device
        size = CELLS_AT_ONCE[device.type]
        cells = torch.from_numpy(scales.astype(np.float32))
        results: list[np.ndarray | None] = []

        def predict_batch(start: int) -> None:
            with torch.inference_mode():
                outputs = predict(cells[start : start + size].to(device))
            if not results:
                results.extend(
                    None if output is None else np.empty((len(scales), *output.shape[1:]), np.float32)
                    for output in outputs
                )
            for result, output in zip(results, outputs, strict=True):
                if result is not None and output is not None:
                    result[start:][: len(output)] = output.cpu()

        predict_batch(0)  # before the threads start: it allocates the results that they fill
        _map_threads(range(size, len(cells), size), predict_batch, device)
        return results

    def iter_predictions(
        self, windows: WindowSet, cell_indices: np.ndarray, description: str = "test"
    ) -> Iterator[tuple[Windows, Predicted]]:
        """Read the simulated windows of some cells and predict them, a few cells at a time, with a progress bar.

        Args:
            windows: a window set made by this emulator's window rule.
            cell_indices: windowed cells.
            description: label of the progress bar.

        Yields:
            Simulated windows (cells, windows, samples) and predicted windows (cells, samples), in mV.
        """
        self.warn_extrapolation(windows.scales[cell_indices])
        for simulated, predicted in windows.iter_with_predictions(cell_indices, {"": self.voltage_mV}, description):
            yield simulated, predicted[""]

    def warn_extrapolation(self, scales: Scales) -> None:
        """Warn of cells outside the range of the train split, for each conductance."""
        s = self.specification
        for column, name, low, high in zip(scales.T, s.scaled, s.lowest, s.highest, strict=True):
            outside = int(((column < low) | (column > high)).sum())
            if outside:
                warnings.warn(
                    f"{name}: {outside} of {len(column)} cells {'is' if outside == 1 else 'are'} outside the trained "
                    f"range {low:g} to {high:g}; predictions there are extrapolations",
                    stacklevel=3,
                )


def _map_threads(starts: Iterable[int], compute: Callable[[int], None], device: torch.device) -> None:
    """Call `compute` for the start of each batch: on a CPU in as many threads as torch may use, otherwise in one.

    Each thread runs torch single-threaded: an operation on a few hundred cells is too small for torch's own threads,
    which would make it slower.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads == 1:
        for start in starts:
            compute(start)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for _ in pool.map(compute, starts):
                pass
    finally:
        torch.set_num_threads(threads)  # the last call sets the number for all threads created later


def _probability(logit: np.ndarray) -> np.ndarray:
    return expit(logit.astype(np.float64))


def _ensemble_std(members: torch.Tensor | None) -> torch.Tensor | None:
    return None if members is None else members.std(0).clamp(min=MIN_STD)
