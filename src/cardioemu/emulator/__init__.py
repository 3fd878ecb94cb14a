"""The trained emulator: what it is, how it is used, how it is loaded."""

from cardioemu.emulator.checkpoint import CHECKPOINT_KEY, load_emulator, read_checkpoint
from cardioemu.emulator.emulator import CYCLE_LENGTH, VOLTAGE, Emulator, Intervals, Prediction
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
