"""Windows split by cell, and their batches."""

from cardioemu.data.datamodule import TEST, TRAIN, VALIDATION, SplitRule, WindowDataModule
from cardioemu.data.training_set import Share, TrainingSet

__all__ = ["TEST", "TRAIN", "VALIDATION", "Share", "SplitRule", "TrainingSet", "WindowDataModule"]
