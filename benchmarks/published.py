"""The biomarkers that the authors' notebook prints for the control cell, derived again, and what tells ours from them.

    python benchmarks/published.py

The notebook of Akwaboah et al. 2021 integrates 10 s from its own start by SciPy's Radau at default tolerances, and
measures by SciPy's peak_widths on the solver's steps: an APD begins at the peak and ends where V has fallen by a part
of the peak's prominence; all beats count, those that still settle among them. Takes half a minute.
"""

from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.integrate import solve_ivp
from scipy.signal import find_peaks, peak_widths

from cardioemu.evaluation import biomarkers
from cardioemu.simulation import load_cell, simulate

DURATION_MS = 10_000.0
PROMINENT_mV = 40.0
COLUMNS = ["APD50", "APD75", "APD90", "CL", "MDP"]
PRINTED = [104.23, 125.88, 143.64, 470.24, -75.91]
SETTLED_MS = 5_000.0


def by_widths(time_ms: np.ndarray, voltage_mV: np.ndarray, nearest: bool) -> list[float]:
    """Measures as the notebook does, at the nearest sample or between samples; means over all beats."""
    peaks, _ = find_peaks(voltage_mV, prominence=PROMINENT_mV)
    apds = []
    for part in (0.5, 0.75, 0.9):
        ends = peak_widths(voltage_mV, peaks, rel_height=part)[3]
        samples = np.rint(ends) if nearest else ends
        apds.append(np.mean(np.interp(samples, np.arange(len(time_ms)), time_ms) - time_ms[peaks]))
    lowest = [voltage_mV[a:b].min() for a, b in pairwise(peaks)]
    return [*apds, np.diff(time_ms[peaks]).mean(), np.mean(lowest)]


def by_ours(beats: pd.DataFrame) -> list[float]:
    """Means of our biomarkers over some beats."""
    return beats[["apd50_ms", "apd75_ms", "apd90_ms", "cl_ms", "mdp_mV"]].mean().tolist()


def main() -> None:
    """Print the table."""
    cell, control = load_cell("akwaboah2021", variant="notebook"), np.ones(5)
    radau = solve_ivp(
        lambda _, state: cell.derivatives(state, control), (0, DURATION_MS), cell.initial_state, method="Radau"
    )
    steps = radau.t, radau.y[0]
    (trace,) = simulate(cell, control, DURATION_MS, rtol=1e-8)
    fine_ms = np.arange(0, DURATION_MS, 0.01)
    ours = {origin: biomarkers(trace, apd_from=origin) for origin in ("peak", "upstroke")}
    rows = {
        "printed in the notebook": PRINTED,
        "Radau's steps, the nearest one": by_widths(*steps, nearest=True),
        "Radau's steps, between them": by_widths(*steps, nearest=False),
        "rtol 1e-8, every 0.01 ms": by_widths(fine_ms, trace.voltage_mV(fine_ms), nearest=False),
        "ours, from the peak": by_ours(ours["peak"]),
        "ours, from the upstroke": by_ours(ours["upstroke"]),
        "ours, from the upstroke, after 5 s": by_ours(ours["upstroke"].query("start_ms > @SETTLED_MS")),
    }
    print(pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS).to_string(float_format="%.2f"))
    peaks, _ = find_peaks(steps[1], prominence=PROMINENT_mV)
    ends = np.rint(peak_widths(steps[1], peaks, rel_height=0.9)[3]).astype(int)
    falling = np.concatenate([np.diff(steps[0][peak : end + 1]) for peak, end in zip(peaks, ends, strict=True)])
    print(
        f"\n{len(steps[0])} steps of Radau; from peak to APD90 {falling.mean():.1f} ms, at most {falling.max():.1f} ms"
    )


if __name__ == "__main__":
    main()
