"""Traces of another campaign: copied to the last bit, if only the design differs."""

import shutil
from dataclasses import replace

import dask_faults
import numpy as np
import pytest
import small_campaign
from small_campaign import DURATION, FAILING, SCALES, SOLVER, files_of, spec_of

from cardioemu.simulation import Executor
from cardioemu.simulation.campaigns import forecast_campaign, shard_work
from cardioemu.simulation.campaigns.executors import dask

pytestmark = pytest.mark.usefixtures("small_shards")

MORE = np.concatenate([SCALES[[6, 1, FAILING]], [[0.3, 0.7], [0.7, 0.3], [0.3, 0.7]], SCALES[:3]])
NEW = 2  # distinct scale vectors


def run(cell, folder, scales=SCALES, **changes):
    return small_campaign.run(cell, folder, scales, record=["m.x"], **changes)


@pytest.fixture
def fresh(cell, tmp_path):
    """Name -> bytes of the shards of the second design, simulated in an empty folder."""
    run(cell, tmp_path / "fresh", MORE)
    return files_of(tmp_path / "fresh")


@pytest.fixture
def known(cell, tmp_path, fresh, simulated):
    """The store of the first design, in a folder of its own."""
    store = run(cell, tmp_path / "traces")
    simulated.clear()
    return store


@pytest.mark.parametrize(
    "executor", [Executor(), pytest.param(Executor(executor="dask", workers=1), marks=pytest.mark.cluster)]
)
def test_only_new_cells_are_simulated(cell, tmp_path, fresh, known, simulated, monkeypatch, executor):
    log = tmp_path / "log"
    monkeypatch.setenv(dask_faults.LOG, str(log))
    monkeypatch.setattr(dask, "_simulate_shard", dask_faults.counted)
    monkeypatch.chdir(tmp_path)  # workers have another working directory
    store = run(cell, (tmp_path / "traces").relative_to(tmp_path), MORE, executor=executor)
    assert {path.name: path.read_bytes() for path in store.shards} == fresh
    assert store.cells()["status"].tolist().count("ok") == len(MORE) - 2
    by_workers = [int(count) for count in log.read_text().split()] if executor.executor == "dask" else []
    assert sum(simulated) + sum(by_workers) == NEW


def test_a_campaign_without_new_cells(cell, tmp_path, known, simulated):
    store = run(cell, tmp_path / "traces", SCALES[::-1])
    assert simulated == []
    run(cell, tmp_path / "alone", SCALES[::-1])
    assert {path.name: path.read_bytes() for path in store.shards} == files_of(tmp_path / "alone")


def test_traces_of_an_interrupted_campaign_are_reused(cell, tmp_path, fresh, known, simulated):
    known.shards[-1].unlink()  # of the last two scale vectors; the second design contains one of them
    store = run(cell, tmp_path / "traces", MORE)
    assert sum(simulated) == NEW + 1
    assert {path.name: path.read_bytes() for path in store.shards} == fresh


@pytest.mark.parametrize(
    "changes",
    [
        {"solver": replace(SOLVER, rtol=1e-5)},
        {"solver": replace(SOLVER, atol={"x": 1e-9})},
        {"duration_ms": DURATION + 1},
        {"transient_ms": 10.0},
        {"record": ["m.tanh"]},
        {"record": []},
    ],
)
def test_nothing_is_reused_under_other_conditions(cell, tmp_path, known, changes):
    assert forecast_campaign(spec_of(cell, tmp_path / "traces", MORE, **{"record": ["m.x"]} | changes)).reused == 0


def test_the_forecast_counts_what_is_simulated(cell, tmp_path, known):
    expected = forecast_campaign(spec_of(cell, tmp_path / "traces", MORE, record=["m.x"]))
    assert (expected.cells, expected.distinct, expected.reused, expected.cell_s) == (9, 6, 4, NEW * DURATION / 1000)


def damage(store, how):
    """Damage the shard with the first two scale vectors; the second design contains both."""
    first, second = store.shards[:2]
    content = first.read_bytes()
    if how == "other":  # an intact shard, but not that of the manifest
        shutil.copy(second, first)
    else:
        first.write_bytes({"torn": content[: len(content) // 2], "empty": b""}[how])


@pytest.mark.parametrize("how", ["other", "torn", "empty"])
def test_damaged_traces_are_not_copied(cell, tmp_path, fresh, known, simulated, how):
    damage(known, how)
    store = run(cell, tmp_path / "traces", MORE)
    assert sum(simulated) == NEW + 2
    assert {path.name: path.read_bytes() for path in store.shards} == fresh


def test_damage_between_finding_and_reading(cell, tmp_path, fresh, known, simulated, monkeypatch):
    read = shard_work.read_reusable

    def too_late(*args):
        for shard in known.shards:
            shard.write_bytes(b"")
        return read(*args)

    monkeypatch.setattr(shard_work, "read_reusable", too_late)
    store = run(cell, tmp_path / "traces", MORE)
    assert sum(simulated) == NEW + 4
    assert {path.name: path.read_bytes() for path in store.shards} == fresh


def test_unreadable_metadata_are_ignored(cell, tmp_path, fresh, known, simulated):
    (known.folder / "_campaign.json").write_text("{")
    run(cell, tmp_path / "traces", MORE)
    assert sum(simulated) == NEW + 4
