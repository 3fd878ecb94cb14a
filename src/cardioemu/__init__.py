"""Simulate populations of heart cells, train emulators of their action potential, track every experiment."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cardioemu.common.errors import UserError

if TYPE_CHECKING:
    from cardioemu.emulator import Emulator, Prediction

# Large tensors in large pages: wide networks train a quarter faster on a CPU. Torch reads this at its first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = "0.1.0"
__all__ = ["Emulator", "Prediction", "UserError", "__version__", "load_emulator"]


def load_emulator(path: str | Path) -> "Emulator":
    """Load a trained emulator from a checkpoint or from MLflow; nothing in the file is executed.

    Args:
        path: best.ckpt of a run folder (last.ckpt is that of the last epoch, neither smoothed nor calibrated), or a
            model URI of MLflow: runs:/RUN_ID/emulator, models:/NAME@champion, models:/NAME/VERSION or models:/MODEL_ID.

    Raises:
        UserError: the file does not exist, is damaged, or holds no emulator that this version can read.
    """
    from cardioemu import emulator

    if str(path).startswith(("runs:", "models:")):
        from cardioemu.tracking.registry.uris import resolve_checkpoint

        path = resolve_checkpoint(str(path))
    return emulator.load_emulator(path)


def __getattr__(name: str) -> Any:
    # Torch is imported with the first emulator, since simulation works without it.
    if name not in ("Emulator", "Prediction"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cardioemu import emulator

    return getattr(emulator, name)
