"""Windows on disk, their split and their batches."""

from cardioemu.data.module import SplitRule, WindowData
from cardioemu.data.split import TEST, TRAIN, VALIDATION, split
from cardioemu.data.window_set import WindowSet, window_set

__all__ = [
    "TEST",
    "TRAIN",
    "VALIDATION",
    "SplitRule",
    "WindowData",
    "WindowSet",
    "split",
    "window_set",
]
