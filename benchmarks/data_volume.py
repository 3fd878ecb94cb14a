"""How the error of the seed network falls with the number of simulated cells, and what that takes.

    python benchmarks/data_volume.py [CELLS ...]

For each number: a Sobol design of so many cells of 5 s, the seed network (hidden 256) trained for as many steps as the
main job's, and an evaluation on the same 1 000 Sobol cells of another seed, beside the baselines made from the same
cells. Prints a Markdown table of whole runs of `train.py`, each from nothing: their time and the largest resident set
of the process, which counts the pages of mapped windows that it has read; draws `learning_curve.png` in the current
folder. 64 000 cells take 9 GB of disk, in the folder for temporary files.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from math import ceil
from pathlib import Path

from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent
CELLS = (341, 1_000, 4_000, 16_000, 64_000)
STEPS, BATCH = 12_000, 32
TRAINING_WINDOWS_PER_CELL = 0.7 * 0.66 * 3  # the training part, of which so many fire, three windows each
JUDGED = ("design=sobol", "design.n=1000", "design.seed=1")
NAMES = ("emulator", "nearest_cell", "linear_interpolation", "pca_ridge")


def run(script: str, *settings: str, folder: Path) -> tuple[float, float]:
    """Run a job; return its time in s and its peak memory in GB."""
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, str(ROOT / script), *settings], cwd=folder, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"{script} {settings} failed"
    return time.perf_counter() - begin, usage.ru_maxrss * 1024 / 1e9


def measure(cells: int, folder: Path) -> dict[str, float]:
    """Simulate, train and evaluate."""
    steps = ceil(cells * TRAINING_WINDOWS_PER_CELL / BATCH)
    epochs = max(1, round(STEPS / steps))
    design = ("design=sobol", f"design.n={cells}")
    seconds, memory = run("train.py", *design, f"trainer.max_epochs={epochs}", folder=folder)
    (checkpoint,) = folder.glob("runs/*/*/best.ckpt")
    run("evaluate.py", f"checkpoint={checkpoint}", *JUDGED, folder=folder)
    (metrics,) = folder.glob("evaluations/*/*/metrics.json")
    found = json.loads(metrics.read_text())
    return {"epochs": epochs, "minutes": seconds / 60, "memory": memory} | {
        f"{name}/{key}": found[f"{name}/rmse_mV_{key}"] for name in NAMES for key in ("mean", "median", "p95")
    }


def curve(rows: dict[int, dict[str, float]]) -> Figure:
    """Draws the median error of all against the number of cells."""
    figure = Figure(figsize=(6.0, 3.8), layout="constrained", dpi=110)
    axis = figure.subplots()
    for name in NAMES:
        label = "seed network" if name == "emulator" else name.replace("_", " ")
        axis.semilogx(list(rows), [row[f"{name}/median"] for row in rows.values()], "o-", label=label)
    axis.set(xlabel="simulated cells", ylabel="RMSE on unseen cells, median (mV)")
    axis.set_ylim(bottom=0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False)
    return figure


def main(sizes: list[int]) -> None:
    """Print a row per number of cells as it is done."""
    rows: dict[int, dict[str, float]] = {}
    heads = " | ".join(name if name != "emulator" else "seed network: mean, median, p95 (mV)" for name in NAMES)
    print(f"| cells | epochs | {heads} | time (min) | memory (GB) |\n|{' --- |' * (5 + len(NAMES) - 1)}")
    for cells in sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows[cells] = row = measure(cells, Path(folder))
        errors = [", ".join(f"{row[f'{name}/{key}']:.2f}" for key in ("mean", "median", "p95")) for name in NAMES]
        told = [f"{cells:,}", f"{row['epochs']}", *errors, f"{row['minutes']:.1f}", f"{row['memory']:.2f}"]
        print(f"| {' | '.join(told)} |", flush=True)
        curve(rows).savefig("learning_curve.png")


if __name__ == "__main__":
    main([int(cells) for cells in sys.argv[1:]] or list(CELLS))
