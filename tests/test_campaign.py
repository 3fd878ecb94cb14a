"""Campaigns: what is simulated, how often, and what the key of a trace store depends on."""

from dataclasses import replace

import myokit
import numpy as np
import pytest
from small_campaign import DURATION, FAILING, SCALES, SOLVER, run, spec_of
from small_cells import small_cell

from cardioemu.common.errors import UserError
from cardioemu.simulation import Executor, Pacing, design, load_cell
from cardioemu.simulation.campaigns import campaign, forecast, forecast_campaign, plan, shard_work
from cardioemu.simulation.solvers import rodas

pytestmark = pytest.mark.usefixtures("small_shards")


def test_equal_scale_vectors_are_simulated_once(cell, tmp_path, simulated):
    store = run(cell, tmp_path)
    assert simulated == [2, 2, 2]  # of seven, of which two are the control
    assert store.cells()["cell"].tolist() == list(range(7))
    first, again = store.trace(0), store.trace(5)
    np.testing.assert_array_equal(first.step_voltage_mV, again.step_voltage_mV)


def test_the_rays_are_311_simulations(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "CELL_MS_PER_SHARD", 2e6)
    scales = design("rays")
    shards = plan._split(scales, 5000.0)
    assert sum(len(shard.scales) for shard in shards) == 311
    cells = np.concatenate([shard.cells for shard in shards])
    assert sorted(cells) == list(range(341))
    for shard in shards:
        np.testing.assert_array_equal(shard.scales[shard.scale_indices], scales[shard.cells])


@pytest.mark.parametrize(("cells", "duration_ms", "sizes"), [(1000, 5000.0, {333, 334}), (41, 1e5, {13, 14})])
def test_shards_are_of_equal_work(monkeypatch, cells, duration_ms, sizes):
    monkeypatch.setattr(plan, "CELL_MS_PER_SHARD", 2e6)
    shards = plan._split(np.random.default_rng(0).random((cells, 5)), duration_ms)
    assert {len(shard.scales) for shard in shards} == sizes
    assert max(sizes) * duration_ms <= 2e6


def test_second_run_does_not_simulate(cell, tmp_path, simulated):
    store = run(cell, tmp_path)
    simulated.clear()
    same = {"solver": replace(SOLVER, threads=2), "duration_ms": int(DURATION), "executor": Executor()}
    for changes in ({}, *({name: value} for name, value in same.items())):
        assert run(cell, tmp_path, **changes).folder == store.folder
    assert simulated == []


def test_an_interrupted_campaign_resumes(cell, tmp_path, simulated, monkeypatch):
    simulate = shard_work.simulate

    def interrupted(*args, **kwargs):
        if len(simulated) == 2:
            raise KeyboardInterrupt
        return simulate(*args, **kwargs)

    with monkeypatch.context() as context:
        context.setattr(shard_work, "simulate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(cell, tmp_path)
    finished = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/*.parquet")}
    assert len(finished) == 2
    assert not list(tmp_path.glob("*/.*.tmp"))

    simulated.clear()
    store = run(cell, tmp_path)
    assert simulated == [2]
    assert finished.items() <= {p: p.stat().st_mtime_ns for p in store.shards}.items()
    assert store.cells()["cell"].tolist() == list(range(7))


def test_failed_cells_are_counted_and_kept(cell, tmp_path, capsys):
    store = run(cell, tmp_path)
    assert "failed=1" in capsys.readouterr().err
    assert store.cells()["status"].ne("ok").tolist() == [i == FAILING for i in range(7)]


def test_a_recorded_quantity_with_the_name_of_a_column(tmp_path):
    cell = small_cell(tmp_path, {"V": 0, "status": 0}, {"V": "-V", "status": "-status"}, "a = 1", {"a": "m.a"})
    with pytest.raises(UserError, match="simulator: got two columns 'status' in the trace store; rename"):
        run(cell, tmp_path / "traces", np.ones((1, 1)), record=["status"])
    assert not (tmp_path / "traces").exists()


# The forecast


def test_the_forecast_is_about_right(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "CELL_MS_PER_SHARD", 1e5)
    spec = spec_of(load_cell("akwaboah2021"), tmp_path, design("sobol", n=128), duration_ms=3000.0)
    expected = forecast_campaign(spec)
    assert (expected.cells, expected.distinct, expected.cell_s) == (128, 128, 384.0)
    assert not list(tmp_path.iterdir())
    store = campaign(spec)
    size = sum(shard.stat().st_size for shard in store.shards)
    assert 0.7 < expected.disk_bytes / size < 1.4
    assert forecast_campaign(spec) is None


def test_the_forecast_of_missing_shards(cell, tmp_path):
    store = run(cell, tmp_path)
    store.shards[0].unlink()
    expected = forecast_campaign(spec_of(cell, tmp_path))
    assert (expected.cells, expected.distinct, expected.cell_s) == (3, 2, 5.0)  # the control, twice, and the second


def test_a_disk_that_cannot_hold_it_stops_the_campaign(cell, tmp_path, monkeypatch, simulated):
    monkeypatch.setattr(forecast, "free_disk", lambda folder: 1000)
    with pytest.raises(UserError, match=r"^data_dir: the traces need .* but .* has 1e-06 GB free; free disk space"):
        run(cell, tmp_path)
    assert simulated == []
    assert not list(tmp_path.glob("*/*.parquet"))


TIMES = {0.2: "about 1 s", 89.0: "about 89 s", 90.0: "about 1.5 min", 4000.0: "about 67 min", 7200.0: "about 2 h"}


@pytest.mark.parametrize(("seconds", "text"), TIMES.items())
def test_the_forecast_as_text(seconds, text):
    expected = forecast.Forecast(161051, 161051, 0, 805255.0, seconds, 3.9e9, 84 * 10**9, 4.6e8)
    reused = "161 051 cells, 161 051 distinct, 1 464 of them copied from another campaign; "
    assert str(replace(expected, reused=1464)).startswith(reused)
    assert str(replace(expected, cells=1, distinct=1)).startswith("1 cell, 1 distinct; ")
    assert str(expected) == (
        f"161 051 cells, 161 051 distinct; 805 255 s of simulated time: {text}, "
        "3.9 GB of disk (84 GB free), 0.46 GB of memory"
    )


# The key


def key(cell, **changes):
    return plan.plan(spec_of(cell, **changes)).work.key


def changed_file(cell, old, new):
    """The same model with one constant or initial value changed in its text."""
    code = cell.model.code()
    assert code.count(old) == 1, code
    return replace(cell, model=myokit.parse_model(code.replace(old, new)))


CHANGES = {
    "duration": lambda cell: {"duration_ms": DURATION + 1},
    "fewer cells": lambda cell: {"scales": SCALES[:-1]},
    "order of cells": lambda cell: {"scales": SCALES[::-1]},
    "scales": lambda cell: {"scales": np.nextafter(SCALES, 9)},
    "rtol": lambda cell: {"solver": replace(SOLVER, rtol=1e-5)},
    "absolute tolerance": lambda cell: {"solver": replace(SOLVER, atol={"V": 1e-6})},
    "recorded": lambda cell: {"record": ["x"]},
    "solver": lambda cell: {"solver": replace(SOLVER, name="scipy")},
    "reference": lambda cell: {"solver": replace(SOLVER, name="cvodes")},
    "scaled constants": lambda cell: {"cell": replace(cell, scaled_constants={"a": "m.b", "b": "m.a"})},
    "order of names": lambda cell: {"cell": replace(cell, scaled_constants={"b": "m.a", "a": "m.b"})},
    "names": lambda cell: {"cell": replace(cell, scaled_constants={"A": "m.a", "b": "m.b"})},
    "initial state": lambda cell: {"cell": changed_file(cell, "m.V = -60", "m.V = -61")},
    "control value": lambda cell: {"cell": changed_file(cell, "b = 1", "b = 1.1")},
    "equations": lambda cell: {"cell": changed_file(cell, "0.5 * x", "0.6 * x")},
    "unit of a state": lambda cell: {"cell": changed_file(cell, "0.5 * x) / 60", "0.5 * x) / 60 in [mM]")},
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_input_of_a_campaign_is_in_its_key(cell, change):
    assert key(**{"cell": cell, **CHANGES[change](cell)}) != key(cell)


def test_pacing_is_in_the_key(tmp_path):
    cell = small_cell(tmp_path, {"V": 0}, {"V": "a * pace - V"}, "a = 1\npace = 0 bind pace", {"a": "m.a"})
    paced = [replace(cell, protocol=Pacing(period, 1.0)) for period in (2.0, 3.0, 5 * DURATION, 6 * DURATION)]
    keys = [key(c, scales=np.ones((1, 1))) for c in (cell, *paced)]
    assert len(set(keys)) == 4
    assert keys[3] == keys[4]  # a second stimulus after the end


@pytest.mark.parametrize("where", [(plan, "VERSION"), (rodas, "VERSION"), (plan, "CELL_MS_PER_SHARD")])
def test_versions_are_in_the_key(cell, monkeypatch, where):
    before = key(cell)
    monkeypatch.setattr(*where, 3 * getattr(*where))
    assert key(cell) != before


def test_variants_have_their_own_keys():
    scales = design("sobol", n=2)
    variants = [None, "notebook", "program", "corrected"]
    default, *keys = (key(load_cell("akwaboah2021", variant), scales=scales) for variant in variants)
    assert len(set(keys)) == 3
    assert default == keys[1]


def test_threads_and_the_form_of_the_duration_are_not_in_the_key(cell):
    assert key(cell, solver=replace(SOLVER, threads=7)) == key(cell)
    assert key(cell, duration_ms=int(DURATION)) == key(cell)
