"""Smoothing of predictions, its width chosen on the validation split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cardioemu.data import VALIDATION, WindowDataModule
from cardioemu.emulator import CHECKPOINT_KEY, Emulator, load_emulator, read_checkpoint
from cardioemu.evaluation import rmse_mV
from cardioemu.models import gaussian_filter1d
from cardioemu.training.checkpoints import AtomicCheckpointIO

SIGMAS_POINTS = (0.0, *(np.arange(10, 77) / 10).tolist())
"""No smoothing, and the widths tried in the follow-up text of the published LSTM: 1 to 7.6 points."""


def choose_smoothing(checkpoint: Path, data: WindowDataModule) -> dict[str, float]:
    """Write the smoothing with the lowest RMSE on the validation split into a checkpoint.

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
