"""Windows split by cell, and their batches."""

from cardioemu.data.datamodule import SplitRule, WindowDataModule
from cardioemu.data.split import TEST, TRAIN, VALIDATION, split
from cardioemu.data.training_set import Share, TrainingSet

__all__ = ["TEST", "TRAIN", "VALIDATION", "Share", "SplitRule", "TrainingSet", "WindowDataModule", "split"]
