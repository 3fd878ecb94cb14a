"""Designs that grow: which cells an emulator chooses, and the rounds of a run."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_job import STEADY, metrics_of, run_inside
from torch import nn

from cardioemu import UserError, load_emulator
from cardioemu.emulator import Emulator
from cardioemu.simulation import design
from cardioemu.training.active_learning import DESIGN_FILE, ActiveLearning, grow_design

SCALED = ["a", "b"]


def active(**changed):
    settings = {"rounds": 1, "cells": 60, "max_epochs": 1, "candidates": 4096, "boundary": 0.25, "seed": 0}
    return ActiveLearning(**settings | changed)


class Half(Emulator):
    """A stand-in: cells fire above a + b = 2, and its members disagree as much as a says."""

    def __init__(self):
        nn.Module.__init__(self)
        self.specification = SimpleNamespace(scaled=SCALED)

    def fires_probability(self, scales):
        return 1 / (1 + np.exp(-40 * (scales.sum(axis=1) - 2)))

    def epistemic_std(self, scales):
        return scales[:, 0].astype(np.float32)


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 7))
def test_sizes_grow_evenly(begin, more, rounds):
    sizes = active(rounds=rounds, cells=begin + more).design_sizes(begin)
    assert (sizes[0], sizes[-1], len(sizes)) == (begin, begin + more, rounds + 1)
    assert np.ptp(np.diff(sizes)) <= 1


def test_cells_lie_at_the_boundary_and_where_members_disagree():
    known = design("sobol", n=2000, scaled=SCALED, low=0.0, high=2.0)
    chosen = active().select(Half(), known, 1000)
    assert chosen.shape == (1000, 2)
    assert len(np.unique(chosen, axis=0)) == 1000
    assert not {row.tobytes() for row in chosen} & {row.tobytes() for row in known}
    at_boundary, others = chosen[:250], chosen[250:]
    # p (1 - p) falls to a tenth of its maximum at 3.6 / 40 = 0.09 from the boundary.
    assert np.quantile(np.abs(at_boundary.sum(axis=1) - 2), 0.9) < 0.1
    assert (others.sum(axis=1) >= 2 - 1e-9).all()
    # Drawn in proportion to a over the triangle a + b > 2, where a has the density a / 2: its mean is then 3/2.
    assert others[:, 0].mean() == pytest.approx(1.5, abs=0.05)


def test_candidates_stay_in_the_box_of_the_design():
    known = np.array([[0.5, 1.0], [1.5, 1.0], [1.0, 1.0]])
    chosen = active(boundary=1.0).select(Half(), known, 50)
    assert chosen[:, 0].min() >= 0.5
    assert chosen[:, 0].max() <= 1.5
    assert (chosen[:, 1] == 1).all()


def test_fewer_wanted_candidates_than_asked_for():
    class Silent(Half):
        def fires_probability(self, scales):
            return np.zeros(len(scales))

    chosen = active(candidates=64).select(Silent(), design("sobol", n=8, scaled=SCALED), 60)
    assert len(np.unique(chosen, axis=0)) == 60


def test_an_emulator_without_members():
    class Alone(Half):
        def epistemic_std(self, scales):
            return None

    with pytest.raises(UserError, match=r"set model\.members=2 or more"):
        active().select(Alone(), design("sobol", n=8, scaled=SCALED), 4)


@pytest.mark.parametrize(
    ("begin", "sentence"),
    [
        (60, "active.cells: got 60, but the first design already has 60; increase it, or use a smaller design"),
        (4, "active.candidates: got 50, but 56 of them are to be selected; increase it"),
    ],
)
def test_sizes_that_cannot_be(begin, sentence):
    with pytest.raises(UserError) as error:
        active(candidates=50).design_sizes(begin)
    assert str(error.value) == sentence


def test_rounds_are_trained_on_all_cells_so_far(tmp_path):
    scales, trained = design("sobol", n=20, scaled=SCALED), []

    def train(path, folder):
        trained.append((len(pd.read_parquet(path)), folder.relative_to(tmp_path).as_posix()))
        return Half()

    path = grow_design(active(rounds=2), scales, SCALED, tmp_path, train)
    assert trained == [(20, "rounds/1"), (40, "rounds/2")]
    table = pd.read_parquet(path)
    assert path == tmp_path / DESIGN_FILE
    assert list(table) == SCALED
    assert len(table) == 60
    np.testing.assert_array_equal(table.to_numpy()[:20], scales)
    again = grow_design(active(rounds=2), scales, SCALED, tmp_path / "again", lambda path, folder: Half())
    np.testing.assert_array_equal(pd.read_parquet(again), table)


EPOCHS = ("active.max_epochs=2", "trainer.max_epochs=4")
OWN = ("experiment=active", *STEADY, *EPOCHS, "active.cells=64", "model.members=2")


@pytest.mark.long
def test_one_command_and_its_resumption(tmp_path):
    result = run_inside(*OWN, cwd=tmp_path)
    assert "64 cells, 64 distinct, 48 of them copied from another campaign; " in result.stderr
    (folder,) = tmp_path.glob("runs/*/*")
    assert metrics_of(folder / "rounds" / "1")["test/cells"] > 0
    emulator = load_emulator(folder / "best.ckpt")
    first = load_emulator(folder / "rounds" / "1" / "best.ckpt").specification.design
    whole = emulator.specification.design
    assert (len(first), len(whole)) == (48, 64)
    assert (whole[:48] == first).all()
    np.testing.assert_array_equal(pd.read_parquet(folder / DESIGN_FILE), whole)

    # Killed while the last emulator was trained: the round stays as it was.
    metrics, round_file = metrics_of(folder), folder / "rounds" / "1" / "metrics.json"
    written = round_file.stat().st_mtime_ns
    for name in ("best.ckpt", "last.ckpt", "previous.ckpt", "metrics.json"):
        (folder / name).unlink(missing_ok=True)
    run_inside(f"resume={folder}", cwd=tmp_path)
    assert round_file.stat().st_mtime_ns == written
    assert metrics_of(folder)["val/rmse_mV"] == pytest.approx(metrics["val/rmse_mV"], rel=1e-4)

    # Killed in the round, before it was tested: it goes on from its last checkpoint.
    of_round = metrics_of(round_file.parent)
    round_file.unlink()
    (folder / "metrics.json").unlink()
    run_inside(f"resume={folder.relative_to(tmp_path)}", cwd=tmp_path)
    assert metrics_of(round_file.parent)["test/rmse_mV_mean"] == pytest.approx(of_round["test/rmse_mV_mean"], rel=1e-4)
    assert metrics_of(folder)["val/rmse_mV"] == pytest.approx(metrics["val/rmse_mV"], rel=1e-4)
