"""Windows extracted from traces, and stored on disk."""

from cardioemu.windowing.build_set import COLUMNS, build_window_set, check_column_names
from cardioemu.windowing.cycle import CycleRule
from cardioemu.windowing.extract import WINDOWED, ExtractedWindows, extract_windows
from cardioemu.windowing.positions import WindowPositions, find_positions
from cardioemu.windowing.rule import WindowRule
from cardioemu.windowing.window_set import CELLS_AT_ONCE, WindowSet

__all__ = [
    "CELLS_AT_ONCE",
    "COLUMNS",
    "WINDOWED",
    "CycleRule",
    "ExtractedWindows",
    "WindowPositions",
    "WindowRule",
    "WindowSet",
    "build_window_set",
    "check_column_names",
    "extract_windows",
    "find_positions",
]
