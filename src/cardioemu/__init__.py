"""Simulate populations of heart cells, train emulators of their action potential, track every experiment."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cardioemu.common.errors import UserError

if TYPE_CHECKING:
    from cardioemu.emulator import Emulator, Prediction

# Large tensors in large pages: a wide network trains a quarter faster on a CPU. torch looks when it first allocates.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__all__ = ["Emulator", "Prediction", "UserError", "load_emulator"]


def load_emulator(path: str | Path) -> "Emulator":
    """Loads a trained emulator from a checkpoint or from MLflow; nothing in the file is executed.

    Args:
        path: best.ckpt of a run folder (last.ckpt is the last epoch's, neither smoothed nor calibrated), or what MLflow
            calls a model: runs:/RUN_ID/emulator, models:/NAME@champion, models:/NAME/VERSION or models:/MODEL_ID.

    Raises:
        UserError: it is not there, damaged, or no emulator of this version of the program.
    """
    from cardioemu import emulator

    if str(path).startswith(("runs:", "models:")):
        from cardioemu.tracking.registry.uris import resolve_checkpoint

        path = resolve_checkpoint(str(path))
    return emulator.load_emulator(path)


def __getattr__(name: str) -> Any:
    # Torch is imported when an emulator is asked for: simulation does without. So is MLflow when a model of it is.
    if name not in ("Emulator", "Prediction"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cardioemu import emulator

    return getattr(emulator, name)
