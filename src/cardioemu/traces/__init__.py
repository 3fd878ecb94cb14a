"""The continuous trace of one cell, its AP starts, label and biomarkers: pure functions that everyone else imports."""

from cardioemu.traces.biomarkers import COLUMNS, beat_biomarkers, biomarkers
from cardioemu.traces.crossings import downward_crossings, max_slope, maximum, minimum, upward_crossings
from cardioemu.traces.curve import Extreme
from cardioemu.traces.recording import SPACING_MS, Recording
from cardioemu.traces.rhythm import RHYTHM, rhythm
from cardioemu.traces.starts import LABELS, REFRACTORY_MS, Label, MIN_AMPLITUDE_mV, THRESHOLD_mV
from cardioemu.traces.trace import Trace

__all__ = [
    "COLUMNS",
    "LABELS",
    "REFRACTORY_MS",
    "RHYTHM",
    "SPACING_MS",
    "Extreme",
    "Label",
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
