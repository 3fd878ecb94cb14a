"""Smoothing of windows."""

import torch

from cardioemu.common.tensors import VoltageBatch

TRUNCATE_SIGMAS = 4  # the Gaussian ends after so many standard deviations


def gaussian_filter1d(voltage_mV: VoltageBatch, sigma_points: float) -> VoltageBatch:
    """Convolve windows with a Gaussian; they are mirrored at both ends. Differentiable.

    Args:
        voltage_mV: (batch, samples).
        sigma_points: Standard deviation in points; 0 returns the windows unchanged.

    Returns:
        (batch, samples), in mV; the same as `scipy.ndimage.gaussian_filter1d` with its defaults.
    """
    reach = min(int(TRUNCATE_SIGMAS * sigma_points + 0.5), voltage_mV.shape[1])
    if reach == 0:
        return voltage_mV
    distance = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = (-0.5 * (distance / sigma_points) ** 2).exp()
    mirrored = torch.cat([voltage_mV[:, :reach].flip(1), voltage_mV, voltage_mV[:, -reach:].flip(1)], dim=1)
    kernel = (weights / weights.sum()).to(voltage_mV)
    return torch.nn.functional.conv1d(mirrored.unsqueeze(1), kernel[None, None]).squeeze(1)
