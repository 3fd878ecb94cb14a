"""The trace store: a folder of Parquet shards with one row per cell, which any Parquet reader opens."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cardioemu.common.errors import UserError
from cardioemu.simulation.store.manifest import MANIFEST, Entry, read_manifest
from cardioemu.simulation.store.shards import read_cells, read_traces
from cardioemu.traces import Trace

METADATA_FILE = "_campaign.json"


class TraceStore:
    """Finished traces of one campaign, opened from its folder.

    Attributes:
        folder: the folder.
        metadata: inputs of the campaign: its key, cell model, solver, duration and package versions.
        key: key of the campaign.
        duration_ms: length of every trace.
        scaled: names of the scaled conductances.
        record: names of the recorded quantities.
        entries: manifest entries, by shard name.

    Raises:
        FileNotFoundError: the folder is not a trace store.
        UserError: the metadata are damaged, or the manifest belongs to another campaign.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / METADATA_FILE).is_file() or not (folder / MANIFEST).is_file():
            raise FileNotFoundError(f"{folder} is not a trace store")
        self.metadata = read_metadata(folder)
        try:
            self.key = str(self.metadata["key"])
            self.duration_ms = float(self.metadata["duration_ms"])
            self.scaled: tuple[str, ...] = tuple(self.metadata["scaled"])
            self.record: tuple[str, ...] = tuple(self.metadata["record"])
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(folder / METADATA_FILE, error) from error
        self.entries: dict[str, Entry] = read_manifest(folder, self.key)

    def __len__(self) -> int:
        return sum(entry.rows for entry in self.entries.values())

    @property
    def shards(self) -> list[Path]:
        """Paths of the shards."""
        return [self.folder / name for name in self.entries]

    def cells(self, shards: Sequence[Path] | None = None) -> pd.DataFrame:
        """Read all columns except the traces, one row per cell of all shards or of some.

        Columns: `cell`, the scales, `status`, `label`, `beats` (complete ones), and `cl_ms` and `apd90_ms` of the last
        beat.

        Raises:
            UserError: no shard is finished, or a shard is damaged.
        """
        if not self.entries:
            raise UserError(f"{self.folder / MANIFEST} lists no finished shard; re-run the campaign")
        tables = [read_cells(shard, self.scaled) for shard in (self.shards if shards is None else shards)]
        return pd.concat(tables, ignore_index=True).sort_values("cell", ignore_index=True)

    def traces(self, shard: Path) -> Iterator[tuple[int, Trace]]:
        """Yield cell number and trace of each cell of one shard; about 1 MB is in memory at a time."""
        return read_traces(shard, self.record, self.duration_ms)

    def trace(self, cell: int) -> Trace:
        """Read the trace of one cell.

        Raises:
            KeyError: no finished shard holds the cell.
        """
        for name, entry in self.entries.items():
            if entry.first <= cell <= entry.last:
                traces = dict(read_traces(self.folder / name, self.record, self.duration_ms, cell))
                if cell in traces:
                    return traces[cell]
        raise KeyError(f"{self.folder} has no cell {cell}")

    def verify(self) -> dict[str, str]:
        """Compare every shard with its checksum; return the fault of each damaged shard by its name."""
        faults = {name: entry.find_fault(self.folder) for name, entry in self.entries.items()}
        return {name: fault for name, fault in faults.items() if fault is not None}


def read_metadata(folder: Path) -> dict[str, Any]:
    """Read the inputs of the campaign of a folder.

    Raises:
        FileNotFoundError: there are none.
        UserError: they are damaged.
    """
    path = folder / METADATA_FILE
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is damaged ({error!r}); re-run the campaign, which repairs it")
