"""Metrics of predicted firing: confusion, error at the boundary, calibration."""

import numpy as np
import pandas as pd
from jaxtyping import Bool
from sklearn.metrics import brier_score_loss, confusion_matrix

from cardioemu.common.arrays import PerCell, Scales
from cardioemu.evaluation.metrics.cell_errors import nearest_distance

# In the order of scikit-learn: of the silent cells, then of the firing cells, those predicted silent, then firing.
CONFUSION = ("silent_right", "fires_wrong", "silent_wrong", "fires_right")
BINS = 10


def firing_metrics(scales: Scales, fires: Bool[np.ndarray, " cells"], probability: PerCell) -> dict[str, float]:
    """Measure predicted probabilities of firing; one of at least 0.5 predicts that the cell fires.

    Returns:
        `fires_accuracy`: fraction of cells predicted correctly; `fires_sensitivity`: of the cells that fire;
        `fires_specificity`: of the silent cells. The last two are absent without such cells.
        `confusion_fires_right`, `confusion_fires_wrong`, `confusion_silent_right`, `confusion_silent_wrong`: number of
        cells predicted to fire or to be silent, correctly or wrongly.
        `fires_boundary_error`: mean distance, in scales, of a wrongly predicted cell from the nearest cell that does
        what was predicted; 0 if all predictions are correct. It falls with the density of cells: use it to compare
        emulators on the same cells only.
        `fires_brier`: mean squared difference between probability and outcome.
        `fires_calibration_error`: mean difference between `predicted` and `observed` of `reliability_table`, weighted
        by cells.

    Source: the Brier score is that of Brier, Mon. Weather Rev. 1950;78:1.
    """
    predicted = probability >= 0.5
    counts = confusion_matrix(fires, predicted, labels=[False, True]).ravel()
    confusion = {name: float(count) for name, count in zip(CONFUSION, counts, strict=True)}
    table = reliability_table(fires, probability)
    difference = (table["predicted"] - table["observed"]).abs()
    result = {
        "fires_accuracy": float((predicted == fires).mean()),
        "fires_sensitivity": confusion["fires_right"] / fires.sum() if fires.any() else np.nan,
        "fires_specificity": confusion["silent_right"] / (~fires).sum() if not fires.all() else np.nan,
        "fires_boundary_error": _boundary_error(scales, fires, predicted),
        "fires_brier": float(brier_score_loss(fires, probability, pos_label=True)),
        "fires_calibration_error": float(np.average(difference, weights=table["cells"])),
    }
    result |= {f"confusion_{name}": count for name, count in confusion.items()}
    return {name: value for name, value in result.items() if not np.isnan(value)}


def _boundary_error(scales: Scales, fires: np.ndarray, predicted: np.ndarray) -> float:
    distances = []
    for outcome in (False, True):
        wrong, correct = (predicted == outcome) & (fires != outcome), fires == outcome
        if wrong.any():
            distances.append(nearest_distance(scales[wrong], scales[correct]) if correct.any() else [np.nan])
    return float(np.concatenate(distances).mean()) if distances else 0.0


def reliability_table(fires: Bool[np.ndarray, " cells"], probability: PerCell) -> pd.DataFrame:
    """Compare predicted probabilities with observed frequencies, in ten equal bins of the probability.

    Returns:
        One row per bin that has cells: `predicted`, the mean probability; `observed`, the fraction of cells that fire;
        `cells`, their number.
    """
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    table = pd.DataFrame({"bin": bins, "predicted": probability, "observed": fires.astype(float)})
    grouped = table.groupby("bin")
    return grouped.mean().assign(cells=grouped.size()).reset_index(drop=True)
