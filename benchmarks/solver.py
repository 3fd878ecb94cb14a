"""The population solver against Myokit's CVODES on the same cells, each at its loosest tolerance of equal accuracy.

    python benchmarks/solver.py [MODEL.mmt ...]

Loosest: found by bisection, the largest tolerance at which the RMSE of V, pooled over all cells and all samples of one
0.5 ms grid, is at most 0.5 mV against CVODES at 1e-10. CVODES gets equal relative and absolute tolerances, as its users
set them, and logs V alone, every 0.5 ms; rodas keeps every step. Both run in turns in this script; medians are printed.
Needs gcc and SUNDIALS (Debian: libsundials-dev). Other models are given as files, their labelled conductances scaled.
"""

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import myokit
import numpy as np

from cardioemu.simulation import Cell, design, load_cell, simulate
from cardioemu.simulation.simulate import available_cores

DURATION_MS, INTERVAL_MS = 5000.0, 0.5
GRID_MS = np.arange(0.0, DURATION_MS, INTERVAL_MS)
ALLOWED_RMSE_mV = 0.5
CELLS, REPEATS, HALVINGS = 341, 5, 8
SHIPPED = Path(myokit.__file__).parent / "tests" / "data"  # models that are installed with Myokit
DECKER = ("INa", "IKr", "IK1", "Ito")
LABELS = ("g_Na", "g_CaL", "g_Kr", "g_Ks", "g_K1", "g_to", "g_Kur")


@dataclass(frozen=True, eq=False)
class Subject:
    """A cell model and what is scaled; other models than the seed's get Sobol scales between 0.5 and 1.5."""

    model: str
    scaled: Mapping[str, str] | None = None

    @cached_property
    def cell(self) -> Cell:
        """The cell model."""
        return load_cell(self.model, scaled=self.scaled)

    @cached_property
    def scales(self) -> np.ndarray:
        """The design (341, scaled)."""
        if self.scaled is None:
            return design("rays")[:CELLS]
        return design("sobol", n=CELLS, scaled=list(self.scaled), low=0.5, high=1.5)


def labelled(path: str) -> dict[str, str]:
    """Names of the conductances of a model file that its author has labelled as such and that are constants."""
    model = myokit.load_model(path)
    found = {label: model.label(label) for label in LABELS}
    return {label: v.qname() for label, v in found.items() if v is not None and v.is_constant()}


class Cvodes:
    """Myokit's CVODES as its user would run it: one Simulation, cell after cell."""

    def __init__(self, subject: Subject) -> None:
        cell, self.scales = subject.cell, subject.scales
        self.constants = list(cell.scaled_constants.values())
        self.controls = cell.equations.control_values
        self.V = list(cell.model.states())[cell.potential].qname()
        start = time.perf_counter()
        self.simulation = myokit.Simulation(cell.model, cell.protocol)
        self.compile_s = time.perf_counter() - start

    def run(self, tolerance: float, cells: range) -> tuple[np.ndarray, int]:
        """Return V (cells, samples) of these cells and how many steps they took."""
        voltage_mV, steps = np.empty((len(cells), len(GRID_MS))), 0
        self.simulation.set_tolerance(tolerance, tolerance)
        for row, cell in enumerate(cells):
            self.simulation.reset()
            for constant, value in zip(self.constants, self.scales[cell] * self.controls, strict=True):
                self.simulation.set_constant(constant, value)
            try:
                voltage_mV[row] = self.simulation.run(DURATION_MS, log=[self.V], log_interval=INTERVAL_MS)[self.V]
            except myokit.SimulationError:
                voltage_mV[row] = np.nan
            steps += self.simulation.last_number_of_steps()
        return voltage_mV, steps


def _start_worker(model: str, scaled: Mapping[str, str] | None) -> None:
    global worker
    worker = Cvodes(Subject(model, scaled))


def _work(task: tuple[float, range]) -> tuple[np.ndarray, int]:
    return worker.run(*task)


def rodas(subject: Subject, rtol: float, threads: int | None = None) -> list:
    """Return the traces of all cells."""
    return simulate(subject.cell, subject.scales, DURATION_MS, rtol=rtol, threads=threads)


def pooled_rmse_mV(voltage_mV: np.ndarray, reference_mV: np.ndarray) -> float:
    """Return the RMSE over all cells and samples, infinite where a cell failed."""
    rmse = np.sqrt(np.mean((voltage_mV - reference_mV) ** 2))
    return float(rmse) if np.isfinite(rmse) else np.inf


def loosest(rmse_mV: Callable[[float], float]) -> tuple[float, float]:
    """Bisects the tolerance between 1e-9 and 0.1: returns the largest that was good enough, and its RMSE."""
    low, high = -9.0, -1.0
    best = (10.0**low, rmse_mV(10.0**low))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        rmse = rmse_mV(10.0**middle)
        if rmse <= ALLOWED_RMSE_mV:
            low, best = middle, (10.0**middle, rmse)
        else:
            high = middle
    return best


def compare(subject: Subject) -> None:
    """Print the two lines of one model."""
    all_cells, seconds = range(len(subject.scales)), {}
    shares = [all_cells[i :: 4 * available_cores()] for i in range(4 * available_cores())]
    order = np.argsort(np.concatenate(shares))
    alone = Cvodes(subject)
    with multiprocessing.get_context("spawn").Pool(
        available_cores(), _start_worker, (subject.model, subject.scaled)
    ) as pool:
        pool.map(_work, [(1e-3, range(1))] * available_cores(), chunksize=1)  # every worker has compiled

        def cvodes(tolerance: float) -> np.ndarray:
            parts = pool.map(_work, [(tolerance, share) for share in shares], chunksize=1)
            return np.concatenate([part for part, _ in parts])[order]

        def sampled(rtol: float) -> np.ndarray:
            return np.array([trace.voltage_mV(GRID_MS) for trace in rodas(subject, rtol)])

        start = time.perf_counter()
        simulate(subject.cell, subject.scales[0], 1.0)
        compile_s = time.perf_counter() - start
        reference_mV = cvodes(1e-10)
        own_mV = pooled_rmse_mV(sampled(1e-10), reference_mV)
        print(f"\n{subject.cell.name}: {len(subject.cell.states)} states, {len(all_cells)} cells of {DURATION_MS:g} ms")
        print(f"the two references, both at 1e-10, differ by {own_mV:.1e} mV")
        tolerance = {
            "rodas": loosest(lambda rtol: pooled_rmse_mV(sampled(rtol), reference_mV)),
            "cvodes": loosest(lambda tolerance: pooled_rmse_mV(cvodes(tolerance), reference_mV)),
        }
        sides: dict[str, Callable[[], object]] = {
            "rodas, one thread": lambda: rodas(subject, tolerance["rodas"][0], threads=1),
            "rodas, all cores": lambda: rodas(subject, tolerance["rodas"][0]),
            "cvodes, one thread": lambda: alone.run(tolerance["cvodes"][0], all_cells),
            "cvodes, all cores": lambda: cvodes(tolerance["cvodes"][0]),
        }
        for _ in range(REPEATS):
            for name, side in sides.items():
                start = time.perf_counter()
                side()
                seconds.setdefault(name, []).append(time.perf_counter() - start)
    cell_s = len(all_cells) * DURATION_MS / 1000
    rate = {name: cell_s / float(np.median(times)) for name, times in seconds.items()}
    steps = {
        "rodas": sum(len(trace.step_time_ms) for trace in rodas(subject, tolerance["rodas"][0])),
        "cvodes": alone.run(tolerance["cvodes"][0], all_cells)[1],
    }
    print("solver  tolerance  RMSE mV  cell-s/s: one thread  all cores  steps/ms  compile s")
    for solver, compiled_s in (("rodas", compile_s), ("cvodes", alone.compile_s)):
        print(
            f"{solver:<7} {tolerance[solver][0]:9.1e} {tolerance[solver][1]:8.3f} {rate[f'{solver}, one thread']:21.1f}"
            f" {rate[f'{solver}, all cores']:10.1f} {steps[solver] / cell_s / 1000:9.3f} {compiled_s:10.1f}"
        )
    ratios = [rate[f"rodas, {on}"] / rate[f"cvodes, {on}"] for on in ("one thread", "all cores")]
    print(f"ratio: {ratios[0]:.1f} with one thread, {ratios[1]:.1f} with {available_cores()} cores")


def main() -> None:
    """Print a table per model."""
    subjects = [
        Subject("akwaboah2021"),
        Subject(
            str(SHIPPED / "decker-2009.mmt"), {name: f"{name.lower()}.Gbar" for name in ("INa", "IKr", "IK1", "Ito")}
        ),
        Subject(str(SHIPPED / "noble-1962.mmt"), {"INa": "ina.gNaMax", "ILeak": "ileak.gL"}),
    ]
    subjects += [Subject(path, labelled(path)) for path in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as cache:  # an empty one, so that compiling is measured
        os.environ["XDG_CACHE_HOME"] = cache
        for subject in subjects:
            compare(subject)


if __name__ == "__main__":
    main()
