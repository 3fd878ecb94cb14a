"""The split, the window set on disk and the batches, against the traces they come from."""

import os
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_job import RULE, SPLIT

from cardioemu import UserError
from cardioemu.data import TEST, TRAIN, VALIDATION, WindowData, split, window_set
from cardioemu.data.module import EpochBatches
from cardioemu.simulation import Solver, campaign, design, load_cell

PARTS = {TRAIN, VALIDATION, TEST}
levels = st.sampled_from([0.0, 0.2, 1.0, 1.8])
tables = st.lists(st.lists(levels, min_size=3, max_size=3), min_size=1, max_size=40).map(
    lambda rows: np.array(rows, dtype=float)
)
fractions = st.tuples(st.floats(0.01, 0.49), st.floats(0.01, 0.49))


def sides(scales, *rule):
    """Which side each distinct vector stands on; no vector may stand on two."""
    found = {}
    for row, part in zip(map(tuple, scales), split(scales, *rule), strict=True):
        assert found.setdefault(row, part) == part
    return found


@given(tables, fractions, st.integers(0, 1000), st.randoms())
def test_split_by_distinct_vectors(scales, fractions, seed, random):
    found = sides(scales, *fractions, seed)
    count = list(found.values()).count
    assert set(found.values()) <= PARTS
    assert found.get((1.0, 1.0, 1.0), TRAIN) == TRAIN
    free = len([row for row in found if row != (1.0, 1.0, 1.0)])
    assert count(VALIDATION) == min(free, round(fractions[0] * len(found)))
    assert count(TEST) == min(free - count(VALIDATION), round(fractions[1] * len(found)))
    # Rows permuted and repeated: the same vectors, hence the same sides.
    other = [*scales, *scales[: random.randint(0, len(scales))]]
    random.shuffle(other)
    assert sides(np.array(other), *fractions, seed) == found


def test_rays_are_split_as_311_vectors():
    scales = design("rays")
    found = sides(scales, 0.15, 0.15, 0)
    count = list(found.values()).count
    assert (len(scales), len(found)) == (341, 311)
    assert (count(VALIDATION), count(TEST), count(TRAIN)) == (47, 47, 217)  # 0.15 * 311 = 46.65
    assert (split(scales, 0.15, 0.15, 0)[(scales == 1).all(axis=1)] == TRAIN).all()
    assert sides(scales, 0.15, 0.15, 1) != found


@pytest.fixture(scope="module")
def repeated(tmp_path_factory):
    """24 cells, of which the last 8 repeat the first 8."""
    scales = design("sobol", n=16)
    scales = np.concatenate([scales, scales[:8]])
    store = campaign(load_cell("akwaboah2021"), scales, 2500.0, Solver(threads=1), tmp_path_factory.mktemp("repeated"))
    return window_set(store, RULE, tmp_path_factory.mktemp("windows"))


def test_duplicates_train_once_or_as_often_as_they_stand(repeated):
    rule = replace(SPLIT, validation=0.25, test=0.25)
    keep = WindowData(repeated, rule).rows
    once = WindowData(repeated, replace(rule, duplicates="once")).rows
    for name in (VALIDATION, TEST):
        assert keep[name].tolist() == once[name].tolist()
    first = [row for row in keep[TRAIN] if row < 16]
    assert once[TRAIN].tolist() == first
    assert sorted(keep[TRAIN]) == sorted([*first, *(row + 16 for row in first if row < 8)])
    assert len(keep[TRAIN]) > len(first)
    every = np.concatenate([*once.values()])
    assert sorted(every) == [row for row in np.flatnonzero(repeated.windowed) if row < 16]


def test_parts_are_the_windows_of_their_cells(data, traces):
    by_cell = {cell: trace for shard in traces.shards for cell, trace in traces.traces(shard)}
    scales = design("sobol", n=24)
    for name, rows in data.rows.items():
        part_scales, windows = data.part(name)
        np.testing.assert_array_equal(part_scales, scales[rows].astype(np.float32))
        assert windows.dtype == torch.float32
        for row, cell_windows in zip(rows, windows, strict=True):
            trace = by_cell[row]
            fitting = [s for s in trace.starts_ms if s >= 500 and s - 50 + 497.5 <= 2500]
            chosen = [fitting[0], fitting[(len(fitting) - 2) // 2 + (len(fitting) % 2)], fitting[-1]]
            if len(fitting) == 3:
                chosen = fitting
            exact = trace.voltage_mV(np.add.outer(chosen, np.arange(200) * 2.5 - 50))
            np.testing.assert_allclose(cell_windows, exact, atol=1e-4)


def test_windows_come_in_the_order_asked_for(windows):
    rows = np.flatnonzero(windows.windowed)
    np.testing.assert_array_equal(windows.windows(rows[::-1]), windows.windows(rows)[::-1])


def test_training_batches_hold_every_window_once(data):
    scales, windows = data.part(TRAIN)
    expected = {(*s.tolist(), *w.tolist()) for s, cell in zip(scales, windows, strict=True) for w in cell}
    loader = data.train_dataloader()
    batches = list(loader)
    assert [len(s) for s, _ in batches[:-1]] == [8] * (len(batches) - 1)
    seen = [(*s.tolist(), *w.tolist()) for batch in batches for s, w in zip(*batch, strict=True)]
    assert len(seen) == len(expected) == 3 * len(scales)
    assert set(seen) == expected


def test_validation_batches_hold_every_cell_in_order(data):
    batches = list(data.val_dataloader())
    for i, whole in enumerate(data.part(VALIDATION)):
        torch.testing.assert_close(torch.cat([batch[i] for batch in batches]), whole, rtol=0, atol=0)


@given(st.integers(1, 200), st.integers(1, 40), st.integers(0, 5), st.integers(0, 50))
def test_epoch_batches(size, batch_size, seed, epoch):
    def order(*, before=()):
        batches = EpochBatches(size, batch_size, seed)
        for other in before:  # what came before does not matter
            batches.set_epoch(other)
            list(batches)
        batches.set_epoch(epoch)
        assert len(list(batches)) == len(batches)
        return list(batches)

    batches = order()
    assert batches == order(before=range(3))
    assert sorted(i for batch in batches for i in batch) == list(range(size))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    if size > 20:
        other = EpochBatches(size, batch_size, seed)
        other.set_epoch(epoch + 1)
        assert list(other) != batches
        other = EpochBatches(size, batch_size, seed + 1)
        other.set_epoch(epoch)
        assert list(other) != batches


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_window_set_is_cut_once(traces, tmp_path):
    first = window_set(traces, RULE, tmp_path)
    before = times(tmp_path)
    again = window_set(traces, RULE, tmp_path)
    assert times(tmp_path) == before
    assert again.key == first.key
    assert not [path for path in before if path.suffix == ".tmp"]


def test_an_interrupted_cut_is_cut_again(traces, tmp_path):
    first = window_set(traces, RULE, tmp_path)
    rows = np.flatnonzero(first.windowed)
    values = first.windows(rows)
    (tmp_path / first.key / "cells.parquet").unlink()
    shard = next((tmp_path / first.key).glob("*.npy"))
    os.truncate(shard, 100)
    np.testing.assert_array_equal(window_set(traces, RULE, tmp_path).windows(rows), values)


CHANGES = {"samples": 201, "interval_ms": 2.4, "count": 2, "offset_ms": 49.0, "settle_ms": 501.0}


def test_every_field_of_the_rule_changes_the_key(traces, windows, tmp_path):
    assert set(CHANGES) == set(RULE.__dataclass_fields__)
    keys = {window_set(traces, replace(RULE, **{name: value}), tmp_path).key for name, value in CHANGES.items()}
    assert len(keys | {windows.key}) == len(CHANGES) + 1


def test_traces_and_version_change_the_key(traces, windows, repeated, tmp_path, monkeypatch):
    assert repeated.key != windows.key
    monkeypatch.setattr(import_module("cardioemu.data.window_set"), "VERSION", -1)
    assert window_set(traces, RULE, tmp_path).key != windows.key


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        (replace(SPLIT, validation=0.01), VALIDATION),
        (replace(SPLIT, test=0.01), TEST),
        (replace(SPLIT, validation=0.5, test=0.49), TRAIN),
    ],
)
def test_an_empty_part_is_told(windows, rule, named):
    with pytest.raises(UserError, match=f"^data: no cell of the {named} part gave windows"):
        WindowData(windows, rule)


def test_fractions_must_leave_something():
    with pytest.raises(ValueError, match="leave nothing to train on"):
        replace(SPLIT, validation=0.5, test=0.5)
