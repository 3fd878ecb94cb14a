"""Random scales, states, tolerances and durations: a message or a status, never garbage."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from small_cells import small_cell

from cardioemu.common.errors import UserError
from cardioemu.simulation import load_cell, simulate
from cardioemu.simulation.pacing import Pacing

AKWABOAH = load_cell("akwaboah2021")
# A small cell that rests, fires, blows up or leaves the domain of its equations.
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
ALLOWED = st.sampled_from([0.0, 5e-324, 1e-12, 0.5, 1.0, 2.0, 1e3, 1e6]) | st.floats(0, 1e3)
ANYTHING = ALLOWED | st.sampled_from([-1.0, -1e-300, np.nan, np.inf, -np.inf, 1e300])
MOST_STEPS = 1e5 + 1000 * DURATION_MS + 100 * 9  # the step limit, for 9 segments of the pacing


def tables(values, width):
    return st.lists(st.lists(values, min_size=width, max_size=width), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cell")
    return small_cell(folder, {"V": -80, "m": 0, "c": 0.1}, RATES, MORE, {name: f"m.{name}" for name in SCALED})


def run(cell, scales, duration_ms=DURATION_MS, **more):
    """Simulate; check the number of steps and the statuses, and that there are no warnings."""
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


def assert_same_curve(trace, finer):
    """Assert that two runs agree until the first ends or |V| exceeds 1 V."""
    t = np.linspace(0, min(trace.end_ms, finer.end_ms), 500)
    V, expected = trace.voltage_mV(t), finer.voltage_mV(t)
    bounded = np.logical_and.accumulate(np.abs(expected) < 1e3)
    # A slightly late upstroke causes a large difference for a short time: compare with the values at nearby times.
    shifted = np.array([finer.voltage_mV(np.clip(t + dt, 0, t[-1])) for dt in np.linspace(-0.02, 0.02, 41)])
    slack = 0.05 + 2e-3 * np.abs(expected)
    inside = (shifted.min(axis=0) - slack <= V) & (shifted.max(axis=0) + slack >= V)
    assert inside[bounded].all(), (t[bounded][~inside[bounded]][0], trace.status, finer.status)


@given(tables(VALUES, 5))
def test_a_run_agrees_with_a_finer_one(cell, scales):
    rough, fine = (run(cell, scales, rtol=rtol) for rtol in (1e-6, 1e-8))
    for trace, other in zip(rough, fine, strict=True):
        assert (trace.status == "ok") == (other.status == "ok") or abs(trace.end_ms - other.end_ms) < 0.1
        assert_same_curve(trace, other)


@given(st.lists(STATES, min_size=3), st.sampled_from([1e-9, 1e-3, 1.0, DURATION_MS]))
def test_any_initial_state(cell, values, duration_ms):
    states = np.array(values[: len(values) // 3 * 3]).reshape(-1, 3)
    traces = run(cell, np.ones((len(states), 5)), duration_ms, initial_state=states)
    for trace, state in zip(traces, states, strict=True):
        assert trace.step_voltage_mV[0] == np.float32(np.clip(state[0], *np.finfo(np.float32).max * np.array([-1, 1])))
        if state[2] < 0:  # the root does not exist; no rate except that of c depends on c
            assert trace.status.startswith("not finite")
            assert trace.end_ms == 0


@given(st.integers(0, 7).flatmap(lambda width: tables(ANYTHING, width)), st.sampled_from("ofdl"))
def test_scales_of_any_kind_and_width(cell, rows, kind):
    array = np.array(rows, dtype=float)
    table = {"o": array.astype(object), "f": array}.get(kind, rows)
    if kind == "d" and array.shape[1] == 5:  # columns of a DataFrame are found by name: see below
        table = pd.DataFrame(array, columns=SCALED)
    if array.shape[1] == 5 and ((array >= 0) & (array <= 1e6)).all():
        assert len(run(cell, table, 1.0)) == len(rows)
    else:
        cause = r"cell \d has (leak|fast|growth|drive|supply) = " if array.shape[1] == 5 else ""
        with pytest.raises(UserError, match=f"scales: {cause}"):
            run(cell, table, 1.0)


@given(st.sets(st.sampled_from(SCALED)), st.permutations([*SCALED, "other"]))
def test_columns_of_a_table_are_found_by_name(cell, missing, order):
    values = {name: float(i + 1) for i, name in enumerate(SCALED)} | {"other": np.nan}
    table = pd.DataFrame([{name: values[name] for name in order if name not in missing}], index=[7])
    if missing:
        with pytest.raises(UserError, match=f"the table has no column .*{min(missing, key=SCALED.index)}"):
            run(cell, table, 1.0)
    else:
        (trace,), (expected,) = run(cell, table, 5.0), run(cell, [[1.0, 2.0, 3.0, 4.0, 5.0]], 5.0)
        assert np.array_equal(trace.step_voltage_mV, expected.step_voltage_mV)


def assert_finite(trace):
    assert np.isfinite(trace.step_voltage_mV).all()
    assert trace.status == "ok" or re.search(r"\(stopped at \S+ ms(, state \w+)?\)$", trace.status)


@given(tables(ALLOWED, 5))
@example([[0.0, 800.0, 159.0, 762.0, 1e6]])
def test_akwaboah_agrees_with_a_finer_run(scales):
    """Errors in time accumulate: 1 mV of difference is allowed for each AP.

    With INa scaled by a million some cells fire 25 times in 20 ms.
    """
    times_ms = np.linspace(0, 20, 201)
    traces, finer = (simulate(AKWABOAH, scales, 20.0, rtol=rtol) for rtol in (1e-6, 1e-7))
    for scale, trace, other in zip(scales, traces, finer, strict=True):
        assert_finite(trace)
        assert trace.status == other.status == "ok" or max(scale) > 1e3
        t = times_ms[: np.searchsorted(times_ms, min(trace.end_ms, other.end_ms) - 0.1)]
        V, expected = trace.voltage_mV(t), other.voltage_mV(t)
        peaks = max(1, np.count_nonzero(np.diff(np.sign(np.diff(expected))) < 0))
        assert np.linalg.norm(V - expected) <= peaks * np.sqrt(len(t))


@given(st.lists(st.sampled_from([0.0, 1e-12, 0.5, 1.0, 3.0, 100.0, 1e3, 1e4]), min_size=5, max_size=5))
def test_akwaboah_stays_in_the_range_of_a_finer_run(scales):
    """Between the steps, too, with a tolerance a thousand times larger."""
    t = np.linspace(0, DURATION_MS, 30_001)
    rough, fine = (simulate(AKWABOAH, scales, DURATION_MS, rtol=rtol)[0] for rtol in (1e-4, 1e-7))
    assert rough.status == "ok"
    assert fine.status == "ok" or max(scales) == 1e4  # it may fire too often for the step limit
    if fine.status == "ok":
        V, expected = rough.voltage_mV(t), fine.voltage_mV(t)
        assert expected.min() - 1 < V.min() <= V.max() < expected.max() + 1


@given(st.sampled_from(AKWABOAH.states), st.sampled_from([0.0, -1.0, 1e-12, 1e3, 1e6, 1e30, -1e30, 1e300]))
@example("Ca_i", -1e-4)
@example("Na_i", 0.0)
@example("V", 1e6)
@example("K_i", -5.0)
def test_an_absurd_initial_state_does_not_change_other_cells(name, value):
    initial = np.tile(AKWABOAH.initial_state, (9, 1))
    initial[3, AKWABOAH.states.index(name)] = value
    traces = simulate(AKWABOAH, np.ones((9, 5)), 50.0, initial_state=initial)
    (alone,) = simulate(AKWABOAH, np.ones(5), 50.0)
    absurd = traces.pop(3)
    assert_finite(absurd)
    assert absurd.status == "ok" or ", state " in absurd.status or abs(value) > 1e6
    assert all(np.array_equal(trace.step_voltage_mV, alone.step_voltage_mV) for trace in traces)


@given(
    st.sampled_from([1e-9, 1e-4, 0.1]) | st.floats(),
    st.sampled_from([1e-9, 1e-4, 1.0]) | st.floats(),
    st.sampled_from([1e-9, 1.0, 20.0]) | st.floats(),
)
def test_any_tolerances_and_durations(rtol, atol, duration_ms):
    allowed = {"rtol": 1e-13 <= rtol <= 0.1, "atol": 0 < atol < np.inf, "duration_ms": 0 < duration_ms < np.inf}
    if not all(allowed.values()):
        with pytest.raises(UserError) as refused:
            simulate(AKWABOAH, np.ones(5), duration_ms, rtol=rtol, atol=atol)
        assert not allowed[str(refused.value).partition(":")[0]]
    elif duration_ms <= 100 and rtol >= 1e-9 and atol >= 1e-9:  # other combinations take too long
        (trace,) = simulate(AKWABOAH, np.ones(5), duration_ms, rtol=rtol, atol=atol)
        assert np.isfinite(trace.step_voltage_mV).all()
        assert trace.end_ms == duration_ms or max(rtol, atol) > 1e-4
