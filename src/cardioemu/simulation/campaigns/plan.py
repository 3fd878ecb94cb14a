"""The specification of a campaign, and its plan: its inputs, its key, and the cells of each shard."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cardioemu.common.arrays import Scales
from cardioemu.runtime.files import content_key
from cardioemu.simulation.campaigns.executor_settings import Executor
from cardioemu.simulation.campaigns.shard_work import ShardTask, ShardWork
from cardioemu.simulation.cell import Cell
from cardioemu.simulation.equations import recorded_variables
from cardioemu.simulation.pacing.schedule import schedule
from cardioemu.simulation.scales import unique_rows
from cardioemu.simulation.settings import SolverSettings
from cardioemu.simulation.solvers import SOLVERS
from cardioemu.simulation.solvers.problem import absolute_tolerances
from cardioemu.simulation.store.shards import make_schema

# Raise it when the same inputs give other traces or other files: AP starts, labels, columns.
VERSION = 5
CELL_MS_PER_SHARD = 2e6
PACKAGES = ("cardioemu", "myokit", "numpy", "pyarrow", "scipy")


@dataclass(frozen=True, eq=False)
class CampaignSpec:
    """Specification of a campaign: what is simulated, where, and where the traces are stored.

    Attributes:
        cell: the cell model.
        scales: the design (cells, scaled); equal rows are simulated once.
        duration_ms: length of every trace.
        solver: solver and tolerances.
        folder: folder of trace stores; the store of this campaign is its subfolder `NAME-KEY`.
        executor: where the shards are simulated.
        record: states and variables to record in addition to V.
        transient_ms: time simulated before the traces begin; it is not stored.
    """

    cell: Cell
    scales: Scales
    duration_ms: float | int
    solver: SolverSettings
    folder: Path
    executor: Executor = field(default_factory=Executor)
    record: Sequence[str] = ()
    transient_ms: float | int = 0.0


class Plan(NamedTuple):
    """Plan of a campaign: what all shards share, the shards by file name, and the inputs as they are stored."""

    work: ShardWork
    tasks: dict[str, ShardTask]
    metadata: dict[str, Any]


def plan(spec: CampaignSpec) -> Plan:
    """Plan a campaign.

    Raises:
        UserError: two columns of the store would have the same name.
    """
    spec = replace(
        spec,
        duration_ms=float(spec.duration_ms),  # 5000 and 5000.0 have the same key
        transient_ms=float(spec.transient_ms),
        record=tuple(dict.fromkeys(spec.record)),
    )
    tasks = {task.name: task for task in _split(spec.scales, spec.transient_ms + spec.duration_ms)}
    metadata = _metadata(spec, len(tasks))
    variables = recorded_variables(spec.cell.equations, spec.record)
    units = {name: str(variable.unit() or "1") for name, variable in zip(spec.record, variables, strict=True)}
    work = ShardWork(
        folder=spec.folder / f"{spec.cell.name}-{metadata['key']}",
        key=metadata["key"],
        cell=spec.cell,
        duration_ms=spec.duration_ms,
        transient_ms=spec.transient_ms,
        solver=spec.solver,
        record=tuple(spec.record),
        schema=make_schema(spec.cell.scaled, units, metadata),
    )
    return Plan(work, tasks, metadata)


def _split(scales: Scales, simulated_ms: float) -> list[ShardTask]:
    """Split a design into shards of equal work, with equal scale vectors in the same shard."""
    vector_of_cell, first_cells = unique_rows(scales)
    count = -(-len(first_cells) // max(1, int(CELL_MS_PER_SHARD / simulated_ms)))
    ends = np.linspace(0, len(first_cells), count + 1).astype(int)
    order = np.argsort(vector_of_cell, kind="stable")
    cells_of_shard = map(np.sort, np.split(order, np.searchsorted(vector_of_cell[order], ends[1:-1])))
    return [
        ShardTask(f"shard-{i:05d}.parquet", cells, scales[first_cells[begin:end]], vector_of_cell[cells] - begin)
        for i, (cells, begin, end) in enumerate(zip(cells_of_shard, ends, ends[1:], strict=False))
    ]


def _metadata(spec: CampaignSpec, shards: int) -> dict[str, Any]:
    """Return the inputs of a campaign and the keys made of them."""
    cell, solver = spec.cell, spec.solver
    module = SOLVERS[solver.name]
    paced = schedule(cell, None, spec.transient_ms + spec.duration_ms)
    stored = {
        "scaled": list(cell.scaled),
        "duration_ms": spec.duration_ms,
        "transient_ms": spec.transient_ms,
        "solver": module.VERSION,
        "rtol": solver.rtol,
        "atol": solver.atol or {},
        "record": list(spec.record),
    }
    conditions = stored | {
        "source": module.generate(cell),
        "controls": cell.equations.control_values,
        "potential": cell.potential,
        "tolerances": absolute_tolerances(cell, solver.rtol, solver.atol),  # they depend on the units of the states
        "initial_state": cell.initial_state,
        "edges_ms": paced.edges_ms,
        "levels": paced.levels,
    }
    # The number of shards, because shards of another split must not get into the same folder.
    design = {"scales": spec.scales, "shards": shards}
    return {
        "key": content_key(f"campaign {VERSION}", **conditions, **design),
        "conditions": content_key(f"campaign {VERSION}", **conditions),  # all inputs of a trace except its scales
        "cells": len(spec.scales),
        "shards": shards,
        **stored,
        "cell": cell.name,
        "variant": cell.variant,
        "states": list(cell.states),
        "model": cell.model.code(),
        "cell_sha256": cell.digest,
        "versions": {package: version(package) for package in PACKAGES},
    }
