"""Windows extracted from traces, and stored on disk."""

from cardioemu.windowing.build_set import COLUMNS, build_window_set, check_column_names
from cardioemu.windowing.cycle import CycleRule, registered_cycle_vector
from cardioemu.windowing.extract import WINDOWED, ExtractedWindows, extract_windows
from cardioemu.windowing.positions import (
    WindowPositions,
    aligned_positions,
    consecutive_positions,
    find_positions,
    select_positions,
)
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
    "aligned_positions",
    "build_window_set",
    "check_column_names",
    "consecutive_positions",
    "extract_windows",
    "find_positions",
    "registered_cycle_vector",
    "select_positions",
]
