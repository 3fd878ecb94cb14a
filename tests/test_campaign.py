"""Campaigns and the trace store: what is written, when it is simulated again, and what a torn file does."""

import importlib
import json
from dataclasses import replace

import myokit
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from small_cells import small_cell

from cardioemu.errors import UserError
from cardioemu.simulation import Pacing, Solver, TraceStore, campaign, design, load_cell, simulate
from cardioemu.simulation.solvers import rodas

campaign_module = importlib.import_module("cardioemu.simulation.campaign")  # its name in the package is the function

# A relaxation oscillator of 2.5 s; with `a` above 1.5 it runs away.
RATES = {"V": "if(a > 1.5, -V^2, 0.4 * (60 * tanh - V))", "x": "(V / 60 - 0.5 * x) / 60"}
MORE = "a = 1\nb = 1\nz = b * V / 20 - 3 * x\ntanh = 1 - 2 / (1 + exp(2 * z))"
SCALES = np.array([[1.0, 1.0], [1.0, 0.5], [2.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 1.5]])
FAILING = 2
SOLVER = Solver(threads=1)
DURATION = 2500.0


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    scaled = {"a": "m.a", "b": "m.b"}
    return small_cell(tmp_path_factory.mktemp("cell"), {"V": -60, "x": -1}, RATES, MORE, scaled)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(campaign_module, "CELL_MS_PER_SHARD", 2 * DURATION)


@pytest.fixture
def simulated(monkeypatch):
    """The number of cells of every call of the solver since the test began."""
    counts = []

    def counting(cell, scales, *args, **kwargs):
        counts.append(len(scales))
        return simulate(cell, scales, *args, **kwargs)

    monkeypatch.setattr(campaign_module, "simulate", counting)
    return counts


@pytest.fixture
def store(cell, tmp_path):
    return campaign(cell, SCALES, DURATION, SOLVER, tmp_path)


def traces_of(store):
    return dict(pair for shard in store.shards for pair in store.traces(shard))


def test_traces_come_back_exactly(cell, store):
    stored = traces_of(store)
    assert sorted(stored) == list(range(7))
    for i, exact in enumerate(simulate(cell, SCALES, DURATION)):
        for name in ("step_time_ms", "step_voltage_mV", "step_dvdt_mV_per_ms"):
            ours, theirs = getattr(stored[i], name), getattr(exact, name)
            np.testing.assert_array_equal(ours, theirs)
            assert ours.dtype == theirs.dtype
        assert (stored[i].status, stored[i].duration_ms) == (exact.status, DURATION)


def test_table_of_cells(cell, store):
    table = store.cells()
    traces = simulate(cell, SCALES, DURATION)
    assert table.columns.tolist() == ["cell", "a", "b", "status", "label"]
    assert table["cell"].tolist() == list(range(7))
    np.testing.assert_array_equal(table[["a", "b"]].to_numpy(), SCALES)
    assert table["status"].tolist() == [trace.status for trace in traces]
    assert table["label"].tolist()[0] == "fires"


def test_failed_cell_is_kept_with_its_status_and_no_label(store):
    table = store.cells()
    assert table["status"][FAILING].startswith("step too small")
    assert table["label"].isna().tolist() == [i == FAILING for i in range(7)]
    assert (table["status"] == "ok").sum() == 6
    assert traces_of(store)[FAILING].end_ms < DURATION


def test_readable_without_us(store):
    frame = pd.read_parquet(store.folder)
    assert sorted(frame["cell"]) == list(range(7))
    row = frame[frame["cell"] == 0].iloc[0]
    trace = traces_of(store)[0]
    np.testing.assert_array_equal(row["time_ms"], trace.step_time_ms)
    np.testing.assert_array_equal(row["starts_ms"], trace.starts_ms)
    assert row["voltage_mV"].dtype == np.float32

    metadata = json.loads(pq.read_schema(store.shards[0]).metadata[b"cardioemu"])
    assert metadata["units"] == {"time": "ms", "voltage": "mV", "dvdt": "mV/ms"}
    assert (metadata["scaled"], metadata["duration_ms"], metadata["cell"]) == (["a", "b"], DURATION, "small")
    assert metadata["solver"] == rodas.VERSION
    assert metadata["model"].startswith("[[model]]")


def test_shards(store):
    assert [shard.name for shard in store.shards] == [f"shard-{i:05d}.parquet" for i in range(4)]
    assert [pq.read_metadata(shard).num_rows for shard in store.shards] == [2, 2, 2, 1]
    assert (store.key, store.duration_ms, store.scaled) == (store.folder.name.split("-")[-1], DURATION, ("a", "b"))


def test_second_run_does_not_simulate(cell, store, tmp_path, monkeypatch):
    monkeypatch.setattr(campaign_module, "simulate", None)
    assert campaign(cell, SCALES, DURATION, SOLVER, tmp_path).folder == store.folder
    assert campaign(cell, SCALES, DURATION, replace(SOLVER, threads=2), tmp_path).folder == store.folder
    assert campaign(cell, SCALES, int(DURATION), SOLVER, tmp_path).folder == store.folder


def test_interrupted_campaign_goes_on_where_it_was(cell, tmp_path, simulated, monkeypatch):
    whole, count = simulate, []

    def interrupted(*args, **kwargs):
        if len(count) == 2:
            raise KeyboardInterrupt
        count.append(1)
        return whole(*args, **kwargs)

    with monkeypatch.context() as context:
        context.setattr(campaign_module, "simulate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            campaign(cell, SCALES, DURATION, SOLVER, tmp_path)
    finished = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/*.parquet")}
    assert len(finished) == 2

    store = campaign(cell, SCALES, DURATION, SOLVER, tmp_path)
    assert simulated == [2, 1]
    assert finished.items() <= {p: p.stat().st_mtime_ns for p in store.shards}.items()
    assert store.cells()["cell"].tolist() == list(range(7))


def test_torn_temporary_files_are_ignored(cell, store, tmp_path, simulated):
    (store.folder / ".shard-00001.parquet.0123abcd.tmp").write_bytes(b"PAR1 half")
    again = campaign(cell, SCALES, DURATION, SOLVER, tmp_path)
    assert simulated == []
    assert again.shards == store.shards
    assert len(pd.read_parquet(store.folder)) == 7


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_truncated_shard_is_simulated_again(cell, store, tmp_path, simulated, kept):
    before, content = traces_of(store), store.shards[1].read_bytes()
    store.shards[1].write_bytes(content[: int(kept * len(content))])
    after = traces_of(campaign(cell, SCALES, DURATION, SOLVER, tmp_path))
    assert simulated == [2]
    assert all(np.array_equal(after[i].step_voltage_mV, before[i].step_voltage_mV) for i in range(7))


def test_shard_that_the_disk_has_changed_is_refused(store):
    content = bytearray(store.shards[1].read_bytes())
    content[len(content) // 2] ^= 1
    store.shards[1].write_bytes(content)
    with pytest.raises(UserError, match=r"shard-00001.parquet is damaged; delete it and start again"):
        traces_of(store)


def test_folder_without_traces(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no trace store"):
        TraceStore(tmp_path)


# The key


def key(cell, scales=SCALES, duration_ms=DURATION, solver=SOLVER):
    return campaign_module._facts(cell, scales, duration_ms, solver)["key"]


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
    "solver": lambda cell: {"solver": replace(SOLVER, name="scipy")},
    "reference": lambda cell: {"solver": replace(SOLVER, name="cvodes")},
    "scaled constants": lambda cell: {"cell": replace(cell, scaled_constants={"a": "m.b", "b": "m.a"})},
    "order of names": lambda cell: {"cell": replace(cell, scaled_constants={"b": "m.a", "a": "m.b"})},
    "names": lambda cell: {"cell": replace(cell, scaled_constants={"A": "m.a", "b": "m.b"})},
    "initial state": lambda cell: {"cell": changed_file(cell, "m.V = -60", "m.V = -61")},
    "control value": lambda cell: {"cell": changed_file(cell, "b = 1", "b = 1.1")},
    "equations": lambda cell: {"cell": changed_file(cell, "0.5 * x", "0.6 * x")},
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_fact_of_a_campaign_is_in_its_key(cell, change):
    assert key(**{"cell": cell, **CHANGES[change](cell)}) != key(cell)


def test_pacing_is_in_the_key(tmp_path):
    cell = small_cell(tmp_path, {"V": 0}, {"V": "a * pace - V"}, "a = 1\npace = 0 bind pace", {"a": "m.a"})
    paced = [replace(cell, protocol=Pacing(period, 1.0)) for period in (2.0, 3.0, 5 * DURATION, 6 * DURATION)]
    keys = [key(c, np.ones((1, 1))) for c in (cell, *paced)]
    assert len(set(keys)) == 4
    assert keys[3] == keys[4]  # a second stimulus after the end


@pytest.mark.parametrize(
    "where", [(campaign_module, "VERSION"), (rodas, "VERSION"), (campaign_module, "CELL_MS_PER_SHARD")]
)
def test_versions_are_in_the_key(cell, monkeypatch, where):
    before = key(cell)
    monkeypatch.setattr(*where, 3 * getattr(*where))
    assert key(cell) != before


def test_variants_have_their_own_keys():
    scales = design("sobol", n=2)
    variants = ["notebook", "program", "corrected"]
    assert len({key(load_cell("akwaboah2021", variant), scales) for variant in variants}) == 3
    assert key(load_cell("akwaboah2021"), scales) == key(load_cell("akwaboah2021", "program"), scales)


def test_threads_and_the_form_of_the_duration_are_not_in_the_key(cell):
    assert key(cell, solver=replace(SOLVER, threads=7)) == key(cell)
    assert key(cell, duration_ms=int(DURATION)) == key(cell)
