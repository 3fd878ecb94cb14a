"""Windows split by simulation, and their batches."""

from cardioemu.data.module import SplitRule, WindowData
from cardioemu.data.split import TEST, TRAIN, VALIDATION, split
from cardioemu.data.training_set import TrainingSet

__all__ = [
    "TEST",
    "TRAIN",
    "VALIDATION",
    "SplitRule",
    "TrainingSet",
    "WindowData",
    "split",
]
