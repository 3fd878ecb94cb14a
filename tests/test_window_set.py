"""Window sets on disk: extracted once, in parallel, completed after a kill, and read back unchanged."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import fields, replace
from importlib import import_module

import numpy as np
import pytest
from small_campaign import MANY, run, wait_for
from tiny_job import JOBS, RULE, environment

from cardioemu import UserError
from cardioemu.comparison.measure import ERROR_COLUMNS
from cardioemu.config.compose import validate_command_line
from cardioemu.simulation import design, load_cell
from cardioemu.windowing import COLUMNS, WindowRule, build_window_set, check_column_names, extract_windows

build_set = import_module("cardioemu.windowing.build_set")
SMALL_RULE = WindowRule(length_ms=50.0, samples=100, count=2, offset_ms=10.0, settle_ms=0.0)


@pytest.fixture
def store(cell, small_shards, tmp_path):
    """Traces in six shards."""
    return run(cell, tmp_path / "traces", MANY[::7])


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def extract_one_by_one(store, rule):
    return {cell: extract_windows(trace, rule, cell) for shard in store.shards for cell, trace in store.traces(shard)}


def test_windows_on_disk_are_those_of_their_traces(store, tmp_path, monkeypatch):
    monkeypatch.setattr(build_set, "available_cores", lambda: 2)
    for rule in (SMALL_RULE, replace(SMALL_RULE, choose="random"), replace(SMALL_RULE, resample_to=30, trim=3)):
        found, expected = build_window_set(store, rule, tmp_path / "windows"), extract_one_by_one(store, rule)
        assert found.cells["cell"].tolist() == sorted(expected)
        np.testing.assert_array_equal(found.scales, store.cells()[list(store.scaled)])
        assert found.cells["outcome"].tolist() == [expected[cell].outcome for cell in sorted(expected)]
        rows = np.flatnonzero(found.windowed)
        assert len(rows) > 4
        windows = found.windows(rows)
        assert windows.shape == (len(rows), 2, rule.output_samples)
        assert (found.count, found.bytes_per_cell) == (2, windows[0].nbytes)
        np.testing.assert_array_equal(windows, [expected[row].windows for row in rows])
        for column in ("begin_ms", "length_ms"):
            kept = np.stack(found.cells[column].to_numpy()[rows])
            np.testing.assert_array_equal(kept, [getattr(expected[row].positions, column) for row in rows])


def test_windows_come_in_the_order_asked_for(windows):
    rows = np.flatnonzero(windows.windowed)
    everything = windows.windows(rows)
    np.testing.assert_array_equal(windows.windows(rows[::-1]), everything[::-1])
    np.testing.assert_array_equal(np.concatenate(list(windows.batches(rows))), everything)
    twice, numbers = np.concatenate([rows, rows[::-1]]), np.arange(2 * len(rows)) % 3
    windows.prefetch(twice, numbers)
    where = np.concatenate([np.arange(len(rows)), np.arange(len(rows))[::-1]])
    np.testing.assert_array_equal(windows.read_windows(twice, numbers), everything[where, numbers])
    none = np.empty(0, int)
    assert windows.read_windows(none, none).shape == (0, everything.shape[2])


def test_a_window_set_is_extracted_once(traces, tmp_path):
    first, before = build_window_set(traces, RULE, tmp_path), times(tmp_path)
    again = build_window_set(traces, RULE, tmp_path)
    assert times(tmp_path) == before
    assert again.key == first.key
    assert not [path for path in before if path.suffix == ".tmp"]


def test_what_another_process_extracted_meanwhile_is_not_extracted_again(store, tmp_path, monkeypatch):
    folder_lock = build_set.folder_lock

    @contextmanager
    def waiting(folder, doing):
        with folder_lock(folder, doing):
            monkeypatch.setattr(build_set, "folder_lock", lambda *_: nullcontext())
            build_window_set(store, SMALL_RULE, tmp_path)
        before.update({path: at for path, at in times(folder).items() if path.suffix != ""})
        with folder_lock(folder, doing):
            yield

    before = {}
    monkeypatch.setattr(build_set, "folder_lock", waiting)
    found = build_window_set(store, SMALL_RULE, tmp_path)
    assert len(before) == 12
    assert before.items() <= times(found.folder).items()
    assert len(found.cells) == 12


@pytest.mark.parametrize("fault", ["no table", "torn", "no windows", "no header"])
def test_only_incomplete_and_missing_shards_are_extracted_again(store, tmp_path, fault):
    first = build_window_set(store, SMALL_RULE, tmp_path)
    rows, before = np.flatnonzero(first.windowed), times(first.folder)
    windows, shard = first.windows(rows), sorted((first.folder / "windows").iterdir())[2]
    if fault == "no table":
        (first.folder / "cells" / f"{shard.stem}.parquet").unlink()
    elif fault == "no windows":
        shard.unlink()
    else:
        os.truncate(shard, 10 if fault == "no header" else shard.stat().st_size - 1)
    again = build_window_set(store, SMALL_RULE, tmp_path)
    changed = {path.stem for path, at in times(first.folder).items() if before.get(path) != at}
    assert changed - {".holder", ".lock"} == {shard.stem}
    np.testing.assert_array_equal(again.windows(rows), windows)
    assert again.cells.equals(first.cells)


def test_an_interrupted_extraction_keeps_its_finished_shards(store, tmp_path, monkeypatch):
    monkeypatch.setattr(build_set, "available_cores", lambda: 1)
    extract_shard, shards = build_set._extract_shard, []

    def failing(store, shard, *rest):
        if len(shards) == 3:
            raise RuntimeError("stopped")
        shards.append(shard.stem)
        return extract_shard(store, shard, *rest)

    monkeypatch.setattr(build_set, "_extract_shard", failing)
    with pytest.raises(RuntimeError, match="stopped"):
        build_window_set(store, SMALL_RULE, tmp_path)
    (folder,) = (path for path in tmp_path.iterdir() if path.name != "traces")
    finished = {path: at for path, at in times(folder).items() if path.stem in shards}
    assert len(finished) == 6
    monkeypatch.setattr(build_set, "_extract_shard", extract_shard)
    found = build_window_set(store, SMALL_RULE, tmp_path)
    assert finished.items() <= times(folder).items()
    assert len(found.cells) == 12


SCRIPT = """
import sys
from pathlib import Path
from cardioemu.simulation import TraceStore
from cardioemu.windowing import WindowRule, build_window_set

if __name__ == "__main__":
    rule = WindowRule(length_ms=50.0, samples=20000, count=2, offset_ms=10.0, settle_ms=0.0)
    build_window_set(TraceStore(Path(sys.argv[1])), rule, Path(sys.argv[2]))
"""


def test_a_killed_extraction_is_completed(cell, small_shards, begin, tmp_path):
    store = run(cell, tmp_path / "traces", MANY)
    assert len(store.shards) == 40
    script = tmp_path / "extract.py"
    script.write_text(SCRIPT)
    arguments = [sys.executable, script, store.folder, tmp_path / "windows"]
    process = begin(arguments, tmp_path)
    wait_for(lambda: process.poll() is not None or len(list(tmp_path.glob("windows/*/cells/*.parquet"))) >= 10)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    finished = {path.stem for path in tmp_path.glob("windows/*/cells/*.parquet")}
    assert len(finished) < 40
    before = {path: at for path, at in times(tmp_path / "windows").items() if path.stem in finished}
    subprocess.run(arguments, env=environment(), check=True, stderr=subprocess.DEVNULL)
    assert before.items() <= times(tmp_path / "windows").items()
    rule = replace(SMALL_RULE, samples=20000, interval_ms=None)
    found, expected = build_window_set(store, rule, tmp_path / "windows"), extract_one_by_one(store, rule)
    rows = np.flatnonzero(found.windowed)
    np.testing.assert_array_equal(found.windows(rows), [expected[row].windows for row in rows])
    assert not list(tmp_path.glob("windows/*/*/.*.tmp"))


def test_insufficient_disk_space_is_an_error_before_anything_is_written(store, tmp_path, monkeypatch):
    fire = int(store.cells()["label"].eq("fires").sum())
    monkeypatch.setattr(build_set, "free_disk", lambda folder: fire * 2 * 100 * 4 - 1)
    with pytest.raises(UserError, match=r"^data_dir: the windows need .* GB, but .* free; free disk space"):
        build_window_set(store, SMALL_RULE, tmp_path / "windows")
    assert not list(tmp_path.glob("windows/*/windows"))
    monkeypatch.setattr(build_set, "free_disk", lambda folder: fire * 2 * 100 * 4)
    assert len(build_window_set(store, SMALL_RULE, tmp_path / "windows").cells) == 12


def test_a_damaged_table_is_an_error(store, tmp_path):
    table = next((build_window_set(store, SMALL_RULE, tmp_path).folder / "cells").iterdir())
    table.write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match=r"cells is damaged \(.*\); delete .* and re-run the command"):
        build_window_set(store, SMALL_RULE, tmp_path)


def test_a_damaged_shard_of_the_traces_is_an_error(store, tmp_path):
    shard = store.shards[3]
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    shard.write_bytes(damaged)
    with pytest.raises(UserError, match=rf"{shard.name} is damaged or missing \(.*\); re-run its campaign"):
        build_window_set(store, SMALL_RULE, tmp_path)
    assert not list(tmp_path.glob(f"*/cells/{shard.stem}*"))


CHANGES = {
    "length_ms": {"length_ms": 480.0, "interval_ms": None},
    "samples": {"samples": 250, "interval_ms": None},
    "interval_ms": {"samples": 250, "interval_ms": 2.0},
    "count": {"count": 2},
    "offset_ms": {"offset_ms": 49.0},
    "settle_ms": {"settle_ms": 501.0},
    "start": {"start": "upstroke"},
    "align": {"align": "sample"},
    "choose": {"choose": "last"},
    "seed": {"choose": "random", "seed": 1},
    "resample_to": {"resample_to": 100},
    "trim": {"trim": 1},
}


def test_every_field_of_the_rule_changes_the_key(traces, windows, tmp_path):
    assert set(CHANGES) == {field.name for field in fields(RULE)}
    keys = {name: build_window_set(traces, replace(RULE, **change), tmp_path).key for name, change in CHANGES.items()}
    assert keys["samples"] == keys["interval_ms"]  # 250 samples in 500 ms, stated in two ways
    assert len({windows.key, *keys.values()}) == len(CHANGES)


def test_traces_and_version_change_the_key(traces, windows, tmp_path, monkeypatch):
    other = run(load_cell("akwaboah2021"), tmp_path, design("sobol", n=4))
    assert build_window_set(other, RULE, tmp_path).key != windows.key
    monkeypatch.setattr(build_set, "VERSION", -1)
    assert build_window_set(traces, RULE, tmp_path).key != windows.key


def test_shards_without_a_firing_cell(cell, small_shards, tmp_path):
    """The table of such a shard, here the first, has the columns of the others."""
    silent, firing = np.array([[0.0, 0.0], [0.1, 0.0], [0.2, 0.0]]), MANY[::20]
    store = run(cell, tmp_path / "traces", np.concatenate([silent, firing]))
    found = build_window_set(store, SMALL_RULE, tmp_path / "windows")
    assert found.cells["outcome"].tolist()[:3] == ["stops"] * 3
    assert found.windowed[3:].all()
    assert [len(begin) for begin in found.cells["begin_ms"]] == [0] * 3 + [2] * 4
    again = build_window_set(store, SMALL_RULE, tmp_path / "windows")
    np.testing.assert_array_equal(again.windows(np.arange(3, 7)), found.windows(np.arange(3, 7)))


def test_a_conductance_with_the_name_of_another_column():
    message = "simulator.scaled: got the name '{}', which is another column"
    for taken in COLUMNS:
        with pytest.raises(UserError, match=message.format(taken)):
            check_column_names(("IKr", taken))
    for taken in ("outcome", *ERROR_COLUMNS):
        with pytest.raises(UserError, match=message.format(taken)):
            validate_command_line("train", [f"simulator.scaled={{{taken}: ikr.g_Kr}}"], False, JOBS["train"])
