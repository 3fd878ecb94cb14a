"""The folder of a campaign: what may lie in it, and whether it is as it was written."""

import json
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cardioemu.common.errors import UserError
from cardioemu.runtime.files import atomic_write, commit_file
from cardioemu.runtime.machine import available_cores
from cardioemu.simulation.campaigns.work import WrittenShard
from cardioemu.simulation.store.manifest import MANIFEST, MISSING, append, read_manifest
from cardioemu.simulation.store.store import FACTS, read_metadata


def check_foreign_files(folder: Path, shards: Collection[str]) -> None:
    """Refuses a folder that holds what does not belong to a campaign.

    Raises:
        UserError: it does.
    """
    known = {FACTS, MANIFEST, *shards}
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    if foreign := [name for name in names if not name.startswith((".", "_")) and name not in known]:
        raise UserError(f"{folder / foreign[0]} does not belong to the traces it lies among; move it away")


def check_integrity(folder: Path, key: str, names: Collection[str]) -> dict[str, str]:
    """Says what is wrong with each of some files of a campaign that is not as it was written; reads all of them.

    Args:
        folder: of the campaign.
        key: of the campaign.
        names: of shards, and of the facts.

    Raises:
        UserError: the folder holds the facts or the manifest of another campaign.
    """
    entries = read_manifest(folder, key)

    def fault(name: str) -> str | None:
        if name == FACTS:
            return _fault_of_facts(folder, key)
        return entries[name].fault(folder) if name in entries else MISSING

    with ThreadPoolExecutor(available_cores()) as pool:  # hashing lets go of the interpreter lock
        found = dict(zip(names, pool.map(fault, names), strict=True))
    return {name: wrong for name, wrong in found.items() if wrong}


def _fault_of_facts(folder: Path, key: str) -> str | None:
    try:
        facts = read_metadata(folder)
    except FileNotFoundError:
        return MISSING
    except UserError:
        return "is damaged"
    if facts.get("key") != key:
        raise UserError(f"{folder / FACTS} belongs to another campaign; move it away, or give another data_dir")
    return None


def write_metadata(folder: Path, facts: dict[str, Any]) -> None:
    """Writes what determines the campaign of a folder."""
    with atomic_write(folder / FACTS) as file:
        file.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def commit(folder: Path, written: WrittenShard) -> None:
    """Lists a written shard in the manifest and gives it its name: a shard that is there is always listed."""
    append(folder, written.entry)
    commit_file(written.temporary, folder / written.entry.shard)
