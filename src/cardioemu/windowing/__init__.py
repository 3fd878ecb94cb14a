"""Windows cut from traces: pure functions."""

from cardioemu.windowing.cut import WINDOWED, cut
from cardioemu.windowing.rule import WindowRule, choose_starts

__all__ = ["WINDOWED", "WindowRule", "choose_starts", "cut"]
