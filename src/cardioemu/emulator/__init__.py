"""The trained emulator: prediction, prediction intervals, and loading from a checkpoint."""

from cardioemu.emulator.checkpoint import CHECKPOINT_KEY, load_emulator, read_checkpoint
from cardioemu.emulator.emulator import CYCLE_LENGTH, VOLTAGE, Emulator
from cardioemu.emulator.prediction import Intervals, Prediction
from cardioemu.emulator.specification import VERSION, Specification

__all__ = [
    "CHECKPOINT_KEY",
    "CYCLE_LENGTH",
    "VERSION",
    "VOLTAGE",
    "Emulator",
    "Intervals",
    "Prediction",
    "Specification",
    "load_emulator",
    "read_checkpoint",
]
