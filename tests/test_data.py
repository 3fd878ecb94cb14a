"""The split and the batches, against the windows they are made of."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_campaign import run
from tiny_job import RULE, SPLIT, whole

from cardioemu import UserError
from cardioemu.data import TEST, TRAIN, VALIDATION, Share, SplitRule, TrainingSet, WindowDataModule
from cardioemu.data.training_set import EpochBatches
from cardioemu.simulation import design, load_cell
from cardioemu.windowing import CycleRule, build_window_set

SPLITS = {TRAIN, VALIDATION, TEST}
levels = st.sampled_from([0.0, 0.2, 1.0, 1.8])
tables = st.lists(st.lists(levels, min_size=3, max_size=3), min_size=1, max_size=40).map(np.array)
fractions = st.tuples(st.floats(0.01, 0.49), st.floats(0.01, 0.49))


def split(scales, validation, test, seed):
    return SplitRule(validation, test, duplicates="keep", batch_size=1, seed=seed).assign(scales)


def splits_by_vector(scales, *rule):
    """The split of each distinct vector; no vector may be in two."""
    splits = {}
    for vector, name in zip(map(tuple, scales), split(scales, *rule), strict=True):
        assert splits.setdefault(vector, name) == name
    return splits


@given(tables, fractions, st.integers(0, 1000), st.randoms())
def test_split_by_distinct_vectors(scales, fractions, seed, random):
    splits = splits_by_vector(scales, *fractions, seed)
    count = list(splits.values()).count
    assert set(splits.values()) <= SPLITS
    assert splits.get((1.0, 1.0, 1.0), TRAIN) == TRAIN
    free = len([vector for vector in splits if vector != (1.0, 1.0, 1.0)])
    assert count(VALIDATION) == min(free, round(fractions[0] * len(splits)))
    assert count(TEST) == min(free - count(VALIDATION), round(fractions[1] * len(splits)))
    # Rows permuted and repeated: the same vectors, hence the same splits.
    other = [*scales, *scales[: random.randint(0, len(scales))]]
    random.shuffle(other)
    assert splits_by_vector(np.array(other), *fractions, seed) == splits


def test_rays_are_split_as_311_vectors():
    scales = design("rays")
    splits = splits_by_vector(scales, 0.15, 0.15, 0)
    count = list(splits.values()).count
    assert (len(scales), len(splits)) == (341, 311)
    assert (count(VALIDATION), count(TEST), count(TRAIN)) == (47, 47, 217)  # 0.15 * 311 = 46.65
    assert (split(scales, 0.15, 0.15, 0)[(scales == 1).all(axis=1)] == TRAIN).all()
    assert splits_by_vector(scales, 0.15, 0.15, 1) != splits


@pytest.fixture(scope="module")
def repeated(tmp_path_factory):
    """24 cells; the last 8 repeat the first 8."""
    scales = design("sobol", n=16)
    scales = np.concatenate([scales, scales[:8]])
    store = run(load_cell("akwaboah2021"), tmp_path_factory.mktemp("repeated"), scales)
    return build_window_set(store, RULE, tmp_path_factory.mktemp("windows"))


def test_duplicates_train_once_or_as_often_as_the_design_lists_them(repeated):
    rule = replace(SPLIT, validation=0.25, test=0.25)
    keep = WindowDataModule(repeated, rule).cell_indices
    once = WindowDataModule(repeated, replace(rule, duplicates="once")).cell_indices
    for name in (VALIDATION, TEST):
        assert keep[name].tolist() == once[name].tolist()
    first = [row for row in keep[TRAIN] if row < 16]
    assert once[TRAIN].tolist() == first
    assert sorted(keep[TRAIN]) == sorted([*first, *(row + 16 for row in first if row < 8)])
    assert len(keep[TRAIN]) > len(first)
    every = np.concatenate([*once.values()])
    assert sorted(every) == [row for row in np.flatnonzero(repeated.windowed) if row < 16]


@pytest.mark.parametrize("device", [torch.device("cpu"), None])
def test_training_windows_are_the_same_cached_or_streamed(windows, data, device):
    cells = np.repeat(data.cell_indices[TRAIN], 2)  # a cell that is listed twice trains twice
    dataset = TrainingSet(windows, cells, device)
    assert (dataset.cache is not None) == (device is not None)
    assert len(dataset) == 3 * len(cells)
    order = np.random.default_rng(0).permutation(len(dataset)).tolist()
    dataset.prefetch(order)
    scales, batch, divisor = dataset[Share(order, 7.5)]
    assert divisor == 7.5
    expected = [cells[i // 3] for i in order]
    np.testing.assert_array_equal(scales, windows.scales[expected].astype(np.float32))
    of_order = [windows.windows(np.array([c]))[0, i % 3] for c, i in zip(expected, order, strict=True)]
    np.testing.assert_array_equal(batch, of_order)


def test_windows_are_cached_in_the_first_pool_that_holds_them(windows, data):
    size = len(data.cell_indices[TRAIN]) * 3 * 200 * 4
    assert data.cached_bytes == {}
    batches = [torch.cat([w for _, w, _ in data.train_dataloader()])]
    for budget, cached in (
        ({"host": size}, {"host": size}),
        ({"host": size - 1}, {}),
        ({"GPU": size - 1, "host": size}, {"host": size}),
    ):
        again = WindowDataModule(windows, SPLIT)
        again.memory_budget = budget
        loader = again.train_dataloader()
        assert again.cached_bytes == cached
        assert (loader.dataset.cache is not None) == bool(cached)
        batches.append(torch.cat([w for _, w, _ in loader]))
    again.memory_budget = {"GPU": size, "host": size}
    assert again.cached_bytes == {"GPU": size}
    assert all(torch.equal(batches[0], other) for other in batches[1:])


def test_training_batches_hold_every_window_once(data):
    scales, windows = whole(data, TRAIN)
    expected = {(*s.tolist(), *w.tolist()) for s, cell in zip(scales, windows, strict=True) for w in cell}
    batches = list(data.train_dataloader())
    assert [len(s) for s, _, _ in batches[:-1]] == [data.largest_batch] * (len(batches) - 1) == [8] * (len(batches) - 1)
    assert all(divisor == len(s) for s, _, divisor in batches)
    seen = [(*s.tolist(), *w.tolist()) for *batch, _ in batches for s, w in zip(*batch, strict=True)]
    assert len(seen) == len(expected) == 3 * len(scales)
    assert set(seen) == expected


def test_validation_batches_hold_every_cell_in_order(data, monkeypatch):
    for size in (64, 2):
        monkeypatch.setattr(import_module("cardioemu.data.datamodule"), "CELLS_AT_ONCE", size)
        monkeypatch.setattr(import_module("cardioemu.windowing.window_set"), "CELLS_AT_ONCE", size)
        loader = data.val_dataloader()
        batches = list(loader)
        assert len(batches) == len(loader)
        assert all(len(scales) <= size for scales, _ in batches)
        for i, expected in enumerate(whole(data, VALIDATION)):
            torch.testing.assert_close(torch.cat([batch[i] for batch in batches]), expected, rtol=0, atol=0)


def test_the_target_is_fitted_to_the_windows_of_the_train_split(data):
    _, windows = whole(data, TRAIN)
    torch.testing.assert_close(torch.cat(list(data.read_training_vectors())), windows.flatten(0, 1), rtol=0, atol=0)


@given(st.integers(1, 200), st.integers(1, 40), st.integers(0, 5), st.integers(0, 50))
def test_epoch_batches(size, batch_size, seed, epoch):
    def order(*, before=()):
        batches = EpochBatches(size, batch_size, seed)
        for other in before:  # earlier epochs make no difference
            batches.set_epoch(other)
            list(batches)
        batches.set_epoch(epoch)
        assert len(list(batches)) == len(batches)
        return [share.indices for share in batches]

    batches = order()
    assert batches == order(before=range(3))
    prefetched = []
    prefetching = EpochBatches(size, batch_size, seed, prefetched.append)
    prefetching.set_epoch(epoch)
    for number, batch in enumerate(prefetching):
        assert batch == (batches[number], len(batches[number]))
        assert prefetched == batches[: number + 5]  # four batches ahead, and this one
    assert sorted(i for batch in batches for i in batch) == list(range(size))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    for other_seed, other_epoch in ((seed, epoch + 1), (seed + 1, epoch)) if size > 20 else ():
        other = EpochBatches(size, batch_size, other_seed)
        other.set_epoch(other_epoch)
        assert [share.indices for share in other] != batches


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 3), st.integers(1, 3))
def test_shares_of_all_processes_are_the_batches(size, batch_size, accumulate, processes):
    whole_batches = [share.indices for share in EpochBatches(size, batch_size, 0)]
    settings = {"accumulate": accumulate, "world_size": processes}
    shared = [list(EpochBatches(size, batch_size, 0, rank=rank, **settings)) for rank in range(processes)]
    # The optimiser steps after `accumulate` shares in every process.
    assert {len(shares) for shares in shared} == {len(whole_batches) * accumulate}
    for number, batch in enumerate(whole_batches):
        of_batch = [share for shares in shared for share in shares[number * accumulate : (number + 1) * accumulate]]
        assert sorted(i for share in of_batch for i in share.indices) == sorted(batch)
        sizes = [len(share.indices) for share in of_batch]
        assert max(sizes) - min(sizes) <= 1
        assert all(share.divisor == len(batch) / (accumulate * processes) for share in of_batch)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (replace(SPLIT, validation=0.01), VALIDATION),
        (replace(SPLIT, test=0.01), TEST),
        (replace(SPLIT, validation=0.5, test=0.49), TRAIN),
    ],
)
def test_an_empty_split_is_an_error(windows, rule, name):
    with pytest.raises(UserError, match=f"^data: the {name} split has no cell with windows"):
        WindowDataModule(windows, rule)


def test_cells_without_a_registered_cycle_are_counted(traces, windows, data, tmp_path):
    assert data.unregistered == 0
    few, none = (build_window_set(traces, CycleRule(settle_ms), tmp_path) for settle_ms in (1700.0, 2400.0))
    assert 0 < few.windowed.sum() < windows.windowed.sum()
    assert WindowDataModule(windows, SPLIT, few).unregistered == (windows.windowed & ~few.windowed).sum()
    with pytest.raises(UserError, match=r"^model: the train split has no cell whose cycle can be registered \(\{"):
        WindowDataModule(windows, SPLIT, none)
