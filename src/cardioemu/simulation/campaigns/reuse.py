"""Reuse of traces that other campaigns have of the same cells under the same conditions."""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError
from cardioemu.simulation.store.shards import read_cells, read_traces
from cardioemu.simulation.store.store import METADATA_FILE, TraceStore
from cardioemu.traces import Trace

TraceLocations: TypeAlias = Mapping[bytes, tuple[Path, int]]
"""Bytes of a scale vector -> shard and cell number of its trace."""


def find_reusable(scales: Scales, conditions: str, campaign_folder: Path) -> TraceLocations:
    """Find cells in those trace stores next to that of a campaign whose metadata have the same `conditions`."""
    campaign_folder = campaign_folder.absolute()  # workers may have another working directory
    wanted = {scale.tobytes() for scale in scales}
    locations: dict[bytes, tuple[Path, int]] = {}
    for path in sorted(campaign_folder.parent.glob(f"*/{METADATA_FILE}")):
        if path.parent == campaign_folder:
            continue
        with suppress(UserError, OSError):  # an unreadable store has nothing to reuse
            store = TraceStore(path.parent)
            if store.metadata.get("conditions") == conditions:
                for name in store.entries:
                    locations |= _find_in_shard(store, name, wanted)
    return locations


def _find_in_shard(store: TraceStore, name: str, wanted: set[bytes]) -> TraceLocations:
    with suppress(UserError):
        shard = store.folder / name
        table = read_cells(shard, store.scaled)
        scales = (scale.tobytes() for scale in table[list(store.scaled)].to_numpy())
        cells = zip(scales, table["cell"].tolist(), strict=True)
        locations = {scale: (shard, cell) for scale, cell in cells if scale in wanted}
        if locations and not store.entries[name].find_fault(store.folder):
            return locations
    return {}


def read_reusable(
    locations: TraceLocations, scales: Scales, record: tuple[str, ...], duration_ms: float
) -> dict[int, Trace]:
    """Return row of `scales` -> trace of the cells that have a location; a shard damaged since then is ignored."""
    row_of_cell: dict[Path, dict[int, int]] = defaultdict(dict)
    for row, scale in enumerate(scales):
        if location := locations.get(scale.tobytes()):
            shard, cell = location
            row_of_cell[shard][cell] = row
    traces: dict[int, Trace] = {}
    for shard, rows in row_of_cell.items():
        with suppress(UserError):
            traces |= {rows[cell]: trace for cell, trace in read_traces(shard, record, duration_ms) if cell in rows}
    return traces
