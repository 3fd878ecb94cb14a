"""The continuous trace of one cell, its AP starts, label and biomarkers."""

from cardioemu.traces.biomarkers import BIOMARKERS, beat_biomarkers, biomarkers
from cardioemu.traces.crossings import Extreme, downward_crossings, max_slope, maximum, minimum, upward_crossings
from cardioemu.traces.recording import SPACING_MS, Recording
from cardioemu.traces.rhythm import RHYTHM, rhythm
from cardioemu.traces.starts import FAILED, LABELS, MIN_AMPLITUDE_mV, THRESHOLD_mV
from cardioemu.traces.trace import Trace

__all__ = [
    "BIOMARKERS",
    "FAILED",
    "LABELS",
    "RHYTHM",
    "SPACING_MS",
    "Extreme",
    "MIN_AMPLITUDE_mV",
    "Recording",
    "THRESHOLD_mV",
    "Trace",
    "beat_biomarkers",
    "biomarkers",
    "downward_crossings",
    "max_slope",
    "maximum",
    "minimum",
    "rhythm",
    "upward_crossings",
]
