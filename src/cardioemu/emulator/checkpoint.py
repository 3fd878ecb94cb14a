"""Emulators loaded from checkpoint files, without executing anything in them."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from cardioemu.common.errors import UserError
from cardioemu.common.old_names import SPECIFICATION, rename_keys
from cardioemu.emulator.emulator import Emulator
from cardioemu.emulator.specification import VERSION, Specification

CHECKPOINT_KEY = "emulator"


def read_checkpoint(path: str | Path, map_location: Any = None) -> dict[str, Any]:
    """Read the tensors and plain values of a checkpoint; nothing in the file is executed.

    Raises:
        UserError: the file is damaged, even by a single bit, or is not a checkpoint of this program.
    """
    try:
        # torch stores a checksum of every tensor but does not verify it when it reads.
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"{damaged} does not match its checksum")
        # Memory-mapped: reading takes little memory, even next to a network in training.
        content = torch.load(path, map_location=map_location, weights_only=True, mmap=True)
    except Exception as error:
        reason = str(error).partition(". ")[0]
        raise UserError(
            f"checkpoint: {path} cannot be read, it is damaged or from another program ({reason})"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"checkpoint: {path} contains no emulator of this program")
    return content


def load_emulator(path: str | Path) -> Emulator:
    """Load a trained emulator from a checkpoint file; see `cardioemu.load_emulator` for MLflow models.

    Raises:
        UserError: the file is missing or damaged, or is not a checkpoint that this version of the program can read.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"checkpoint: there is no file {path}; give the best.ckpt or last.ckpt of a run folder")
    content = read_checkpoint(path, "cpu")
    if CHECKPOINT_KEY not in content:
        raise UserError(f"checkpoint: {path} contains no emulator of this program")
    try:
        if (version := content[CHECKPOINT_KEY].get("version", 1)) == VERSION:
            return _from_checkpoint(content)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"checkpoint: {path} does not fit this version of the program ({error})") from error
    raise UserError(
        f"checkpoint: {path} has version {version}, but this program reads version {VERSION}; train again, or use the "
        "program that trained it (tag git.commit of its run in MLflow)"
    )


def _from_checkpoint(content: dict[str, Any]) -> Emulator:
    specification = Specification(**rename_keys(content[CHECKPOINT_KEY], SPECIFICATION))
    with torch.device("meta"):  # the weights come from the file: no initialisation, no second copy
        network = specification.build()
    weights = {key.removeprefix("network."): value for key, value in content["state_dict"].items()}
    network.load_state_dict(weights, assign=True)
    return Emulator(network, specification)
