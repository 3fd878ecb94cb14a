"""Reuse of traces that other campaigns have of the same cells under the same conditions."""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError
from cardioemu.simulation.store.shards import read_cells, read_traces
from cardioemu.simulation.store.store import METADATA_FILE, TraceStore
from cardioemu.traces import Trace


class TraceLocation(NamedTuple):
    """Shard and cell number of a trace."""

    shard: Path
    cell: int


TraceLocations = Mapping[bytes, TraceLocation]


def find_reusable(scales: Scales, conditions: str, campaign_folder: Path) -> TraceLocations:
    """Find cells in the other trace stores next to that of a campaign.

    Args:
        scales: scale vectors to find (cells, scaled).
        conditions: `conditions` that the metadata of the other store must have.
        campaign_folder: folder of the campaign.

    Returns:
        Bytes of a scale vector -> location of its trace.
    """
    campaign_folder = campaign_folder.absolute()  # workers may have another working directory
    wanted = {scale.tobytes() for scale in scales}
    locations: dict[bytes, TraceLocation] = {}
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
        locations = {scale: TraceLocation(shard, cell) for scale, cell in cells if scale in wanted}
        if locations and not store.entries[name].find_fault(store.folder):
            return locations
    return {}


def read_reusable(
    locations: TraceLocations, scales: Scales, record: tuple[str, ...], duration_ms: float
) -> dict[int, Trace]:
    """Read the traces of cells that have a location; a shard damaged since then is ignored.

    Args:
        locations: bytes of a scale vector -> location of its trace.
        scales: scale vectors of the cells (cells, scaled).
        record: recorded states and variables.
        duration_ms: length of every trace.

    Returns:
        Row of `scales` -> trace.
    """
    row_of_cell: dict[Path, dict[int, int]] = defaultdict(dict)
    for row, scale in enumerate(scales):
        if location := locations.get(scale.tobytes()):
            row_of_cell[location.shard][location.cell] = row
    traces: dict[int, Trace] = {}
    for shard, rows in row_of_cell.items():
        with suppress(UserError):
            traces |= {rows[cell]: trace for cell, trace in read_traces(shard, record, duration_ms) if cell in rows}
    return traces
