"""When an emulator pays: time per action potential against the population solver, for the same windows.

    python benchmarks/prediction.py [SETTING=VALUE ... | RUN_FOLDER/best.ckpt]

Runs `train.py` with these settings from nothing (simulation, training, test: what the emulator costs), or takes an
emulator that was trained before, then lets it predict and the solver simulate and cut the same windows of fresh Sobol
cells that fire: 1, 100 and 10 000 at once, on one thread and on all, on a GPU where there is one. Warm: medians of
interleaved runs in one process, one run of what takes longer than a minute. Cold: a new process, from its start to the
first answer; of the solver with its C code compiled anew, and compiled before.

Prints Markdown tables, the error of each side (RMSE of a cell's windows, mean over 200 cells, against the solver at a
tolerance of 1e-8), and from how many action potentials on the emulator was worth its cost. A GPU adds its own rows.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from cardioemu import Emulator, load_emulator
from cardioemu.comparison.lineage import load_training_cell
from cardioemu.evaluation import rmse_mV
from cardioemu.runtime.machine import available_cores
from cardioemu.simulation import Cell, design, simulate
from cardioemu.windowing import WindowRule, extract_windows

TRAIN = Path(__file__).parent.parent / "train.py"
BATCHES = {1: 15, 100: 9, 10_000: 3}  # and how often each is repeated
LONG_S = 60.0
JUDGED, EXACT = 200, 1e-8
FIRST_PREDICTION = "from cardioemu import load_emulator; load_emulator({!r}).predict([1, 1, 1, 1, 1])"
FIRST_SIMULATION = (
    "from cardioemu.simulation import load_cell, simulate; simulate(load_cell('akwaboah2021'), [1, 1, 1, 1, 1], **{})"
)

Lasting = dict[str, float]  # how long a trace is, and the transient before it


def trained(settings: list[str], folder: Path) -> tuple[Path, float | None]:
    """Run the main job; return its best checkpoint and how many seconds it took, None of one that was there."""
    if settings and settings[0].endswith(".ckpt"):
        return Path(settings[0]).resolve(), None
    begin = time.perf_counter()
    subprocess.run([sys.executable, str(TRAIN), *settings], cwd=folder, check=True, stdout=sys.stderr)
    (checkpoint,) = folder.glob("runs/*/*/best.ckpt")
    return checkpoint, time.perf_counter() - begin


def firing_cells(cell: Cell, rule: WindowRule, lasting: Lasting) -> np.ndarray:
    """Return 10 000 scale vectors of cells that give all windows, repeated where there are fewer distinct ones."""
    scales = design("sobol", n=4096, seed=12345)
    traces = simulate(cell, scales, **lasting)
    fires = np.array([extract_windows(trace, rule).windows is not None for trace in traces])
    return np.resize(scales[fires], (max(BATCHES), scales.shape[1]))


def windows_of(cell: Cell, scales: np.ndarray, rule: WindowRule, lasting: Lasting, **how: float) -> np.ndarray:
    """Simulate cells and cut their windows (cells, windows, points)."""
    found = [extract_windows(trace, rule).windows for trace in simulate(cell, scales, **lasting, **how)]
    return np.stack([windows for windows in found if windows is not None])


def measured(sides: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median time of each side in s; they are run in turn, what takes longer than a minute only once."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, run in sides.items():
            if max(times[name], default=0.0) > LONG_S:
                continue
            begin = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(found) for name, found in times.items()}


def warm(emulator: Emulator, cell: Cell, scales: np.ndarray, rule: WindowRule, lasting: Lasting) -> dict:
    """Measures both sides; returns seconds by (side, threads) and batch."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for batch, repeats in BATCHES.items():
        some = scales[:batch]
        for threads in sorted({1, available_cores()}):
            torch.set_num_threads(threads)
            sides: dict[str, Callable[[], object]] = {
                "emulator": partial(emulator.predict, some),
                "solver": partial(windows_of, cell, some, rule, lasting, threads=threads),
            }
            for name, seconds in measured(sides, repeats).items():
                found.setdefault((name, f"{threads} thread{'s' * (threads > 1)}"), {})[batch] = seconds
        if torch.cuda.is_available():
            emulator.to("cuda")
            seconds = measured({"emulator": partial(emulator.predict, some)}, repeats)["emulator"]
            found.setdefault(("emulator", torch.cuda.get_device_name()), {})[batch] = seconds
            emulator.to("cpu")
    return found


def cold(code: str, cache: str | None = None) -> float:
    """Return how long a new process takes to its first answer, in s."""
    environment = os.environ | ({"XDG_CACHE_HOME": cache} if cache else {})
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, env=environment)
    return time.perf_counter() - begin


def errors(emulator: Emulator, cell: Cell, scales: np.ndarray, rule: WindowRule, lasting: Lasting) -> dict[str, float]:
    """Return the RMSE of both sides, in mV."""
    exact = windows_of(cell, scales, rule, lasting, rtol=EXACT)
    simulated = windows_of(cell, scales, rule, lasting)
    return {
        "emulator": float(rmse_mV(exact, emulator.voltage_mV(scales)).mean()),
        "solver": float(np.sqrt(np.mean((simulated - exact) ** 2, axis=(1, 2))).mean()),
    }


def main(settings: list[str]) -> None:
    """Print what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, cost_s = trained(settings, Path(folder))
        emulator = load_emulator(checkpoint)
        said = emulator.specification
        cell, rule = load_training_cell(emulator), emulator.window
        lasting = {
            "duration_ms": said.simulator_arguments["duration_ms"],
            "transient_ms": said.simulator_arguments["transient_ms"],
        }
        scales = firing_cells(cell, rule, lasting)
        found = warm(emulator, cell, scales, rule, lasting)
        print("| ms per action potential, warm | " + " | ".join(f"{batch} at once" for batch in BATCHES) + " |")
        print("|---|" + "---|" * len(BATCHES))
        for (side, where), seconds in found.items():
            print(f"| {side}, {where} | " + " | ".join(f"{1000 * s / b:.3g}" for b, s in seconds.items()) + " |")
        most = f"{available_cores()} thread{'s' * (available_cores() > 1)}"
        ratio = {b: found["solver", most][b] / found["emulator", most][b] for b in BATCHES}
        print(f"| ratio, {most} | " + " | ".join(f"{r:.3g}" for r in ratio.values()) + " |")
        first = {
            "emulator": cold(FIRST_PREDICTION.format(str(checkpoint))),
            "solver, compiled anew": cold(FIRST_SIMULATION.format(lasting), folder),
            "solver, compiled before": cold(FIRST_SIMULATION.format(lasting), folder),
        }
        print("\n| first answer of a new process | s |\n|---|---|")
        print("\n".join(f"| {name} | {seconds:.2f} |" for name, seconds in first.items()))
        print("\n| error against a tolerance of 1e-8 | mV |\n|---|---|")
        for name, error in errors(emulator, cell, scales[:JUDGED], rule, lasting).items():
            print(f"| {name} | {error:.3g} |")
        if cost_s is None:
            return
        each_s = {side: found[side, most][max(BATCHES)] / max(BATCHES) for side in ("emulator", "solver")}
        paid = cost_s / (each_s["solver"] - each_s["emulator"])
        print(f"\nThe emulator cost {cost_s:.0f} s, worth it from {paid:,.0f} action potentials on.")


if __name__ == "__main__":
    main(sys.argv[1:])
