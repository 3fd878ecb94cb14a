"""Traces with V(t) in closed form, for the tests of `cardioemu.traces`."""

from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit

from cardioemu.traces import Recording, Trace

REFERENCE = Path(__file__).parent / "data" / "akwaboah2021"
REFERENCE_TIME_MS = 0.5 * np.arange(10001)


def reference(variant):
    """The 24 reference traces of a variant: scales (24, 5), voltage_mV (24, 10001), err_mV (24,)."""
    return np.load(REFERENCE / f"traces_{variant}.npz")


def trace_of(times, voltages, slopes, duration=None, status="ok", kind=Trace):
    times = np.asarray(times, dtype=np.float64)
    duration = times[-1] if duration is None else duration
    return kind(times, np.asarray(voltages, np.float32), np.asarray(slopes, np.float32), float(duration), status)


def recording_of(times, values, slopes=None, **more):
    """A recording through these steps; the default slope is 0."""
    return trace_of(times, values, np.zeros(len(times)) if slopes is None else slopes, **more, kind=Recording)


def smooth_steps(*corners, duration=None, status="ok"):
    """A trace with slope 0 at every corner (time, V): a cubic S between two corners, half way at half the time."""
    times, voltages = zip(*corners, strict=True)
    return trace_of(times, voltages, np.zeros(len(times)), duration, status)


def s_inverse(fraction):
    """The fraction of the time after which a smooth step has risen by this fraction."""
    return brentq(lambda u: 3 * u**2 - 2 * u**3 - fraction, 0, 1, xtol=1e-14)


def lowest(function, low, high):
    """The argument between two bounds at which a function is smallest."""
    return minimize_scalar(function, bounds=(low, high), method="bounded", options={"xatol": 1e-9}).x


@st.composite
def dyadic_steps(draw):
    """Times, voltages and slopes of a random trace, with so few binary digits that midpoints are exact in float32."""
    widths = draw(st.lists(st.sampled_from([0.5, 1.0, 2.0, 4.0]), min_size=1, max_size=12))
    knots = st.lists(st.integers(-90, 40), min_size=len(widths) + 1, max_size=len(widths) + 1)
    slopes = st.lists(st.integers(-60, 60), min_size=len(widths) + 1, max_size=len(widths) + 1)
    # Off the dyadic levels: other tests cover a V that only touches a level.
    V = np.array(draw(knots)) + 19 / 64
    return np.cumsum([0.0, *widths]), V, np.array(draw(slopes), dtype=float)


class LogisticAPs:
    """APs as differences of logistic functions; a trace through exact values and slopes.

    V = -80 + 110 sum(L(t - up) - L((t - down) / 10)), in mV and ms: steps of 0.1 ms around the upstrokes and 1 ms
    elsewhere leave an interpolation error of h^4/384 max|V''''| = 4e-6 mV, the size of the rounding to float32.
    """

    rest, height, rise_ms, fall_ms = -80.0, 110.0, 1.0, 10.0

    def __init__(self, ups, length=100.0, duration=1500.0):
        self.ups = np.asarray(ups, dtype=float)
        self.downs = self.ups + length
        self.duration = duration

    def V(self, t):
        t = np.asarray(t, dtype=float)[..., None]
        on, off = expit((t - self.ups) / self.rise_ms), expit((t - self.downs) / self.fall_ms)
        return self.rest + self.height * (on - off).sum(-1)

    def dVdt(self, t):
        t = np.asarray(t, dtype=float)[..., None]
        on, off = expit((t - self.ups) / self.rise_ms), expit((t - self.downs) / self.fall_ms)
        return self.height * (on * (1 - on) / self.rise_ms - off * (1 - off) / self.fall_ms).sum(-1)

    @property
    def starts_ms(self):
        """Where V rises through -40 mV."""
        return np.array([brentq(lambda t: float(self.V(t)) + 40, up - 10, up + 10, xtol=1e-12) for up in self.ups])

    @property
    def upstrokes_ms(self):
        """Where V rises fastest."""
        return np.array([lowest(lambda t: -float(self.dVdt(t)), up - 1, up + 1) for up in self.ups])

    def trace(self):
        fine = (self.ups[:, None] + np.arange(-20, 20, 0.1)).ravel()
        fine = fine[(fine > 0) & (fine < self.duration)]
        knots = np.unique(np.concatenate([np.arange(0.0, self.duration + 0.5), fine]))
        return trace_of(knots, self.V(knots), self.dVdt(knots), self.duration)
