"""What a row of a trace store holds: its columns with their units, and traces put into rows and taken out again."""

import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from cardioemu.common.arrays import Scales
from cardioemu.common.errors import UserError
from cardioemu.traces import Recording, Trace, beat_biomarkers

METADATA = b"cardioemu"
OF_CELL = ("status", "label", "beats", "cl_ms", "apd90_ms")
SINGLE = ("status", "starts_before")
STEPS = ("time_ms", "voltage_mV", "dvdt_mV_per_ms")
# By tables that have a column for each conductance beside their own: of windows, and of the errors of cells.
TAKEN = ("outcome", "shard", "row", "begin_ms", "length_ms", "cycle_length_ms", "emulator", "distance")

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
    """Names the column with the time derivative of a recorded quantity."""
    return f"{recorded} per ms"


def schema(scaled: Sequence[str], record: Mapping[str, str], facts: Mapping[str, object]) -> pa.Schema:
    """Returns the schema of every shard of a campaign: units in the metadata of its fields, `facts` as JSON in its own.

    Args:
        scaled: names of the scaled conductances.
        record: name of each recorded quantity -> its unit.
        facts: what determined the campaign.

    Raises:
        UserError: a scaled conductance or recorded quantity with the name of another column.
    """
    scales = [pa.field(name, pa.float64(), metadata={"unit": "1"}) for name in scaled]
    recorded = []
    for name, unit in record.items():
        recorded += [pa.field(name, _SHORT, metadata={"unit": unit})]
        recorded += [pa.field(slope_column(name), _SHORT, metadata={"unit": f"{unit} per ms"})]
    fields = [pa.field("cell", pa.int64()), *scales, *_FIELDS, *recorded]
    names = [field.name for field in fields]
    if twice := [n for n in [*scaled, *record] if names.count(n) > 1 or (n in scaled and n in TAKEN)]:
        raise UserError(
            f"simulator: there would be two columns {twice[0]!r}, in the trace store or in tables made of it; give the "
            "quantity another name"
        )
    return pa.schema(fields, {METADATA: json.dumps(dict(facts)).encode()})


def to_rows(schema: pa.Schema, cells: np.ndarray, scales: Scales, traces: Sequence[Trace], of: np.ndarray) -> pa.Table:
    """Puts traces into rows, one for each cell.

    Args:
        schema: of the campaign.
        cells: rows of the design (rows,).
        scales: their scale vectors (rows, scaled).
        traces: the distinct ones.
        of: the index of each cell's trace (rows,).
    """
    beats = [_last_beat(trace) for trace in traces]
    values: dict[str, Sequence[object]] = {
        "status": [trace.status for trace in traces],
        "label": [trace.label for trace in traces],
        **{name: [b[name] for b in beats] for name in ("beats", "cl_ms", "apd90_ms")},
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
    distinct = pa.table([pa.array(v, schema.field(n).type) for n, v in values.items()], list(values)).take(of)
    design = dict(zip(schema.names, [cells, *scales.T], strict=False))
    return pa.table({n: design.get(n, distinct[n] if n in values else None) for n in schema.names}, schema)


def _last_beat(trace: Trace) -> dict[str, float | int | None]:
    starts = [0.0, *trace.starts_ms.tolist()]
    if len(starts) < 3:
        return {"beats": 0, "cl_ms": None, "apd90_ms": None}
    since, start, end = starts[-3:]
    apd90_ms = beat_biomarkers(trace, start, end, since, apd_percent=[90])["apd90_ms"]
    return {"beats": len(starts) - 2, "cl_ms": end - start, "apd90_ms": apd90_ms}


def from_rows(table: pa.Table, record: Sequence[str], duration_ms: float) -> Iterator[tuple[int, Trace]]:
    """Takes the traces out of some rows, each with the number of its cell."""
    lists = {name: _ListColumn(table[name]) for name in trace_columns(record)}
    of_cells = zip(*(table[name].to_pylist() for name in ("cell", *SINGLE)), strict=True)
    for row, (cell, status, before) in enumerate(of_cells):
        of_cell = {name: column[row] for name, column in lists.items()}
        time_ms, voltage_mV, dvdt_mV_per_ms = (of_cell[name] for name in STEPS)
        recorded = {
            name: Recording(time_ms, of_cell[name], of_cell[slope_column(name)], duration_ms, status) for name in record
        }
        final = of_cell["final_state"]
        yield cell, Trace(time_ms, voltage_mV, dvdt_mV_per_ms, duration_ms, status, recorded, final, before)


def trace_columns(record: Sequence[str]) -> list[str]:
    """Names the list columns that a trace is made of; those with one value are `SINGLE`."""
    return [*STEPS, "final_state", *record, *map(slope_column, record)]


class _ListColumn:
    """Rows of a list column as NumPy arrays, without a Python object per number."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        array = column.combine_chunks()
        self.offsets, self.values = array.offsets.to_numpy(), array.values.to_numpy()

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]
