"""What an emulator returns."""

from dataclasses import dataclass

import numpy as np

from cardioemu.common.arrays import Predicted, SampleTimes


@dataclass(frozen=True)
class Prediction:
    """Predicted action potentials of some cells, one row per scale vector.

    Attributes:
        time_ms: times of the samples, in ms (samples,). 0 is the AP start, so the first value is -offset_ms.
        voltage_mV: membrane voltage, in mV (cells, samples), float32. NaN for a cell predicted not to fire.
        fires: whether each cell fires, i.e. its probability is at least 0.5 (cells,). None if the network does not
            predict firing; then a window is predicted for every cell.
        fires_probability: probability that each cell fires (cells,). None if `fires` is None.
        cycle_length_ms: time from one AP start to the next, in ms (cells,). NaN for a cell predicted not to fire; None
            if the network does not predict it.
    """

    time_ms: SampleTimes
    voltage_mV: Predicted
    fires: np.ndarray | None = None
    fires_probability: np.ndarray | None = None
    cycle_length_ms: np.ndarray | None = None


@dataclass(frozen=True)
class Intervals:
    """90 % prediction intervals of voltage and cycle length, assuming that each cell fires.

    Attributes:
        time_ms: times of the samples, in ms (samples,). 0 is the AP start.
        voltage_low_mV: lower limit of the voltage, in mV (cells, samples).
        voltage_high_mV: upper limit of the voltage, in mV (cells, samples).
        cycle_length_low_ms: lower limit of the cycle length, in ms (cells,). None if the network does not predict it.
        cycle_length_high_ms: upper limit of the cycle length, in ms (cells,). None if the network does not predict it.
    """

    time_ms: SampleTimes
    voltage_low_mV: Predicted
    voltage_high_mV: Predicted
    cycle_length_low_ms: np.ndarray | None = None
    cycle_length_high_ms: np.ndarray | None = None
