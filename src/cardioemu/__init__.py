"""Simulate populations of heart cells, train emulators of their action potential, track every experiment."""

from cardioemu.emulator import Emulator, Prediction, load_emulator
from cardioemu.errors import UserError

__all__ = ["Emulator", "Prediction", "UserError", "load_emulator"]
