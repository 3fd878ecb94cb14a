"""Simulate populations of heart cells, train emulators of their action potential, track every experiment."""

import os
from typing import TYPE_CHECKING, Any

from cardioemu.errors import UserError

if TYPE_CHECKING:
    from cardioemu.emulator import Emulator, Prediction, load_emulator

# Large tensors in large pages: a wide network trains a quarter faster on a CPU. torch looks when it first allocates.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__all__ = ["Emulator", "Prediction", "UserError", "load_emulator"]


def __getattr__(name: str) -> Any:
    # Torch is imported when an emulator is asked for: simulation does without.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cardioemu import emulator

    return getattr(emulator, name)
