"""Traces that other campaigns have of the same cells under the same conditions: they are copied, not made again."""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError
from cardioemu.simulation.store.shards import read_cells, read_traces
from cardioemu.simulation.store.store import FACTS, TraceStore
from cardioemu.traces import Trace


class TraceLocation(NamedTuple):
    """Where a trace lies."""

    shard: Path
    cell: int


TraceLocations = Mapping[bytes, TraceLocation]


def find_reusable(scales: Scales, conditions: str, here: Path) -> TraceLocations:
    """Finds which cells lie in the trace stores beside that of a campaign, by the bytes of their scale vectors.

    Args:
        scales: of the cells that are looked for (cells, scaled).
        conditions: what the facts of the other campaigns must say.
        here: the folder of the campaign.
    """
    here, found = here.absolute(), dict[bytes, TraceLocation]()  # absolute: for workers that are somewhere else
    wanted = {scale.tobytes() for scale in scales}
    for facts in sorted(here.parent.glob(f"*/{FACTS}")):
        with suppress(UserError, OSError):  # nothing is known of a store that cannot be read
            if facts.parent != here and (store := TraceStore(facts.parent)).metadata.get("conditions") == conditions:
                for name in store.entries:
                    found |= _of_shard(store, name, wanted)
    return found


def _of_shard(store: TraceStore, name: str, wanted: set[bytes]) -> TraceLocations:
    with suppress(UserError):
        shard = store.folder / name
        table = read_cells(shard, store.scaled)
        scales = (scale.tobytes() for scale in table[list(store.scaled)].to_numpy())
        cells = zip(scales, table["cell"].tolist(), strict=True)
        found = {scale: TraceLocation(shard, cell) for scale, cell in cells if scale in wanted}
        if found and not store.entries[name].fault(store.folder):
            return found
    return {}


def read_reusable(
    places: TraceLocations, scales: Scales, record: tuple[str, ...], duration_ms: float
) -> dict[int, Trace]:
    """Reads traces of those cells that lie somewhere, by their numbers; what is damaged by now is left out.

    Args:
        places: of cells that lie somewhere.
        scales: of the cells that are wanted (cells, scaled).
        record: states and variables kept beside V.
        duration_ms: length of every trace.
    """
    wanted: dict[Path, dict[int, int]] = defaultdict(dict)
    for number, scale in enumerate(scales):
        if place := places.get(scale.tobytes()):
            wanted[place.shard][place.cell] = number
    found: dict[int, Trace] = {}
    for shard, numbers in wanted.items():
        with suppress(UserError):
            traces = read_traces(shard, record, duration_ms)
            found |= {numbers[cell]: trace for cell, trace in traces if cell in numbers}
    return found
