"""The folder of a campaign: which files may be in it, and whether they are intact."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cardioemu.common.errors import UserError
from cardioemu.runtime.machine import available_cores
from cardioemu.simulation.store.manifest import MANIFEST, MISSING, read_manifest
from cardioemu.simulation.store.store import METADATA_FILE, read_metadata


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
