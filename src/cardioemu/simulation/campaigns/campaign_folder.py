"""Files on the disk: which of a campaign are intact, and which of others have traces that it can reuse."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError
from cardioemu.runtime.machine import available_cores
from cardioemu.simulation.store import METADATA_FILE, TraceStore, read_metadata
from cardioemu.simulation.store.manifest import MANIFEST, MISSING, read_manifest
from cardioemu.simulation.store.shards import read_cells, read_traces
from cardioemu.traces import Trace

TraceLocations: TypeAlias = Mapping[bytes, tuple[Path, int]]
"""Bytes of a scale vector -> shard and cell number of its trace."""


def check_foreign_files(folder: Path, shards: Collection[str]) -> None:
    """Check that a folder holds only files of its campaign.

    Raises:
        UserError: it holds another file.
    """
    expected = {METADATA_FILE, MANIFEST, *shards}
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    if foreign := [name for name in names if not name.startswith((".", "_")) and name not in expected]:
        raise UserError(f"data_dir: {folder / foreign[0]} does not belong to the trace store; move it away")


def find_faults(folder: Path, key: str, names: Collection[str]) -> dict[str, str]:
    """Read shards of a campaign, and its metadata file; return the fault of each missing or damaged one by its name.

    Raises:
        UserError: the metadata or the manifest belong to another campaign.
    """
    entries = read_manifest(folder, key)

    def find_fault(name: str) -> str | None:
        if name == METADATA_FILE:
            return _find_metadata_fault(folder, key)
        return entries[name].find_fault(folder) if name in entries else MISSING

    with ThreadPoolExecutor(available_cores()) as pool:  # hashing releases the GIL
        faults = dict(zip(names, pool.map(find_fault, names), strict=True))
    return {name: fault for name, fault in faults.items() if fault}


def _find_metadata_fault(folder: Path, key: str) -> str | None:
    try:
        metadata = read_metadata(folder)
    except FileNotFoundError:
        return MISSING
    except UserError:
        return "is damaged"
    if metadata.get("key") != key:
        path = folder / METADATA_FILE
        raise UserError(f"data_dir: {path} belongs to another campaign; move it away, or set another data_dir")
    return None


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
