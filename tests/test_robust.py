"""Any settings on a small model whose cells may rest, fire, blow up or leave what its equations are defined for."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_cells import small_cell

from cardioemu.common.errors import UserError
from cardioemu.simulation import load_cell, simulate
from cardioemu.simulation.pacing import Pacing

AKWABOAH = load_cell("akwaboah2021")
RATES = {
    "V": "leak * (-80 - V) + fast * m^3 * (50 - V) + growth * (V / 100)^3 + drive * pace",
    "m": "(1 / (1 + exp(-(V + 40) / 5)) - m) * 20",
    "c": "supply - (c + root) / 10",
}
MORE = "pace = 0 bind pace\nleak = 0.5\nfast = 3\ngrowth = 1\ndrive = 40\nsupply = 0.01\nroot = sqrt(c) * log(1 + c)"
SCALED = ("leak", "fast", "growth", "drive", "supply")
RECORD = ["m", "m.root"]
DURATION_MS = 30.0
VALUES = st.sampled_from([0.0, 5e-324, 1e-12, 0.3, 1.0, 1.0, 1.0, 3.0, 100.0, 1e3]) | st.floats(0, 10)
STATES = st.sampled_from([0.0, -1.0, 1.0, 1e-300, 1e6, -1e6, 1e30, -1e30, 1e300]) | st.floats(-200, 200)
WRONG = st.sampled_from([-1.0, -1e-12, np.nan, np.inf, -np.inf])
MOST_STEPS = 1e5 + 1000 * DURATION_MS + 100 * 9  # as many as a run may try, in so many pieces of the pacing


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cell")
    return small_cell(folder, {"V": -80, "m": 0, "c": 0.1}, RATES, MORE, {name: f"m.{name}" for name in SCALED})


def run(cell, scales, duration_ms=DURATION_MS, **more):
    """Simulates in a bounded number of steps and without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        traces = simulate(cell, scales, duration_ms, record=RECORD, protocol=Pacing(9, 1, 2), **more)
    for trace in traces:
        assert len(trace.step_time_ms) <= MOST_STEPS
        assert np.isfinite(trace.step_voltage_mV).all()
        assert np.isfinite(trace.final_state).all()
        assert trace.status == "ok" or "ms, state " in trace.status
        assert trace.end_ms == (duration_ms if trace.status == "ok" else trace.step_time_ms[-1])
    return traces


def same_curve(trace, finer):
    """Whether two runs agree up to the earlier end, where V has not begun to run away."""
    t = np.linspace(0, min(trace.end_ms, finer.end_ms), 500)
    V, expected = trace.voltage_mV(t), finer.voltage_mV(t)
    sound = np.logical_and.accumulate(np.abs(expected) < 1e3)
    # An upstroke that comes a little later is far off for a little while: compare with the values just around.
    shifted = np.array([finer.voltage_mV(np.clip(t + dt, 0, t[-1])) for dt in np.linspace(-0.02, 0.02, 41)])
    slack = 0.05 + 2e-3 * np.abs(expected)
    inside = (shifted.min(axis=0) - slack <= V) & (shifted.max(axis=0) + slack >= V)
    assert inside[sound].all(), (t[sound][~inside[sound]][0], trace.status, finer.status)


@settings(max_examples=100)
@given(st.lists(st.lists(VALUES, min_size=5, max_size=5), min_size=1, max_size=4))
def test_what_is_ok_is_right(cell, scales):
    rough, fine = (run(cell, scales, rtol=rtol) for rtol in (1e-6, 1e-8))
    for trace, other in zip(rough, fine, strict=True):
        assert (trace.status == "ok") == (other.status == "ok") or abs(trace.end_ms - other.end_ms) < 0.1
        same_curve(trace, other)


@settings(max_examples=100)
@given(
    st.lists(
        st.sampled_from([0.0, -1.0, 1.0, 1e-300, 1e6, -1e6, 1e30, -1e30, 1e300]) | st.floats(-200, 200), min_size=3
    ),
    st.sampled_from([1e-9, 1e-3, 1.0, DURATION_MS]),
)
def test_any_initial_state(cell, values, duration_ms):
    states = np.array(values[: len(values) // 3 * 3]).reshape(-1, 3)
    traces = run(cell, np.ones((len(states), 5)), duration_ms, initial_state=states)
    for trace, state in zip(traces, states, strict=True):
        assert trace.step_voltage_mV[0] == np.float32(np.clip(state[0], *np.finfo(np.float32).max * np.array([-1, 1])))
        if state[2] < 0:  # where the root is lost: no rate depends on c but its own
            assert trace.status.startswith("not finite")
            assert trace.end_ms == 0


@settings(max_examples=60)
@given(st.lists(st.lists(VALUES | WRONG, min_size=5, max_size=5), min_size=1, max_size=3), st.sampled_from("ofdl"))
def test_tables_of_any_type(cell, rows, kind):
    array = np.array(rows)
    table = {"o": array.astype(object), "f": array, "d": pd.DataFrame(array, columns=SCALED), "l": rows}[kind]
    if np.isfinite(array).all() and (array >= 0).all():
        assert len(run(cell, table, 1.0)) == len(rows)
    else:
        with pytest.raises(UserError, match=r"scales: cell \d has (leak|fast|growth|drive|supply) = "):
            run(cell, table, 1.0)


@settings(max_examples=20)
@given(st.sets(st.sampled_from(SCALED)), st.permutations([*SCALED, "other"]))
def test_columns_of_a_table(cell, missing, order):
    """They are found by name, whatever their order and company."""
    values = {name: float(i + 1) for i, name in enumerate(SCALED)} | {"other": np.nan}
    table = pd.DataFrame([{name: values[name] for name in order if name not in missing}], index=[7])
    if missing:
        with pytest.raises(UserError, match=f"the table has no column .*{min(missing, key=SCALED.index)}"):
            run(cell, table, 1.0)
    else:
        (trace,), (expected,) = run(cell, table, 5.0), run(cell, [[1.0, 2.0, 3.0, 4.0, 5.0]], 5.0)
        assert np.array_equal(trace.step_voltage_mV, expected.step_voltage_mV)


@settings(max_examples=30)
@given(st.lists(st.sampled_from([0.0, 1e-12, 0.5, 1.0, 3.0, 100.0, 1e3, 1e4]), min_size=5, max_size=5))
def test_no_garbage_between_the_steps(scales):
    """Nor beyond the range of a run at a thousandth of the tolerance."""
    t = np.linspace(0, DURATION_MS, 30_001)
    rough, fine = (simulate(AKWABOAH, scales, DURATION_MS, rtol=rtol)[0] for rtol in (1e-4, 1e-7))
    assert rough.status == "ok"
    assert fine.status == "ok" or max(scales) == 1e4  # where it may fire too often for the steps there are
    if fine.status == "ok":
        V, expected = rough.voltage_mV(t), fine.voltage_mV(t)
        assert expected.min() - 1 < V.min() <= V.max() < expected.max() + 1
