"""Shards: the Parquet files of a trace store, read by row group so that memory never holds more than one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cardioemu.common.errors import UserError
from cardioemu.simulation.store.columns import OF_CELL, SINGLE, from_rows, trace_columns
from cardioemu.traces import Trace

BYTES_PER_ROW_GROUP = 2**20  # what reading a single trace costs


def write(table: pa.Table, file: Path | BytesIO) -> None:
    """Writes the rows of a shard."""
    lists = [field.name for field in table.schema if pa.types.is_list(field.type)]
    pq.write_table(
        table,
        file,
        row_group_size=max(1, BYTES_PER_ROW_GROUP * len(table) // max(table.nbytes, 1)),
        compression="zstd",
        use_dictionary=False,
        # Float mantissas do not repeat: byte-stream splitting lets zstd see their exponents side by side.
        use_byte_stream_split=[f"{name}.list.element" for name in lists],
        write_page_checksum=True,
    )


def read_cells(path: Path, scaled: Sequence[str]) -> pd.DataFrame:
    """Reads what is known of every cell of a shard but its trace."""
    with _undamaged(path) as file:
        return file.read(["cell", *scaled, *OF_CELL]).to_pandas()


def read_traces(
    path: Path, record: Sequence[str], duration_ms: float, cell: int | None = None
) -> Iterator[tuple[int, Trace]]:
    """Reads the traces of a shard, or of the row group that may hold one cell, each with the number of its cell."""
    with _undamaged(path) as file:
        for group in range(file.metadata.num_row_groups):
            cells = file.metadata.row_group(group).column(0).statistics
            if cell is None or cells.min <= cell <= cells.max:
                table = file.read_row_group(group, ["cell", *SINGLE, *trace_columns(record)])
                yield from from_rows(table, record, duration_ms)


@contextmanager
def _undamaged(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path} is damaged or gone ({error}); run its campaign again, which mends it") from error
