"""The trace store: its content, what reading it costs, and other readers."""

import json
import subprocess
import sys
from itertools import islice

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_campaign import DURATION, FAILING, SCALES, run, run_in_small_shards

from cardioemu.evaluation import biomarkers
from cardioemu.simulation import TraceStore, design, load_cell, simulate
from cardioemu.simulation.solvers import rodas
from cardioemu.simulation.store import shards

RECORD = ["x", "m.z"]
STEPS = ("step_time_ms", "step_voltage_mV", "step_dvdt_mV_per_ms")


@pytest.fixture(scope="module")
def store(cell, tmp_path_factory):
    return run_in_small_shards(cell, tmp_path_factory.mktemp("traces"), record=RECORD)


@pytest.fixture(scope="module")
def exact(cell):
    return simulate(cell, SCALES, DURATION, record=RECORD)


@pytest.fixture(scope="module")
def hundred(tmp_path_factory):
    """A store of one shard of several row groups."""
    folder = tmp_path_factory.mktemp("hundred")
    return run(load_cell("akwaboah2021"), folder, design("sobol", n=100), duration_ms=5000.0)


def traces_of(store):
    return dict(pair for shard in store.shards for pair in store.traces(shard))


def assert_same(one, other):
    np.testing.assert_array_equal(one, other)
    assert one.dtype == other.dtype


def test_traces_come_back_exactly(store, exact):
    together = traces_of(store)
    assert sorted(together) == list(range(7))
    for i, trace in enumerate(exact):
        for stored in (together[i], store.trace(i)):
            for name in STEPS:
                assert_same(getattr(stored, name), getattr(trace, name))
            assert_same(stored.final_state, trace.final_state)
            assert (stored.status, stored.duration_ms, stored.label) == (trace.status, DURATION, trace.label)


def test_recordings_come_back_exactly(store, exact):
    for i, trace in traces_of(store).items():
        assert list(trace.recorded) == RECORD
        for name in RECORD:
            assert_same(trace.recorded[name].step_value, exact[i].recorded[name].step_value)
            assert_same(trace.recorded[name].step_slope, exact[i].recorded[name].step_slope)


@pytest.mark.parametrize("cell_number", [-1, 7])
def test_no_such_trace(store, cell_number):
    with pytest.raises(KeyError, match=f"has no cell {cell_number}"):
        store.trace(cell_number)


def test_table_of_cells(store, exact):
    table = store.cells()
    assert table.columns.tolist() == ["cell", "a", "b", "status", "label", "beats", "cl_ms", "apd90_ms"]
    assert table["cell"].tolist() == list(range(7))
    np.testing.assert_array_equal(table[["a", "b"]].to_numpy(), SCALES)
    assert table["status"].tolist() == [trace.status for trace in exact]
    assert table["label"].isna().tolist() == [i == FAILING for i in range(7)]


def test_last_beats_are_those_of_the_biomarkers(hundred):
    table, traces = hundred.cells(), traces_of(hundred)
    assert table["beats"].max() > 10
    for row in table.itertuples():
        beats = biomarkers(traces[row.cell])
        assert row.beats == len(beats)
        last = beats.iloc[-1][["cl_ms", "apd90_ms"]] if len(beats) else [np.nan] * 2
        np.testing.assert_array_equal([row.cl_ms, row.apd90_ms], last)


def test_metadata(store):
    schema = pq.read_schema(store.shards[0])
    facts = json.loads(schema.metadata[b"cardioemu"])
    assert facts == store.metadata == json.loads((store.folder / "_campaign.json").read_text())
    assert (facts["scaled"], facts["duration_ms"], facts["cell"], facts["cells"]) == (["a", "b"], DURATION, "small", 7)
    assert (facts["solver"], facts["rtol"], facts["record"]) == (rodas.VERSION, 1e-4, RECORD)
    assert facts["model"].startswith("[[model]]")
    assert len(facts["cell_sha256"]) == 64
    assert {"cardioemu", "myokit", "numpy"} <= facts["versions"].keys()
    units = {f.name: f.metadata[b"unit"].decode() for f in schema if f.metadata}
    expected = dict.fromkeys(("cl_ms", "apd90_ms", "time_ms", "starts_ms"), "ms")
    expected |= {"voltage_mV": "mV", "dvdt_mV_per_ms": "mV/ms"}
    expected |= dict.fromkeys(("a", "b", "x", "m.z"), "1") | dict.fromkeys(("x per ms", "m.z per ms"), "1 per ms")
    assert units == expected


def test_the_manifest_by_other_means(store):
    lines = [json.loads(line) for line in (store.folder / "_manifest.jsonl").read_text().splitlines()]
    sums = subprocess.run(["sha256sum", *store.shards], capture_output=True, text=True, check=True).stdout.split()[::2]
    assert [line["shard"] for line in lines] == [f"shard-{i:05d}.parquet" for i in range(3)]
    assert [line["sha256"] for line in lines] == sums
    assert [line["bytes"] for line in lines] == [shard.stat().st_size for shard in store.shards]
    assert [(line["rows"], line["first"], line["last"]) for line in lines] == [(3, 0, 5), (2, 2, 3), (2, 4, 6)]
    cells = [pq.read_table(shard, columns=["cell"])["cell"].to_pylist() for shard in store.shards]
    assert cells == [[0, 1, 5], [2, 3], [4, 6]]


@pytest.fixture
def groups_read(monkeypatch):
    """The row groups that the test has read, and their number in each opened file."""
    read = []

    class Watched(pq.ParquetFile):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            read.append(f"opened, {self.metadata.num_row_groups} groups")

        def read_row_group(self, i, *args, **kwargs):
            read.append(i)
            return super().read_row_group(i, *args, **kwargs)

    monkeypatch.setattr(shards.pq, "ParquetFile", Watched)
    return read


def test_a_store_is_opened_without_its_shards(hundred, groups_read):
    store = TraceStore(hundred.folder)
    assert (len(store), store.scaled, store.duration_ms) == (100, ("ICaL", "IK1", "IKr", "IKur", "INa"), 5000.0)
    assert groups_read == []


def test_one_trace_is_read_without_the_rest(hundred, groups_read):
    hundred.trace(99)
    assert groups_read == ["opened, 4 groups", 3]


def test_shards_are_read_one_row_group_at_a_time(hundred, groups_read):
    for count in (1, 30, 60):
        groups_read.clear()
        list(islice(hundred.traces(hundred.shards[0]), count))
        assert len(groups_read) == 1 + -(-count // 26)  # 26 traces of 40 kB are 1 MB


def test_folder_without_traces(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a trace store"):
        TraceStore(tmp_path)


# Other readers, as programs without cardioemu.

OTHER_READER = """
import sys
folder = sys.argv[1]
%s
assert not [name for name in sys.modules if name.startswith("cardioemu")]
"""
PANDAS = """
import pandas as pd
cells = pd.read_parquet(folder, columns=["cell", "a", "b", "label", "cl_ms"]).set_index("cell").sort_index()
trace = pd.read_parquet(folder, filters=[("cell", "==", 5)]).iloc[0]
print(list(cells.index), cells["b"].tolist(), int((cells["label"] == "fires").sum()))
print(len(trace["time_ms"]), float(trace["voltage_mV"][7]), trace["starts_ms"].tolist())
"""
DUCKDB = """
import duckdb
shards = f"{folder}/*.parquet"
cells = duckdb.sql(f"SELECT cell, b, label FROM '{shards}' ORDER BY cell").fetchall()
trace = f"SELECT len(time_ms), voltage_mV[8], starts_ms FROM '{shards}' WHERE cell = 5"  # lists are counted from 1
steps, v, starts = duckdb.sql(trace).fetchall()[0]
print([c[0] for c in cells], [c[1] for c in cells], sum(c[2] == "fires" for c in cells))
print(steps, v, starts)
"""
DASK = """
import dask.dataframe as dd
frame = dd.read_parquet(folder)
cells = frame[["cell", "b", "label"]].compute().set_index("cell").sort_index()
trace = frame[frame["cell"] == 5].compute().iloc[0]
print(list(cells.index), cells["b"].tolist(), int((cells["label"] == "fires").sum()))
print(len(trace["time_ms"]), float(trace["voltage_mV"][7]), trace["starts_ms"].tolist())
"""


@pytest.mark.parametrize("code", [PANDAS, DUCKDB, DASK], ids=["pandas", "duckdb", "dask"])
def test_other_readers(store, exact, code):
    command = [sys.executable, "-I", "-c", OTHER_READER % code, str(store.folder)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    firing = sum(trace.label == "fires" for trace in exact)
    trace = exact[5]
    assert out == [
        f"{list(range(7))} {SCALES[:, 1].tolist()} {firing}",
        f"{len(trace.step_time_ms)} {float(trace.step_voltage_mV[7])} {trace.starts_ms.tolist()}",
    ]
