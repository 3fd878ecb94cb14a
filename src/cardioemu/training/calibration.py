"""How sure an emulator may be, found on the validation part: of which cells fire, and of what it predicts of them."""

from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from cardioemu.data import VALIDATION, WindowDataModule
from cardioemu.emulator import CHECKPOINT_KEY, CYCLE_LENGTH, VOLTAGE, Emulator, load_emulator, read_checkpoint
from cardioemu.training.checkpoints import AtomicCheckpointIO

TEMPERATURE = "firing.temperature"
LARGEST = 100.0
LEVEL = 0.9  # of what is simulated the intervals hold so much
SAMPLES = 500  # of a window that are looked at


def calibrate(checkpoint: Path, data: WindowDataModule) -> dict[str, float]:
    """Gives an emulator the temperature of its firing output and the widths of its intervals, in its checkpoint.

    Args:
        checkpoint: rewritten, whole or not at all; what it said before does not count.
        data: the cells.

    Returns:
        `calibration/temperature`, and `calibration/val_cross_entropy` with it, of a network that tells which cells
        fire; `calibration/voltage_factor` and `calibration/cycle_length_factor` of an ensemble.
    """
    emulator = load_emulator(checkpoint)
    content = read_checkpoint(checkpoint, "cpu")
    found = firing_temperature(emulator, data)
    if "temperature" in found:
        content["state_dict"][f"network.{TEMPERATURE}"] = torch.tensor(found["temperature"])
    factors = interval_factors(emulator, data)
    if found or factors:
        content[CHECKPOINT_KEY]["interval_factors"] = factors
        AtomicCheckpointIO().save_checkpoint(content, checkpoint)
    found |= {f"{name}_factor": factor for name, factor in factors.items()}
    return {f"calibration/{name}": value for name, value in found.items()}


def firing_temperature(emulator: Emulator, data: WindowDataModule) -> dict[str, float]:
    """Finds the `temperature` with the least cross entropy, and that as `val_cross_entropy`.

    Nothing is found of a network that does not tell which cells fire, or where all cells do the same.

    Source: Guo et al., On calibration of modern neural networks, 2017 (temperature scaling).
    """
    scales, fires = data.firing_labels(VALIDATION)
    before = dict(emulator.network.named_buffers()).get(TEMPERATURE)
    if before is None or len(fires.unique()) < 2:
        return {}
    with torch.no_grad():
        logit = emulator.network.firing_logit(scales)
    assert logit is not None
    odds = (torch.where(fires == 1, logit, -logit).double() * before).numpy()

    def cross_entropy(log_temperature: float) -> float:
        return float(np.logaddexp(0, -odds / np.exp(log_temperature)).mean())

    found = minimize_scalar(cross_entropy, bounds=(-np.log(LARGEST), np.log(LARGEST)), method="bounded")
    return {"temperature": float(np.exp(found.x)), "val_cross_entropy": float(found.fun)}


def interval_factors(emulator: Emulator, data: WindowDataModule) -> dict[str, float]:
    """Finds which multiple of the members' standard deviation nine in ten of the errors do not surpass.

    Returns:
        Of the voltage over all samples, and of the cycle length over the cells, if the network is an ensemble.

    Source: split conformal prediction with a scaled residual, Lei et al., J. Am. Stat. Assoc. 2018;113:1094, section 5.
    """
    rows, windows = data.cell_indices[VALIDATION], data.windows
    scales, ratios = windows.scales[rows], []
    if emulator.ensemble_std_mV(scales[:1]) is None:
        return {}
    step = -(-emulator.window.output_samples // SAMPLES)
    predict = {"middle": emulator.voltage_mV, "spread": emulator.ensemble_std_mV}
    for simulated, said in windows.iter_with_predictions(rows, predict, "calibrate"):
        error_mV = np.abs(said["middle"][:, None] - simulated)[..., ::step]
        ratios.append((error_mV / said["spread"][:, None, ::step]).ravel())
    factors = {VOLTAGE: float(np.quantile(np.concatenate(ratios), LEVEL))}
    lengths_ms, spread_ms = emulator.cycle_length_ms(scales), emulator.cycle_length_std_ms(scales)
    if lengths_ms is not None and spread_ms is not None:
        ratio = np.abs(lengths_ms - windows.cycle_lengths_ms(rows)) / spread_ms
        factors[CYCLE_LENGTH] = float(np.nanquantile(ratio, LEVEL))
    return factors
