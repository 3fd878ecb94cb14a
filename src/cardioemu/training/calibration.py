"""Calibration of an emulator on the validation split: smoothing, firing probability, prediction intervals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from cardioemu.data import VALIDATION, WindowDataModule
from cardioemu.emulator import CHECKPOINT_KEY, CYCLE_LENGTH, VOLTAGE, Emulator, load_emulator, read_checkpoint
from cardioemu.evaluation import rmse_mV
from cardioemu.models import gaussian_filter1d
from cardioemu.training.checkpoints import AtomicCheckpointIO

TEMPERATURE = "firing.temperature"
MAX_TEMPERATURE = 100.0
COVERAGE = 0.9  # fraction of the simulated values inside the intervals
SAMPLES = 500  # of a window, at most, that calibrate its interval
SIGMAS_POINTS = (0.0, *(np.arange(10, 77) / 10).tolist())
"""No smoothing, and the widths tried in the follow-up text of the published LSTM: 1 to 7.6 points."""


def choose_smoothing(checkpoint: Path, data: WindowDataModule) -> dict[str, float]:
    """Write the smoothing with the lowest RMSE into a checkpoint.

    Args:
        checkpoint: replaced atomically; the result does not depend on its present smoothing.
        data: windows of the emulator's rule.

    Returns:
        `smoothing/sigma_points`, and `smoothing/val_rmse_mV` with that smoothing: the mean over cells, as val/rmse_mV.
    """
    trained = load_emulator(checkpoint)
    emulator = Emulator(trained.network, replace(trained.specification, sigma_points=0.0))
    errors = [
        [rmse_mV(windows, gaussian_filter1d(torch.from_numpy(predicted), sigma).numpy()) for sigma in SIGMAS_POINTS]
        for windows, predicted in emulator.iter_predictions(data.windows, data.cell_indices[VALIDATION], "smooth")
    ]
    mean_mV = np.concatenate(errors, axis=1).mean(axis=1)
    sigma_points = SIGMAS_POINTS[int(mean_mV.argmin())]
    content = read_checkpoint(checkpoint, "cpu")
    content[CHECKPOINT_KEY]["sigma_points"] = sigma_points
    AtomicCheckpointIO().save_checkpoint(content, checkpoint)
    return {"smoothing/sigma_points": sigma_points, "smoothing/val_rmse_mV": float(mean_mV.min())}


def calibrate(checkpoint: Path, data: WindowDataModule) -> dict[str, float]:
    """Write the temperature of the firing output and the factors of the intervals into a checkpoint.

    Args:
        checkpoint: replaced atomically; the result does not depend on its present temperature and factors.
        data: the cells.

    Returns:
        For a network that predicts which cells fire `calibration/temperature`, and `calibration/val_cross_entropy` at
        this temperature; for an ensemble `calibration/voltage_factor` and `calibration/cycle_length_factor`.
    """
    emulator = load_emulator(checkpoint)
    content = read_checkpoint(checkpoint, "cpu")
    results = firing_temperature(emulator, data)
    if "temperature" in results:
        content["state_dict"][f"network.{TEMPERATURE}"] = torch.tensor(results["temperature"])
    factors = interval_factors(emulator, data)
    if results or factors:
        content[CHECKPOINT_KEY]["interval_factors"] = factors
        AtomicCheckpointIO().save_checkpoint(content, checkpoint)
    results |= {f"{name}_factor": factor for name, factor in factors.items()}
    return {f"calibration/{name}": value for name, value in results.items()}


def firing_temperature(emulator: Emulator, data: WindowDataModule) -> dict[str, float]:
    """Find the `temperature` with the lowest cross entropy, and that as `val_cross_entropy`.

    Returns:
        Both; nothing for a network that does not predict which cells fire, or if all or no cells fire.

    Source: Guo et al., On calibration of modern neural networks, 2017 (temperature scaling).
    """
    scales, fires = data.firing_labels(VALIDATION)
    temperature = dict(emulator.network.named_buffers()).get(TEMPERATURE)
    if temperature is None or len(fires.unique()) < 2:
        return {}
    with torch.no_grad():
        logit = emulator.network.firing_logit(scales)
    assert logit is not None
    logit_of_label = (torch.where(fires == 1, logit, -logit).double() * temperature).numpy()

    def cross_entropy(log_temperature: float) -> float:
        return float(np.logaddexp(0, -logit_of_label / np.exp(log_temperature)).mean())

    bounds = (-np.log(MAX_TEMPERATURE), np.log(MAX_TEMPERATURE))
    optimum = minimize_scalar(cross_entropy, bounds=bounds, method="bounded")
    return {"temperature": float(np.exp(optimum.x)), "val_cross_entropy": float(optimum.fun)}


def interval_factors(emulator: Emulator, data: WindowDataModule) -> dict[str, float]:
    """Find the multiple of the members' standard deviation that nine in ten of the errors do not exceed.

    Returns:
        For an ensemble, the factors of the voltage, over all samples, and of the cycle length, over the cells.

    Source: split conformal prediction with a scaled residual, Lei et al., J. Am. Stat. Assoc. 2018;113:1094, section 5.
    """
    cell_indices, windows = data.cell_indices[VALIDATION], data.windows
    scales, ratios = windows.scales[cell_indices], []
    if emulator.ensemble_std_mV(scales[:1]) is None:
        return {}
    step = -(-emulator.window.output_samples // SAMPLES)
    predict = {"mean": emulator.voltage_mV, "std": emulator.ensemble_std_mV}
    for simulated, predicted in windows.iter_with_predictions(cell_indices, predict, "calibrate"):
        error_mV = np.abs(predicted["mean"][:, None] - simulated)[..., ::step]
        ratios.append((error_mV / predicted["std"][:, None, ::step]).ravel())
    factors = {VOLTAGE: float(np.quantile(np.concatenate(ratios), COVERAGE))}
    lengths_ms, std_ms = emulator.cycle_length_ms(scales), emulator.cycle_length_std_ms(scales)
    if lengths_ms is not None and std_ms is not None:
        ratio = np.abs(lengths_ms - windows.cycle_lengths_ms(cell_indices)) / std_ms
        factors[CYCLE_LENGTH] = float(np.nanquantile(ratio, COVERAGE))
    return factors
