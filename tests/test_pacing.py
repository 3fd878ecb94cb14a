"""Schedules against cases counted by hand and Myokit's own pacing."""

import myokit
import numpy as np
import pytest
from small_cells import events

from cardioemu.common.errors import UserError
from cardioemu.simulation import load_cell
from cardioemu.simulation.pacing import Pacing
from cardioemu.simulation.pacing.piecewise import GRID_CHUNK, GRID_MS
from cardioemu.simulation.pacing.schedule import schedule

MODEL = """
[[model]]
m.V = -80

[engine]
time = 0 [{unit}] in [{unit}] bind time
pace = 0.25 bind pace
other = 0.5 bind other_input

[m]
dot(V) = {rate}
    in [mV]
    label membrane_potential

[[protocol]]
{protocol}
"""


def write_cell(folder, rate="engine.pace", unit="ms", protocol=""):
    path = folder / "paced.mmt"
    path.write_text(MODEL.format(unit=unit, rate=rate, protocol=protocol))
    return load_cell(path)


@pytest.fixture
def cell(tmp_path):
    return write_cell(tmp_path)


HAND_COUNTED = {  # protocol, duration in ms: edges, levels
    "train": (Pacing(100, 2, 10), 250, [0, 10, 12, 110, 112, 210, 212], [0, 1, 0, 1, 0, 1, 0]),
    "from 0": (Pacing(100, 2, amplitude=3), 150, [0, 2, 100, 102], [3, 0, 3, 0]),
    "count": (Pacing(100, 2, 10, count=2), 1000, [0, 10, 12, 110, 112], [0, 1, 0, 1, 0]),
    "edge at the end": (Pacing(100, 10), 100, [0, 10], [1, 0]),
    "stimulus over the end": (Pacing(100, 10), 105, [0, 10, 100], [1, 0, 1]),
    "stimulus after the end": (Pacing(100, 10, start_ms=500), 100, [0], [0]),
    "no amplitude": (Pacing(100, 10, amplitude=0), 1000, [0], [0]),
    "empty": (myokit.Protocol(), 1000, [0], [0]),
    "two rows": (events((1, 5, 2), (-2, 20, 3)), 50, [0, 5, 7, 20, 23], [0, 1, 0, -2, 0]),
    "side by side": (events((1, 0, 10), (1, 10, 10), (2, 20, 10)), 50, [0, 20, 30], [1, 2, 0]),
    "a later stimulus replaces an earlier one": (events((1, 0, 10), (3, 4, 2)), 50, [0, 4, 6], [1, 3, 0]),
    "multiplier": (
        *(events((1, 10, 1, 20, 3), (2, 15, 1)), 90),
        *([0, 10, 11, 15, 16, 30, 31, 50, 51], [0, 1, 0, 2, *[0, 1] * 2, 0]),
    ),
    "all the time": (events((1, 0, 100, 100, 0)), 1000, [0], [1]),
    "rounding": (events((1, 0.1, 0.2), (2, 0.3, 1)), 10, [0, 0.1, 0.3, 1.3], [0, 1, 2, 0]),
}


@pytest.mark.parametrize("name", HAND_COUNTED)
def test_hand_counted(cell, name):
    protocol, duration, edges, levels = HAND_COUNTED[name]
    result = schedule(cell, protocol, duration)
    assert result.edges_ms.tolist() == edges
    assert result.levels.tolist() == [[level] for level in levels]


def test_blocktrain_equals_that_of_myokit(cell):
    protocol = myokit.pacing.blocktrain(period=333.3, duration=0.7, offset=12.3, level=0.8, limit=0)
    result = schedule(cell, protocol, 5000)
    log = protocol.log_for_interval(0, 5000)
    np.testing.assert_allclose(result.edges_ms, log.time()[:-1], rtol=1e-12)
    assert result.levels[:, 0].tolist() == log["pace"][:-1]


@pytest.mark.parametrize("seed", range(20))
def test_any_events_by_their_definition(cell, seed):
    """The stimulus that began last wins. Myokit's compiled pacing agrees; its Python pacing misses some overlaps."""
    rng = np.random.default_rng(seed)
    protocol, stimuli = myokit.Protocol(), []
    for _ in range(rng.integers(1, 6)):
        level, (start, length, period) = rng.normal(), rng.uniform([0, 1, 61], [100, 60, 90])
        repeats = int(rng.integers(0, 4))
        protocol.schedule(level, start, length, period, repeats)
        stimuli += [(start + k * period, length, level) for k in range(repeats or 10)]
    result = schedule(cell, protocol, 400)
    for t in rng.uniform(0, 400, 500):
        start, length, level = max((s for s in stimuli if s[0] <= t), default=(-1, 0, 0))
        interval = np.searchsorted(result.edges_ms, t, side="right") - 1
        assert result.levels[interval] == (level if t < start + length else 0)


def test_edges_do_not_drift(cell):
    result = schedule(cell, Pacing(period_ms=0.7, duration_ms=0.1, start_ms=0.3), 70_000.5)
    assert np.array_equal(result.edges_ms[1::2], 0.3 + np.arange(100_001) * 0.7)
    assert np.array_equal(result.levels[:, 0], np.arange(200_003) % 2)


def test_protocols_in_the_unit_of_the_file(tmp_path):
    cell = write_cell(tmp_path, "engine.pace", "s", "1 0.07 0.002 0.3 0")
    in_s = events((1, 0.07, 0.002, 0.3, 0))
    expected = schedule(cell, Pacing(period_ms=300, duration_ms=2, start_ms=70), 2000)
    assert expected.edges_ms[:4].tolist() == [0, 70, 72, 370]
    for protocol in (None, in_s, {"pace": in_s}):
        result = schedule(cell, protocol, 2000)
        assert np.array_equal(result.edges_ms, expected.edges_ms)
        assert np.array_equal(result.levels, expected.levels)


def test_several_inputs(tmp_path):
    cell = write_cell(tmp_path, "engine.pace + engine.other", protocol="1 5 1 0 0")
    columns = {i.binding: column for column, i in enumerate(cell.equations.inputs)}
    order = [columns["pace"], columns["other_input"]]
    both = {"other_input": Pacing(10, 2, 1), "pace": events((4, 3, 1))}
    for protocol, edges, levels in (
        (None, [0, 5, 6], [[0, 0.5], [1, 0.5], [0, 0.5]]),
        ({}, [0], [[0, 0.5]]),
        ({"other_input": Pacing(10, 2, 1)}, [0, 1, 3, 11], [[0, 0], [0, 1], [0, 0], [0, 1]]),
        (both, [0, 1, 3, 4, 11], [[0, 0], [0, 1], [4, 0], [0, 0], [0, 1]]),
    ):
        result = schedule(cell, protocol, 12)
        assert result.edges_ms.tolist() == edges
        assert result.levels[:, order].tolist() == levels


def test_protocol_of_the_file(tmp_path):
    cell = write_cell(tmp_path, protocol="1 5 1 0 0")
    assert schedule(cell, None, 12).edges_ms.tolist() == [0, 5, 6]
    assert schedule(cell, Pacing(10, 2), 12).edges_ms.tolist() == [0, 2, 10]
    assert schedule(cell, myokit.Protocol(), 12).edges_ms.tolist() == [0]
    not_paced = write_cell(tmp_path, "-m.V", protocol="1 5 1 0 0")
    for protocol in (None, myokit.Protocol(), {}):
        assert schedule(not_paced, protocol, 12).levels.shape == (1, 0)


@pytest.mark.parametrize(
    ("condition", "edges"),
    [
        ("engine.time > 10 and engine.time <= 12.3", [0, np.nextafter(10, 11), np.nextafter(12.3, 13)]),
        ("engine.time >= 0.1 and engine.time < 0.1003", [0, 0.1, 0.1003]),
        ("engine.time - 5 * floor(engine.time / 5) < 2", [0, 2, 5, 7, 10, 12, 15, 17]),
    ],
)
def test_levels_that_follow_time(tmp_path, condition, edges):
    cell = write_cell(tmp_path, f"if({condition}, 1, 0)")
    (driver,) = cell.equations.inputs
    result = schedule(cell, None, 20)
    assert result.edges_ms.tolist() == edges
    before = np.nextafter(result.edges_ms[1:], 0)
    assert np.array_equal(driver.level_at(result.edges_ms), result.levels[:, 0])
    assert (driver.level_at(before) != result.levels[1:, 0]).all()


def test_levels_that_follow_time_for_long(tmp_path):
    """The grid is scanned in chunks; no edge at a seam between chunks is lost or doubled."""
    seam = GRID_CHUNK * GRID_MS
    cell = write_cell(tmp_path, f"if(engine.time - {seam} * floor(engine.time / {seam}) < 1, 1, 0)")
    result = schedule(cell, None, 20 * seam)
    np.testing.assert_allclose(result.edges_ms, np.add.outer(np.arange(20) * seam, [0, 1]).ravel(), rtol=1e-14)
    assert result.levels[:, 0].tolist() == [1, 0] * 20


def series():
    return myokit.TimeSeriesProtocol([0, 1], [0, 1])


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ({"pase": Pacing(10)}, "got the input 'pase', which no equation of the model uses; allowed is one of pace"),
        (series(), "got a TimeSeriesProtocol for 'pace'; allowed is a Pacing or a myokit.Protocol"),
        ({"pace": series()}, "got a TimeSeriesProtocol"),
        (events((1, 5, 0)), "the stimulus of 'pace' at 5 ms has no length"),
        (events((1, 100, 1e-15, 10, 0)), "the stimulus of 'pace' at 100 ms has no length"),
        (events((1, 10, 1, 10, 0), (2, 30, 1)), "two stimuli of 'pace' begin at the same time, 30 ms"),
        (events((1, np.inf, 1)), "level, start, length and period 1, inf, 1, 0; allowed are finite"),
        (events((np.nan, 1, 1)), "level, start, length and period nan, 1, 1, 0"),
        (events((1, 1, np.nan)), "level, start, length and period 1, 1, nan, 0"),
        (events((1, 0, 1e-6, 2e-6, 0)), "'pace' changes more than 10,000,000 times"),
        (events((1, 0, 1e-300, 1e-299, 0)), "'pace' changes more than 10,000,000 times"),
    ],
)
def test_wrong_protocols(cell, protocol, message):
    with pytest.raises(UserError, match=message):
        schedule(cell, protocol, 1000)


def test_a_model_that_cannot_be_paced(tmp_path):
    cell = write_cell(tmp_path, "-m.V")
    sentence = "got the input 'pace', which no equation of the model uses; remove it, the cell"
    with pytest.raises(UserError, match=sentence):
        schedule(cell, Pacing(10), 1000)


def test_stimulus_longer_than_its_period():
    with pytest.raises(ValueError, match=r"pacing.duration_ms: got 10; allowed is a time below period_ms, 10"):
        Pacing(10, 10)
