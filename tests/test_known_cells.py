"""Cells that another campaign has: copied from its store to the last bit, unless anything but the design differs."""

import shutil
from dataclasses import replace

import dask_faults
import numpy as np
import pytest
from small_campaign import DURATION, FAILING, SCALES, SOLVER, files_of

from cardioemu.simulation import Executor, campaign
from cardioemu.simulation.campaigns import forecast_campaign, work
from cardioemu.simulation.campaigns.executors import dask

pytestmark = pytest.mark.usefixtures("small_shards")

MORE = np.concatenate([SCALES[[6, 1, FAILING]], [[0.3, 0.7], [0.7, 0.3], [0.3, 0.7]], SCALES[:3]])
NEW = 2  # distinct ones


def run(cell, folder, scales=SCALES, **changes):
    return campaign(
        **{"cell": cell, "scales": scales, "duration_ms": DURATION, "solver": SOLVER} | changes, folder=folder
    )


@pytest.fixture
def fresh(cell, tmp_path):
    """Name -> bytes of the shards of the second design, simulated where nothing else lies."""
    run(cell, tmp_path / "fresh", MORE, record=["m.x"])
    return files_of(tmp_path / "fresh")


@pytest.fixture
def known(cell, tmp_path, fresh, simulated):
    """The store of the first design, in a folder of its own."""
    store = run(cell, tmp_path / "traces", record=["m.x"])
    simulated.clear()
    return store


@pytest.mark.parametrize("engine", [Executor(), Executor(executor="dask", workers=1)])
def test_only_new_cells_are_simulated(cell, tmp_path, fresh, known, simulated, monkeypatch, engine):
    log = tmp_path / "log"
    monkeypatch.setenv(dask_faults.LOG, str(log))
    monkeypatch.setattr(dask, "_simulated", dask_faults.counted)
    monkeypatch.chdir(tmp_path)  # workers are somewhere else
    store = run(cell, (tmp_path / "traces").relative_to(tmp_path), MORE, record=["m.x"], engine=engine)
    assert {path.name: path.read_bytes() for path in store.shards} == fresh
    assert store.cells()["status"].tolist().count("ok") == len(MORE) - 2
    by_workers = [int(count) for count in log.read_text().split()] if engine.engine == "dask" else []
    assert sum(simulated) + sum(by_workers) == NEW


def test_a_campaign_all_of_whose_cells_are_known(cell, tmp_path, known, simulated):
    store = run(cell, tmp_path / "traces", SCALES[::-1], record=["m.x"])
    assert simulated == []
    run(cell, tmp_path / "alone", SCALES[::-1], record=["m.x"])
    assert {path.name: path.read_bytes() for path in store.shards} == files_of(tmp_path / "alone")


def test_what_a_stopped_campaign_has_is_known(cell, tmp_path, fresh, known, simulated):
    known.shards[-1].unlink()  # of the last two scale vectors, of which the second design wants one
    store = run(cell, tmp_path / "traces", MORE, record=["m.x"])
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
def test_under_other_conditions_nothing_is_known(cell, tmp_path, known, changes):
    told = forecast_campaign(
        **{"cell": cell, "scales": MORE, "duration_ms": DURATION, "solver": SOLVER, "record": ["m.x"]} | changes,
        folder=tmp_path / "traces",
        engine=Executor(),
    )
    assert told.known == 0


def test_the_forecast_counts_what_is_simulated(cell, tmp_path, known):
    told = forecast_campaign(cell, MORE, DURATION, SOLVER, tmp_path / "traces", Executor(), ["m.x"])
    assert (told.cells, told.distinct, told.known, told.cell_s) == (9, 6, 4, NEW * DURATION / 1000)


def spoil(store, how):
    """Damages the shard with the first two scale vectors, of which the second design wants both."""
    first, second = store.shards[:2]
    content = first.read_bytes()
    if how == "other":  # whole by itself, but not what the manifest says
        shutil.copy(second, first)
    else:
        first.write_bytes({"torn": content[: len(content) // 2], "empty": b""}[how])


@pytest.mark.parametrize("how", ["other", "torn", "empty"])
def test_damaged_traces_are_not_copied(cell, tmp_path, fresh, known, simulated, how):
    spoil(known, how)
    store = run(cell, tmp_path / "traces", MORE, record=["m.x"])
    assert sum(simulated) == NEW + 2
    assert {path.name: path.read_bytes() for path in store.shards} == fresh


def test_damage_between_finding_and_reading(cell, tmp_path, fresh, known, simulated, monkeypatch):
    read = work.read_reusable

    def too_late(*args):
        for shard in known.shards:
            shard.write_bytes(b"")
        return read(*args)

    monkeypatch.setattr(work, "read", too_late)
    store = run(cell, tmp_path / "traces", MORE, record=["m.x"])
    assert sum(simulated) == NEW + 4
    assert {path.name: path.read_bytes() for path in store.shards} == fresh


def test_facts_that_cannot_be_read_stop_nothing(cell, tmp_path, fresh, known, simulated):
    (known.folder / "_campaign.json").write_text("{")
    run(cell, tmp_path / "traces", MORE, record=["m.x"])
    assert sum(simulated) == NEW + 4
