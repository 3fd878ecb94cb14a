"""Whether cells fire: what was said of them against what they do."""

import numpy as np
import pandas as pd
from jaxtyping import Bool
from scipy.spatial import KDTree
from sklearn.metrics import brier_score_loss, confusion_matrix

from cardioemu.common.arrays import PerCell, Scales

CONFUSION = ("silent_right", "silent_wrong", "fires_wrong", "fires_right")
BINS = 10


def firing_metrics(scales: Scales, fires: Bool[np.ndarray, " cells"], probability: PerCell) -> dict[str, float]:
    """Measures what was said of some cells; one that is as likely to fire as not counts as said to fire.

    Args:
        scales: (cells, scaled).
        fires: whether each does.
        probability: that it does, as it was said.

    Returns:
        `fires_accuracy`, the fraction of cells of which the right thing is said; `fires_sensitivity`, that of those
        that fire; `fires_specificity`, that of the others, both absent where there are no such cells;
        `confusion_fires_right` and so on, how many cells are said to fire or to be silent, rightly or wrongly;
        `fires_boundary_error`: the mean distance in scales of a cell of which the wrong thing is said from the nearest
        cell that does what was said of it, 0 without such cells; it falls as cells lie closer, so it tells emulators
        apart on the same cells only;
        `fires_brier`, the mean squared difference of probability and outcome (Brier, Mon. Weather Rev. 1950;78:1);
        `fires_calibration_error`, the mean distance of the columns `said` and `found` of `calibration`, by cells.
    """
    said = probability >= 0.5
    counts = confusion_matrix(fires, said, labels=[False, True])
    # In the order of scikit-learn: silent and said so, silent but said to fire, firing but said silent, firing.
    silent_right, fires_wrong, silent_wrong, fires_right = (float(n) for n in counts.ravel())
    table = reliability_table(fires, probability)
    result = {
        "fires_accuracy": float((said == fires).mean()),
        "fires_sensitivity": fires_right / fires.sum() if fires.any() else np.nan,
        "fires_specificity": silent_right / (~fires).sum() if not fires.all() else np.nan,
        "fires_boundary_error": _boundary_error(scales, fires, said),
        "fires_brier": float(brier_score_loss(fires, probability, pos_label=True)),
        "fires_calibration_error": float(np.average((table["said"] - table["found"]).abs(), weights=table["cells"])),
    }
    confusion = dict(zip(CONFUSION, (silent_right, silent_wrong, fires_wrong, fires_right), strict=True))
    result |= {f"confusion_{name}": count for name, count in confusion.items()}
    return {name: value for name, value in result.items() if not np.isnan(value)}


def _boundary_error(scales: Scales, fires: np.ndarray, said: np.ndarray) -> float:
    distances = []
    for wrong_as in (False, True):
        wrong, right_there = (said == wrong_as) & (fires != wrong_as), fires == wrong_as
        if wrong.any():
            distances.append(KDTree(scales[right_there]).query(scales[wrong])[0] if right_there.any() else [np.nan])
    return float(np.concatenate(distances).mean()) if distances else 0.0


def reliability_table(fires: Bool[np.ndarray, " cells"], probability: PerCell) -> pd.DataFrame:
    """Compares what was said with how often it came true, in ten equal bins of the probability.

    Returns:
        One row per bin with cells: `said`, the mean probability; `found`, the fraction that fires; `cells`.
    """
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    table = pd.DataFrame({"bin": bins, "said": probability, "found": fires.astype(float)})
    grouped = table.groupby("bin")
    return grouped.mean().assign(cells=grouped.size()).reset_index(drop=True)
