"""How sure an emulator may be of which cells fire, found on the validation part."""

from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from cardioemu.data import VALIDATION, WindowData
from cardioemu.emulator import load_emulator, read_checkpoint
from cardioemu.training.checkpoints import AtomicCheckpointIO

TEMPERATURE = "firing.temperature"
LARGEST = 100.0


def calibrate(checkpoint: Path, data: WindowData) -> dict[str, float]:
    """Gives an emulator the temperature with the least cross entropy on the validation part, in its checkpoint.

    Args:
        checkpoint: rewritten, whole or not at all; what its temperature was before does not count.
        data: the cells.

    Returns:
        `calibration/temperature`, and `calibration/val_cross_entropy` with it; nothing of a network that does not tell
        which cells fire, or where all cells of the part do the same.

    Source: Guo et al., On calibration of modern neural networks, 2017 (temperature scaling).
    """
    emulator = load_emulator(checkpoint)
    scales, fires = (values.numpy().astype(np.float64) for values in data.firing(VALIDATION))
    before = dict(emulator.network.named_buffers()).get(TEMPERATURE)
    if before is None or len(np.unique(fires)) < 2:
        return {}
    with torch.no_grad():
        logit = emulator.network.firing_logit(torch.from_numpy(scales).float())
    assert logit is not None
    odds = logit.double().numpy() * float(before)

    def cross_entropy(log_temperature: float) -> float:
        signed = np.where(fires == 1, odds, -odds) / np.exp(log_temperature)
        return float(np.logaddexp(0, -signed).mean())

    found = minimize_scalar(cross_entropy, bounds=(-np.log(LARGEST), np.log(LARGEST)), method="bounded")
    temperature = float(np.exp(found.x))
    content = read_checkpoint(checkpoint, "cpu")
    content["state_dict"][f"network.{TEMPERATURE}"] = torch.tensor(temperature)
    AtomicCheckpointIO().save_checkpoint(content, checkpoint)
    return {"calibration/temperature": temperature, "calibration/val_cross_entropy": float(found.fun)}
