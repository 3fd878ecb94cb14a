"""Emulators from files, of which nothing is executed."""

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
    """Reads tensors and plain values; nothing in the file is executed.

    Raises:
        UserError: the file is damaged, down to a single bit, or no checkpoint of this program.
    """
    try:
        # torch writes a checksum of every tensor but does not look at it when it reads.
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"{damaged} does not match its checksum")
        # Mapped: the weights come from the file as they are used, beside those of a network in training if need be.
        content = torch.load(path, map_location=map_location, weights_only=True, mmap=True)
    except Exception as error:
        said = str(error).partition(". ")[0]
        raise UserError(f"checkpoint: {path} cannot be read, it is damaged or of another program ({said})") from error
    if not isinstance(content, dict):
        raise UserError(f"checkpoint: {path} holds no emulator of this program")
    return content


def load_emulator(path: str | Path) -> Emulator:
    """Loads a trained emulator from a checkpoint; nothing in the file is executed.

    Raises:
        UserError: the file is missing, damaged, or no checkpoint of this version of the program.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"checkpoint: there is no file {path}; give the best.ckpt or last.ckpt of a run folder")
    content = read_checkpoint(path, "cpu")
    if CHECKPOINT_KEY not in content:
        raise UserError(f"checkpoint: {path} holds no emulator of this program")
    try:
        if (version := content[CHECKPOINT_KEY].get("version", 1)) == VERSION:
            return _from_checkpoint(content)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"checkpoint: {path} does not fit this version of the program ({error})") from error
    raise UserError(
        f"checkpoint: {path} is of version {version}, and this program reads version {VERSION}; train again, or use "
        "the program it was trained with (its run has the tag git.commit)"
    )


def _from_checkpoint(content: dict[str, Any]) -> Emulator:
    specification = Specification(**rename_keys(content[CHECKPOINT_KEY], SPECIFICATION))
    with torch.device("meta"):  # the weights come from the file: no initialisation, no second copy
        network = specification.build()
    weights = {key.removeprefix("network."): value for key, value in content["state_dict"].items()}
    network.load_state_dict(weights, assign=True)
    return Emulator(network, specification)
