"""The trace store: a Parquet dataset with one row per cell, readable without us."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cardioemu.errors import UserError
from cardioemu.storage import atomic
from cardioemu.traces import Trace
from cardioemu.types import Scales

LISTS = {
    "time_ms": pa.list_(pa.float64()),
    "voltage_mV": pa.list_(pa.float32()),
    "dvdt_mV_per_ms": pa.list_(pa.float32()),
    "starts_ms": pa.list_(pa.float64()),
}
STEPS = ("time_ms", "voltage_mV", "dvdt_mV_per_ms")


class TraceStore:
    """The traces of one campaign: a folder of Parquet shards.

    Columns: `cell` (row of the design), one column per scaled conductance, `status`, `label`, and per cell the lists
    `time_ms`, `voltage_mV`, `dvdt_mV_per_ms` (the accepted steps) and `starts_ms`. The schema metadata of every shard,
    under "cardioemu", holds as JSON the campaign's key, cell model, solver and duration.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shards = sorted(folder.glob("shard-*.parquet"))
        if not self.shards:
            raise FileNotFoundError(f"{folder} holds no trace store")
        schema = pq.read_schema(self.shards[0])
        self.facts: dict[str, object] = json.loads(schema.metadata[b"cardioemu"])
        self.key = str(self.facts["key"])
        self.duration_ms = float(self.facts["duration_ms"])
        self.scaled = tuple(self.facts["scaled"])

    def cells(self) -> pd.DataFrame:
        """Reads what is known of every cell but its trace: `cell`, the scales, `status`, `label`."""
        columns = ["cell", *self.scaled, "status", "label"]
        return pd.concat([_read(shard, columns).to_pandas() for shard in self.shards], ignore_index=True)

    def traces(self, shard: Path) -> Iterator[tuple[int, Trace]]:
        """Reads the traces of one shard, each with the number of its cell."""
        table = _read(shard, ["cell", "status", *STEPS])
        lists = {name: _ListColumn(table[name]) for name in STEPS}
        for row, (cell, status) in enumerate(zip(table["cell"].to_pylist(), table["status"].to_pylist(), strict=True)):
            time_ms, voltage_mV, dvdt_mV_per_ms = (lists[name][row] for name in STEPS)
            yield cell, Trace(time_ms, voltage_mV, dvdt_mV_per_ms, self.duration_ms, status)


def _read(shard: Path, columns: list[str]) -> pa.Table:
    try:
        return pq.read_table(shard, columns=columns, page_checksum_verification=True)
    except OSError as error:
        raise UserError(f"{shard} is damaged; delete it and start again, nothing else is simulated anew") from error


class _ListColumn:
    """Rows of a list column as NumPy arrays, without a Python object per number."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        array = column.combine_chunks()
        self.offsets, self.values = array.offsets.to_numpy(), array.values.to_numpy()

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]


def is_whole(path: Path) -> bool:
    """Returns whether a shard is there to its last byte: Parquet's table of contents stands at the end."""
    try:
        pq.read_metadata(path)
    except (OSError, pa.ArrowInvalid):
        return False
    return True


def write_shard(
    path: Path,
    cells: Sequence[int],
    scales: Scales,
    scaled: Sequence[str],
    traces: Sequence[Trace],
    facts: Mapping[str, object],
) -> None:
    """Writes the traces of some cells as one shard, whole or not at all."""
    columns: dict[str, pa.Array] = {"cell": pa.array(cells, pa.int64())}
    columns |= {name: pa.array(scales[:, i]) for i, name in enumerate(scaled)}
    columns["status"] = pa.array([trace.status for trace in traces], pa.string())
    columns["label"] = pa.array([trace.label for trace in traces], pa.string())
    values = (
        [trace.step_time_ms for trace in traces],
        [trace.step_voltage_mV for trace in traces],
        [trace.step_dvdt_mV_per_ms for trace in traces],
        [trace.starts_ms for trace in traces],
    )
    columns |= {name: pa.array(v, kind) for (name, kind), v in zip(LISTS.items(), values, strict=True)}
    table = pa.table(columns).replace_schema_metadata({"cardioemu": json.dumps(dict(facts))})
    with atomic(path) as temporary:
        # Float mantissas do not repeat: byte-stream splitting lets zstd see their exponents side by side.
        leaves = [f"{name}.list.element" for name in LISTS]
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            use_dictionary=False,
            use_byte_stream_split=leaves,
            write_page_checksum=True,
        )
