"""The trace store: a folder of Parquet shards with one row per cell, readable without us."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cardioemu.common.errors import UserError
from cardioemu.simulation.store.manifest import MANIFEST, Entry, read_manifest
from cardioemu.simulation.store.shards import read_cells, read_traces
from cardioemu.traces import Trace

FACTS = "_campaign.json"


class TraceStore:
    """The finished traces of one campaign, opened from its folder.

    Attributes:
        facts: what determined the campaign: its key, cell model, solver, duration and versions.
        entries: what the manifest says of each shard.

    Raises:
        FileNotFoundError: the folder holds no trace store.
        UserError: its facts cannot be read, or its manifest is that of another campaign.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / FACTS).is_file() or not (folder / MANIFEST).is_file():
            raise FileNotFoundError(f"{folder} holds no trace store")
        self.metadata = read_metadata(folder)
        try:
            self.key = str(self.metadata["key"])
            self.duration_ms = float(self.metadata["duration_ms"])
            self.scaled: tuple[str, ...] = tuple(self.metadata["scaled"])
            self.record: tuple[str, ...] = tuple(self.metadata["record"])
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(folder / FACTS, error) from error
        self.entries: dict[str, Entry] = read_manifest(folder, self.key)

    def __len__(self) -> int:
        return sum(entry.rows for entry in self.entries.values())

    @property
    def shards(self) -> list[Path]:
        """Paths of the shards."""
        return [self.folder / name for name in self.entries]

    def cells(self, shards: Sequence[Path] | None = None) -> pd.DataFrame:
        """Reads what is known of every cell, or of those of some shards, but its trace: one row per row of the design.

        Columns: `cell`, the scales, `status`, `label`, `beats` (complete ones), and `cl_ms` and `apd90_ms` of the last.

        Raises:
            UserError: none is finished, or a shard is damaged.
        """
        if not self.entries:
            raise UserError(f"{self.folder / MANIFEST} names no finished shard; run the campaign again")
        tables = [read_cells(shard, self.scaled) for shard in (self.shards if shards is None else shards)]
        return pd.concat(tables, ignore_index=True).sort_values("cell", ignore_index=True)

    def traces(self, shard: Path) -> Iterator[tuple[int, Trace]]:
        """Reads the traces of one shard, each with the number of its cell; memory holds about 1 MB of them at once."""
        return read_traces(shard, self.record, self.duration_ms)

    def trace(self, cell: int) -> Trace:
        """Reads the trace of one cell, and little else.

        Raises:
            KeyError: no finished shard holds that cell.
        """
        for name, entry in self.entries.items():
            if entry.first <= cell <= entry.last:
                found = dict(read_traces(self.folder / name, self.record, self.duration_ms, cell))
                if cell in found:
                    return found[cell]
        raise KeyError(f"{self.folder} has no cell {cell}")

    def verify(self) -> dict[str, str]:
        """Holds every shard against its checksum and says of those that fail what is wrong."""
        faults = {name: entry.fault(self.folder) for name, entry in self.entries.items()}
        return {name: fault for name, fault in faults.items() if fault is not None}


def read_metadata(folder: Path) -> dict[str, Any]:
    """Reads what determined the campaign of a folder.

    Raises:
        FileNotFoundError: there is none.
        UserError: it is damaged.
    """
    path = folder / FACTS
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is damaged ({error!r}); run the campaign again, which mends it")
