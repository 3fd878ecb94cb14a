"""Shards: the Parquet files of a trace store, one row per cell, read one row group at a time."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError
from cardioemu.traces import Recording, Trace, beat_biomarkers

BYTES_PER_ROW_GROUP = 2**20  # reading a single trace reads one row group
OF_CELL = ("status", "label", "beats", "cl_ms", "apd90_ms")
SINGLE = ("status", "starts_before")
STEPS = ("time_ms", "voltage_mV", "dvdt_mV_per_ms")

_LONG, _SHORT = pa.list_(pa.float64()), pa.list_(pa.float32())
_FIELDS = (
    pa.field("status", pa.string()),
    pa.field("label", pa.string()),
    pa.field("beats", pa.int64()),
    pa.field("cl_ms", pa.float64(), metadata={"unit": "ms"}),
    pa.field("apd90_ms", pa.float64(), metadata={"unit": "ms"}),
    pa.field("time_ms", _LONG, metadata={"unit": "ms"}),
    pa.field("voltage_mV", _SHORT, metadata={"unit": "mV"}),
    pa.field("dvdt_mV_per_ms", _SHORT, metadata={"unit": "mV/ms"}),
    pa.field("starts_ms", _LONG, metadata={"unit": "ms"}),
    pa.field("final_state", _LONG),
    pa.field("starts_before", pa.int64()),
)


def slope_column(recorded: str) -> str:
    """Return the name of the column with the time derivative of a recorded quantity."""
    return f"{recorded} per ms"


def make_schema(scaled: Sequence[str], record: Mapping[str, str], metadata: Mapping[str, object]) -> pa.Schema:
    """Return the schema of every shard of a campaign; `record` has the unit of each recorded quantity.

    The units are in the metadata of the fields, the inputs of the campaign, as JSON, in those of the schema.

    Raises:
        UserError: a scaled conductance or recorded quantity has the name of another column.
    """
    scales = [pa.field(name, pa.float64(), metadata={"unit": "1"}) for name in scaled]
    recorded = []
    for name, unit in record.items():
        recorded += [pa.field(name, _SHORT, metadata={"unit": unit})]
        recorded += [pa.field(slope_column(name), _SHORT, metadata={"unit": f"{unit} per ms"})]
    fields = [pa.field("cell", pa.int64()), *scales, *_FIELDS, *recorded]
    names = [field.name for field in fields]
    if duplicates := [name for name in [*scaled, *record] if names.count(name) > 1]:
        raise UserError(
            f"simulator: got two columns {duplicates[0]!r} in the trace store; rename the scaled conductance "
            "(simulator.scaled) or do not record the quantity (simulator.record)"
        )
    return pa.schema(fields, {b"cardioemu": json.dumps(dict(metadata)).encode()})


def to_rows(
    schema: pa.Schema, cells: np.ndarray, scales: Scales, traces: Sequence[Trace], trace_indices: np.ndarray
) -> pa.Table:
    """Convert distinct traces to a table with one row per cell.

    Each cell has a number in `cells` (rows,), a vector in `scales` (rows, scaled) and the index of its trace in
    `trace_indices` (rows,).
    """
    beats = [_last_beat(trace) for trace in traces]
    # Readers other than `from_rows` need `starts_ms`; a `Trace` finds its starts itself.
    values: dict[str, Sequence[object]] = {
        "status": [trace.status for trace in traces],
        "label": [trace.label for trace in traces],
        **{name: [beat[name] for beat in beats] for name in ("beats", "cl_ms", "apd90_ms")},
        "time_ms": [trace.step_time_ms for trace in traces],
        "voltage_mV": [trace.step_value for trace in traces],
        "dvdt_mV_per_ms": [trace.step_slope for trace in traces],
        "starts_ms": [trace.starts_ms for trace in traces],
        "final_state": [trace.final_state for trace in traces],
        "starts_before": [trace.aps_before_start for trace in traces],
    }
    for name in traces[0].recorded:
        values[name] = [trace.recorded[name].step_value for trace in traces]
        values[slope_column(name)] = [trace.recorded[name].step_slope for trace in traces]
    distinct = pa.table(values, pa.schema([schema.field(name) for name in values])).take(trace_indices)
    own = dict(zip(schema.names, [cells, *scales.T], strict=False))  # `cell` and the scales are the first columns
    return pa.table({name: own[name] if name in own else distinct[name] for name in schema.names}, schema)


def _last_beat(trace: Trace) -> dict[str, float | int | None]:
    starts = [0.0, *trace.starts_ms.tolist()]
    if len(starts) < 3:
        return {"beats": 0, "cl_ms": None, "apd90_ms": None}
    since, start, end = starts[-3:]
    apd90_ms = beat_biomarkers(trace, start, end, since, apd_percent=[90])["apd90_ms"]
    return {"beats": len(starts) - 2, "cl_ms": end - start, "apd90_ms": apd90_ms}


def from_rows(table: pa.Table, record: Sequence[str], duration_ms: float) -> Iterator[tuple[int, Trace]]:
    """Yield the cell number and trace of each row."""
    columns = {name: table[name].combine_chunks() for name in trace_columns(record)}
    single_values = zip(*(table[name].to_pylist() for name in ("cell", *SINGLE)), strict=True)
    for row, (cell, status, starts_before) in enumerate(single_values):
        arrays = {name: column[row].values.to_numpy() for name, column in columns.items()}
        time_ms, voltage_mV, slope = (arrays[name] for name in STEPS)
        recorded = {
            name: Recording(time_ms, arrays[name], arrays[slope_column(name)], duration_ms, status) for name in record
        }
        final = arrays["final_state"]
        yield cell, Trace(time_ms, voltage_mV, slope, duration_ms, status, recorded, final, starts_before)


def trace_columns(record: Sequence[str]) -> list[str]:
    """Return the names of the list columns of a trace; its columns with one value are `SINGLE`."""
    return [*STEPS, "final_state", *record, *map(slope_column, record)]


def write_shard(table: pa.Table, file: Path | BytesIO) -> None:
    """Write the rows of a shard."""
    lists = [field.name for field in table.schema if pa.types.is_list(field.type)]
    pq.write_table(
        table,
        file,
        row_group_size=max(1, BYTES_PER_ROW_GROUP * len(table) // max(table.nbytes, 1)),
        compression="zstd",
        use_dictionary=False,
        # Byte-stream splitting puts the exponents of floats next to each other, and zstd compresses those.
        use_byte_stream_split=[f"{name}.list.element" for name in lists],
        write_page_checksum=True,
    )


def read_cells(path: Path, scaled: Sequence[str]) -> pd.DataFrame:
    """Read the columns of every cell of a shard except its trace."""
    with _open_shard(path) as file:
        return file.read(["cell", *scaled, *OF_CELL]).to_pandas()


def read_traces(
    path: Path, record: Sequence[str], duration_ms: float, cell: int | None = None
) -> Iterator[tuple[int, Trace]]:
    """Yield cell number and trace of all cells of a shard, or of those in the row groups that may hold `cell`."""
    with _open_shard(path) as file:
        for group in range(file.metadata.num_row_groups):
            cells = file.metadata.row_group(group).column(0).statistics
            if cell is None or cells.min <= cell <= cells.max:
                table = file.read_row_group(group, ["cell", *SINGLE, *trace_columns(record)])
                yield from from_rows(table, record, duration_ms)


@contextmanager
def _open_shard(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path} is damaged or missing ({error}); re-run its campaign, which repairs it") from error
