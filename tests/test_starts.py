"""AP starts, upstrokes and labels."""

import numpy as np
import pytest
from trace_shapes import REFERENCE_TIME_MS, LogisticAPs, reference, s_inverse, smooth_steps

from cardioemu.traces import Trace, biomarkers


def test_starts_of_logistic_action_potentials():
    shape = LogisticAPs([100, 433.3, 1000.123])
    # The interpolation error, 4e-6 mV, and the rounding to float32, 4e-6 mV, over the slope of 25 mV/ms.
    assert shape.trace().starts_ms == pytest.approx(shape.starts_ms, abs=1e-6)
    assert shape.trace().label == "fires"


def test_upstrokes_of_logistic_action_potentials():
    for shift in np.linspace(0, 0.1, 7):  # for different positions of the steps
        shape = LogisticAPs([100 + shift, 433.3, 1000.123])
        trace = shape.trace()
        assert trace.upstrokes_ms == pytest.approx(shape.upstrokes_ms, abs=1e-3)
        assert trace.dvdt_mV_per_ms(trace.upstrokes_ms) == pytest.approx(biomarkers(trace)["dvdt_max_V_s"][0], abs=1e-4)


def test_every_start_has_one_upstroke():
    # Ignored: a steeper rise below the threshold before the diastole, and one after the peak.
    corners = [(0, -70), (1, -60), (50, -80), (60, 20), (65, 0), (66, 19), (100, -80), (200, -60), (1000, -80)]
    trace = smooth_steps(*corners)
    assert trace.starts_ms == pytest.approx([50 + 10 * s_inverse(0.4)])
    assert trace.upstrokes_ms == pytest.approx([55])
    assert smooth_steps((0, -80), (1000, -80)).upstrokes_ms.tolist() == []


@pytest.mark.parametrize(
    ("rises", "starts"),
    [
        ([100, 149.9], [100]),
        ([100, 150], [100, 150]),
        ([100, 130, 160], [100, 160]),  # 60 ms after the last AP start
        ([100, 130, 149, 199], [100, 199]),
        ([100, 149, 155, 205], [100, 155, 205]),
    ],
)
def test_refractory_time(rises, starts):
    corners = [corner for t in rises for corner in ((t - 2, -80), (t + 2, 0))]  # each rises by 80 mV, half way at t
    trace = smooth_steps((0, -80), *corners, (rises[-1] + 20, -80), (1000, -80))
    assert trace.starts_ms == pytest.approx(starts, abs=1e-9)


AP = [(100, -80), (102, 0), (200, 0), (220, -80)]  # AP start at 101


@pytest.mark.parametrize(
    ("corners", "duration", "label", "starts"),
    [
        ([(0, -80), *AP], 2000, "fires", [101]),
        ([(0, -80), *AP], 500, "fires", [101]),  # shorter than the last 2 000 ms
        ([(0, -80), *AP], 2101, "fires", [101]),  # exactly 2 000 ms before the end
        ([(0, -80), *AP], 2101.001, "stops", [101]),
        ([(0, -80), *AP], 5000, "stops", [101]),
        ([(0, -80), (10, -70)], 5000, "quiescent", []),
        ([(0, 0), (100, 0), (120, -80)], 5000, "quiescent", []),  # begins inside an AP
        ([(0, -80), (100, -80), (102, -40.5)], 2000, "quiescent", []),
        ([(0, -50), (100, -50), (102, -10)], 2000, "fires", [100 + 2 * s_inverse(0.25)]),  # amplitude exactly 40 mV
        ([(0, -50), (100, -50), (102, -10.5)], 2000, "quiescent", []),
        # Early afterdepolarisations: from the plateau, from below and across -40 mV, and a damped oscillation.
        ([(0, -80), *AP[:3], (210, -25), (220, 0), (240, -80)], 2000, "fires", [101]),
        ([(0, -80), *AP[:3], (210, -60), (220, -25), (240, -80)], 2000, "fires", [101]),
        ([(0, -80), *AP[:3], (210, -60), (220, -25), (230, -55), (240, -30), (260, -80)], 2000, "fires", [101]),
        # An oscillation across -40 mV before the AP is not its start.
        ([(0, -60), (10, -35), (20, -50), (22, 10), (200, 10), (230, -60)], 1000, "fires", [20 + 2 * s_inverse(1 / 6)]),
    ],
)
def test_starts_and_labels(corners, duration, label, starts):
    trace = smooth_steps(*corners, (duration, corners[-1][1]))
    assert trace.starts_ms == pytest.approx(starts, abs=1e-9)
    assert trace.label == label


@pytest.mark.parametrize("variant", ["notebook", "program", "corrected"])
def test_reference_starts_lie_between_the_samples_around_them(variant):
    for V in reference(variant)["voltage_mV"]:
        before = REFERENCE_TIME_MS[:-1][(V[:-1] < -40) & (V[1:] >= -40)]
        starts = Trace.from_samples(REFERENCE_TIME_MS, V).starts_ms
        assert len(starts) == len(before)  # in these traces every crossing is an AP
        assert (starts > before).all()
        assert (starts <= before + 0.5).all()


def test_reference_labels():
    def cells(variant, label):
        labels = [Trace.from_samples(REFERENCE_TIME_MS, V).label for V in reference(variant)["voltage_mV"]]
        return [cell for cell, own_label in enumerate(labels) if own_label == label]

    assert cells("program", "stops") == [12, 14]
    assert cells("program", "quiescent") == cells("notebook", "quiescent") == [4, 9, 18, 20]
    assert cells("corrected", "quiescent") == [9, 18, 20]
    assert cells("notebook", "stops") == cells("corrected", "stops") == []
