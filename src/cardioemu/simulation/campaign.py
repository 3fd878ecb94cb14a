"""A campaign: one run of a design to a trace store, kept under a key of everything that determines it."""

from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from tqdm import tqdm

from cardioemu.progress import progress_bar
from cardioemu.simulation.cell import Cell, load_cell
from cardioemu.simulation.pacing import Pacing
from cardioemu.simulation.pacing.schedule import schedule
from cardioemu.simulation.simulate import simulate
from cardioemu.simulation.solvers import SOLVERS
from cardioemu.simulation.solvers.rodas.compiler import find_compiler
from cardioemu.simulation.store import TraceStore, is_whole, write_shard
from cardioemu.storage import stage_key
from cardioemu.types import Scales

# Raise it when the same inputs give other traces or another file: the AP start, the label, the columns.
VERSION = 1
CELL_MS_PER_SHARD = 2e6


@dataclass(frozen=True)
class Simulator:
    """Which cell model is simulated, and for how long.

    Attributes:
        model: a bundled model or the path of a .mmt or CellML file.
        duration_ms: length of every trace.
        variant: one of the model's variants; None takes its own choice.
        scaled: name -> constant of the model, for a model without a component `scales`.
        parameters: constant -> its value in place of the model's.
        initial_state: state -> its initial value in place of the model's.
        potential: the state that is the membrane potential, for a model that does not mark it.
        pacing: how the cell is paced.
    """

    model: str
    duration_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    variant: str | None = None
    scaled: dict[str, str] | None = None
    parameters: dict[str, float] = field(default_factory=dict)
    initial_state: dict[str, float] = field(default_factory=dict)
    potential: str | None = None
    pacing: Pacing = field(default_factory=Pacing)

    def __post_init__(self) -> None:
        schedule(self.cell(), None, self.duration_ms)

    def cell(self) -> Cell:
        """Loads the cell model, to be paced as told."""
        return load_cell(
            self.model, self.variant, self.scaled, self.parameters, self.initial_state, self.potential, self.pacing
        )


@dataclass(frozen=True)
class Solver:
    """Which solver integrates the cells, how accurately, on how many threads (None: every core).

    Attributes:
        name: the population solver or one of the references.
        rtol: relative error of one step.
        atol: state -> absolute error of one step, in place of the default (see `absolute_tolerances`).
        threads: None takes every core.

    Raises:
        UserError: "rodas" without a C compiler.
    """

    name: Literal["rodas", "cvodes", "scipy"] = "rodas"
    rtol: Annotated[PositiveFloat, Field(ge=1e-13, le=0.1)] = 1e-4
    atol: dict[str, PositiveFloat] = field(default_factory=dict)
    threads: PositiveInt | None = None

    def __post_init__(self) -> None:
        if self.name == "rodas":
            find_compiler()


def campaign(cell: Cell, scales: Scales, duration_ms: float | int, solver: Solver, folder: Path) -> TraceStore:
    """Simulates a design shard by shard, or opens the trace store of the same campaign.

    Args:
        cell: the cell model.
        scales: the design (cells, scaled).
        duration_ms: length of every trace.
        solver: which solver, how accurately.
        folder: where trace stores are kept; this one is in `NAME-KEY` below it.

    Finished shards of an interrupted campaign are kept; one that the disk has torn is simulated again. Cells that fail
    are stored with their status.
    """
    facts = _facts(cell, scales, duration_ms, solver)
    here = folder / f"{cell.name}-{facts['key']}"
    size = _cells_per_shard(duration_ms)
    shards = {
        here / f"shard-{number:05d}.parquet": np.arange(first, min(first + size, len(scales)))
        for number, first in enumerate(range(0, len(scales), size))
    }
    missing = {path: cells for path, cells in shards.items() if not is_whole(path)}
    if missing:
        with progress_bar(sum(map(len, missing.values())), "simulate", "cell") as bar:
            for path, cells in missing.items():
                advance = partial(_advance, bar, int(bar.n))
                traces = simulate(
                    cell,
                    scales[cells],
                    duration_ms,
                    solver.name,
                    solver.rtol,
                    solver.threads,
                    atol=solver.atol,
                    progress=advance,
                )
                write_shard(path, cells.tolist(), scales[cells], cell.scaled, traces, facts)
    return TraceStore(here)


def _cells_per_shard(duration_ms: float | int) -> int:
    return max(1, int(CELL_MS_PER_SHARD / duration_ms))


def _advance(bar: tqdm, before: int, done: int) -> None:
    bar.update(before + done - bar.n)


def _facts(cell: Cell, scales: Scales, duration_ms: float | int, solver: Solver) -> dict[str, object]:
    module = SOLVERS[solver.name]
    determining = {
        "scaled": list(cell.scaled),
        "duration_ms": float(duration_ms),  # 5000 and 5000.0 are one campaign
        "solver": module.VERSION,
        "rtol": solver.rtol,
        "atol": solver.atol,
    }
    paced = schedule(cell, None, duration_ms)
    key = stage_key(
        f"campaign {VERSION}",
        source=module.generate(cell),
        controls=cell.equations.controls,
        initial_state=cell.initial_state,
        scales=scales,
        edges_ms=paced.edges_ms,
        levels=paced.levels,
        # Shards cut at other cells must not stand side by side in one folder.
        cells_per_shard=_cells_per_shard(duration_ms),
        **determining,
    )
    model = {"cell": cell.name, "variant": cell.variant, "model": cell.model.code()}
    return {"key": key, **determining, **model, "units": {"time": "ms", "voltage": "mV", "dvdt": "mV/ms"}}
