"""Windows cut from traces, and kept on disk."""

from cardioemu.windowing.build_set import window_set
from cardioemu.windowing.cycle import CycleRule, registered_row
from cardioemu.windowing.extract import WINDOWED, Cut, cut
from cardioemu.windowing.positions import Places, about_starts, choose, one_after_another, places
from cardioemu.windowing.rule import WindowRule
from cardioemu.windowing.window_set import CELLS_AT_ONCE, WindowSet

__all__ = [
    "CELLS_AT_ONCE",
    "WINDOWED",
    "Cut",
    "CycleRule",
    "Places",
    "WindowRule",
    "WindowSet",
    "about_starts",
    "choose",
    "cut",
    "one_after_another",
    "places",
    "registered_row",
    "window_set",
]
