"""The plan of a campaign: what determines it, its key, and which cells each shard holds."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cardioemu.common.arrays import Scales
from cardioemu.runtime.files import content_key
from cardioemu.simulation.campaigns.settings import SolverSettings
from cardioemu.simulation.campaigns.work import CampaignSpec, ShardTask
from cardioemu.simulation.cell import Cell
from cardioemu.simulation.equations import recorded_variables
from cardioemu.simulation.pacing.schedule import schedule
from cardioemu.simulation.scales import unique_rows
from cardioemu.simulation.solvers import SOLVERS
from cardioemu.simulation.solvers.problem import absolute_tolerances
from cardioemu.simulation.store.columns import schema

# Raise it when the same inputs give other traces or another file: the AP start, the label, the columns.
VERSION = 5
CELL_MS_PER_SHARD = 2e6
PACKAGES = ("cardioemu", "myokit", "numpy", "pyarrow", "scipy")


def plan(
    cell: Cell,
    scales: Scales,
    duration_ms: float | int,
    solver: SolverSettings,
    record: Sequence[str],
    folder: Path,
    transient_ms: float | int = 0.0,
) -> tuple[CampaignSpec, dict[str, ShardTask], dict[str, Any]]:
    """Plans a campaign.

    Args:
        cell: the cell model.
        scales: the design (cells, scaled).
        duration_ms: length of every trace.
        solver: which solver, how accurately.
        record: states and variables to keep beside V.
        folder: where trace stores are kept; this one is in `NAME-KEY` below it.
        transient_ms: how long each cell is simulated before its trace begins.

    Returns:
        What all shards share, the shards by name, and the facts that are written beside them.

    Raises:
        UserError: two columns of the store would have one name.
    """
    record = tuple(dict.fromkeys(record))
    duration_ms, transient_ms = float(duration_ms), float(transient_ms)  # 5000 and 5000.0 are one campaign
    shards = {shard.name: shard for shard in _shards(scales, transient_ms + duration_ms)}
    facts = _facts(cell, scales, duration_ms, transient_ms, solver, record, len(shards))
    units = {
        name: str(variable.unit() or "1")
        for name, variable in zip(record, recorded_variables(cell.equations, record), strict=True)
    }
    here = folder / f"{cell.name}-{facts['key']}"
    work = CampaignSpec(
        here, facts["key"], cell, duration_ms, transient_ms, solver, record, schema(cell.scaled, units, facts)
    )
    return work, shards, facts


def _shards(scales: Scales, simulated_ms: float) -> list[ShardTask]:
    """Cuts a design into shards of equal work; equal scale vectors are in the same one and are simulated once."""
    number, first = unique_rows(scales)
    count = -(-len(first) // max(1, int(CELL_MS_PER_SHARD / simulated_ms)))
    ends = np.linspace(0, len(first), count + 1).astype(int)
    order = np.argsort(number, kind="stable")
    rows = np.split(order, np.searchsorted(number[order], ends[1:-1]))
    return [
        ShardTask(f"shard-{i:05d}.parquet", np.sort(cells), scales[first[begin:end]], number[np.sort(cells)] - begin)
        for i, (cells, begin, end) in enumerate(zip(rows, ends, ends[1:], strict=False))
    ]


def _facts(
    cell: Cell,
    scales: Scales,
    duration_ms: float,
    transient_ms: float,
    solver: SolverSettings,
    record: tuple[str, ...],
    shards: int,
) -> dict[str, Any]:
    module = SOLVERS[solver.name]
    paced = schedule(cell, None, transient_ms + duration_ms)
    determining = {
        "scaled": list(cell.scaled),
        "duration_ms": duration_ms,
        "transient_ms": transient_ms,
        "solver": module.VERSION,
        "rtol": solver.rtol,
        "atol": solver.atol or {},
        "record": list(record),
    }
    conditions = determining | {
        "source": module.generate(cell),
        "controls": cell.equations.control_values,
        "potential": cell.potential,
        "tolerances": absolute_tolerances(cell, solver.rtol, solver.atol),  # units of states count
        "initial_state": cell.initial_state,
        "edges_ms": paced.edges_ms,
        "levels": paced.levels,
    }
    # Shards that were cut at other cells must not stand side by side in one folder.
    design = {"scales": scales, "shards": shards}
    return {
        "key": content_key(f"campaign {VERSION}", **conditions, **design),
        "conditions": content_key(f"campaign {VERSION}", **conditions),  # all that a trace hangs on but its scales
        "cells": len(scales),
        "shards": shards,
        **determining,
        "cell": cell.name,
        "variant": cell.variant,
        "states": list(cell.states),
        "model": cell.model.code(),
        "cell_sha256": cell.digest,
        "versions": {package: version(package) for package in PACKAGES},
    }
