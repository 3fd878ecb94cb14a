"""Gradients by autograd through an emulator, against finite differences of the population solver.

    python benchmarks/gradients.py RUN_FOLDER/best.ckpt [CELLS]

Prints, over cells that fire and whose neighbours 0.1 away on each axis do, too, the relative error of
d(window)/d(scale) (root of the summed squares over samples and scales), over the first cycle alone, both without the
samples near an upstroke and with them, and of d(cycle length)/d(scale). At an upstroke V rises by 100 mV within a
millisecond: there the derivative is a spike, and one that comes 0.05 ms late is wrong by its whole height. Left out are
cells whose window begins with another beat when they are moved: there it jumps, and has no derivative.
"""

import sys
from collections.abc import Callable, Sequence
from itertools import compress

import numpy as np
import torch
from scipy.ndimage import maximum_filter1d

from cardioemu import load_emulator
from cardioemu.comparison.lineage import load_training_cell
from cardioemu.simulation import design, simulate
from cardioemu.windowing import ExtractedWindows, extract_windows

STEP, AROUND, RTOL = 2e-4, 0.1, 1e-9
CERTAIN = 0.99  # probability of firing from which on a cell counts as firing
STEEP_mV_ms, NEAR_MS = 5.0, 3.0  # an upstroke, and what counts as near it


def main(checkpoint: str, count: int) -> None:
    """Compare the gradients of some cells."""
    emulator = load_emulator(checkpoint)
    scaled, said = emulator.specification.scaled, emulator.specification.simulator_arguments
    scales = design("sobol", n=20 * count, seed=3, scaled=scaled, low=AROUND, high=2 - AROUND)
    axes = np.concatenate([np.eye(len(scaled)), -np.eye(len(scaled))])
    inside = [emulator.fires_probability(scales + AROUND * axis) > CERTAIN for axis in axes]
    scales = scales[np.all(inside, axis=0)][:count]

    moved = (scales[:, None] + STEP * axes).reshape(-1, len(scaled))
    traces = simulate(
        load_training_cell(emulator), moved, said["duration_ms"], rtol=RTOL, transient_ms=said["transient_ms"]
    )
    cuts = [extract_windows(trace, emulator.window) for trace in traces]
    of_cells = [cuts[i : i + len(axes)] for i in range(0, len(cuts), len(axes))]
    alike = np.array([of_same_beat(of_cell) for of_cell in of_cells])
    scales, cuts = scales[alike], [found for of_cell in compress(of_cells, alike) for found in of_cell]
    windows = np.stack([found.windows[0] for found in cuts]).astype(float)
    lengths = np.array([found.positions.cycle_length_ms[0] for found in cuts])
    of_windows, of_lengths = (slopes(values, len(scales)) for values in (windows, lengths))

    x = torch.from_numpy(scales).float()
    by_window, by_length = gradients(emulator, x), gradients(emulator.network.cycle_length_ms, x)
    time_ms = emulator.window.time_ms
    first = (time_ms >= 0) & (time_ms < emulator.network.cycle_length_ms(x).detach().numpy()[:, None])
    calm = ~near_upstrokes(windows.reshape(len(scales), -1, len(time_ms)).mean(axis=1), time_ms[1] - time_ms[0])
    told = {
        "window": relative(by_window, of_windows, calm),
        "window, upstrokes included": relative(by_window, of_windows, np.ones_like(first)),
        "first cycle": relative(by_window, of_windows, first & calm),
        "first cycle, upstrokes included": relative(by_window, of_windows, first),
        "cycle length": np.linalg.norm(by_length - of_lengths, axis=1) / np.linalg.norm(of_lengths, axis=1),
    }
    print(f"{len(scales)} cells ({(~alike).sum()} left out); relative error, median, 95 %, largest")
    for name, error in told.items():
        print(f"{name:<31} {np.median(error):.4f} {np.quantile(error, 0.95):.4f} {error.max():.4f}")


def of_same_beat(cuts: Sequence[ExtractedWindows]) -> bool:
    """Tells whether a cell and its moved copies all have a window, and of the same beat."""
    if any(found.windows is None for found in cuts):
        return False
    begin_ms, length_ms = np.array(
        [(found.positions.begin_ms[0], found.positions.cycle_length_ms[0]) for found in cuts]
    ).T
    return bool(np.ptp(begin_ms) < length_ms.min() / 2)


def gradients(predict: Callable[[torch.Tensor], torch.Tensor], scales: torch.Tensor) -> np.ndarray:
    """Differentiate (cells, ..., scaled) of predictions by each scale."""
    axes = torch.eye(scales.shape[1])
    return (
        torch.stack([torch.func.jvp(predict, (scales,), (axis.expand_as(scales),))[1] for axis in axes], -1)
        .detach()
        .numpy()
    )


def slopes(values: np.ndarray, cells: int) -> np.ndarray:
    """Central differences (cells, ..., scaled) of values at the moved cells."""
    up, down = np.split(values.reshape(cells, -1, *values.shape[1:]), 2, axis=1)
    return np.moveaxis((up - down) / (2 * STEP), 1, -1)


def near_upstrokes(voltage_mV: np.ndarray, interval_ms: float) -> np.ndarray:
    """Tells which samples (cells, samples) lie near an upstroke."""
    steep = np.gradient(voltage_mV, interval_ms, axis=1) > STEEP_mV_ms
    return maximum_filter1d(steep, 2 * round(NEAR_MS / interval_ms) + 1, axis=1)


def relative(found: np.ndarray, expected: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Relative distances (cells,) over the samples that count."""
    weight = counted[..., None].astype(float)
    error, size = ((weight * values**2).sum(axis=(1, 2)) for values in (found - expected, expected))
    return np.sqrt(error / size)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 40)
