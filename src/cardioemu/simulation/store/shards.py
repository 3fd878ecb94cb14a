"""Shards: the Parquet files of a trace store, read one row group at a time."""

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

BYTES_PER_ROW_GROUP = 2**20  # reading a single trace reads one row group


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
