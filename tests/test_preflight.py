"""Whether a training fits: hand-counted networks, measured runs, and the sentence for one that does not fit."""

import re
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from unittest.mock import Mock

import psutil
import pytest
import torch
from omegaconf import OmegaConf
from tiny_job import ROOT, TINY, command, environment, run_inside
from torch import nn
from torch.optim import SGD

from cardioemu import UserError
from cardioemu.jobs.train import check_before_start
from cardioemu.models import LSTMNetwork, Network
from cardioemu.settings.train import TrainSettings
from cardioemu.training import KerasRMSprop, Preflight, TrainerSettings, TrainingJob
from cardioemu.training.memory.fake_run import MemoryUse, measure_memory

preflight = import_module("cardioemu.training.memory.preflight")
GB = 10**9
SIZES = {"inputs": 5, "output_samples": 7, "batch_size": 4, "cells": 3, "windows": 2, "mixed": False}
NETWORK, RECURRENT = 4 * (24 * 5 + 24 * 6 + 24 + 42 + 49), 4 * 24 * 6  # of hidden=6, samples=7, without normaliser


def published_lstm(**changes):
    return partial(LSTMNetwork, **{"samples": 7, "hidden": 6, "normalise": False} | changes)


@pytest.mark.parametrize(
    ("optimizer", "per_gradient", "more"),
    [
        (KerasRMSprop, 1, 0),
        (partial(SGD, lr=0.1), 0, 0),
        (partial(SGD, lr=0.1, momentum=0.9), 1, 0),
        (torch.optim.Adam, 2, 6 * 4),  # and a step counter for each of the six parameters with a gradient
    ],
)
def test_what_is_kept_by_hand(optimizer, per_gradient, more):
    assert measure_memory(published_lstm(normalise=True), optimizer, **SIZES).network == NETWORK + 4 * (7 + 1)
    found = measure_memory(published_lstm(), optimizer, **SIZES)
    # The recurrent kernel is never read: it gets no gradient, and the optimiser keeps nothing of it.
    assert found.network == NETWORK
    assert found.gradients == NETWORK - RECURRENT
    assert found.optimizer == per_gradient * found.gradients + more


class Squares(Network):
    """w s w: two products are kept for the gradient, and nothing else is made on the way forward."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1000))

    def fit_target(self, batches):
        raise NotImplementedError

    def forward(self, scales):
        return (scales.sum() * self.w * self.w)[None, :].expand(len(scales), -1)


def test_the_work_of_a_step_by_hand():
    sizes = SIZES | {"output_samples": 1000, "batch_size": 1, "windows": 1, "cells": 1}
    found = measure_memory(Squares, partial(SGD, lr=0.1, foreach=False), **sizes)
    assert (found.network, found.gradients, found.optimizer) == (4000, 4000, 0)
    # Vectors of 1000 floats: at least batch, s w, its square and the gradient of that, at most twice as many.
    assert 4 * 4000 <= found.working <= 8 * 4000
    large = measure_memory(Squares, partial(SGD, lr=0.1), **sizes | {"batch_size": 1000})
    assert large.working > 1000 * 4000


def test_mixed_precision_adds_a_copy_of_the_weights_and_halves_activations():
    def working(mixed, **changes):
        sizes = SIZES | {"mixed": mixed} | changes
        return measure_memory(published_lstm(hidden=64), partial(SGD, lr=0.1), **sizes).working

    assert working(mixed=True) > working(mixed=False)
    assert working(mixed=True, batch_size=10**5) < working(mixed=False, batch_size=10**5)


def test_measuring_allocates_nothing():
    measure_memory(published_lstm(), KerasRMSprop, **SIZES)  # imports
    before = psutil.Process().memory_info().rss
    found = measure_memory(published_lstm(hidden=100_000), KerasRMSprop, **SIZES)
    assert found.network > 160 * GB
    assert found.building > 1.15 * found.network  # its orthogonal part, a Gram matrix and a factor of it
    assert psutil.Process().memory_info().rss - before < 5e7


USE = MemoryUse(network=4 * GB, building=9 * GB, gradients=2 * GB, optimizer=3 * GB, working=GB)


def test_the_table_by_hand():
    found = Preflight(USE, False, {"host": 20 * GB, "GPU": 0, "disk": 15 * GB}, program=GB)
    later = preflight.LATER_BYTES
    # Of checkpoints: best and its copy, and three of the others.
    assert found.required == {"host": 11 * GB + later, "GPU": 0, "disk": 29 * GB}
    assert found.insufficient == ["disk"]
    assert found.window_budget == {"GPU": 0, "host": (20 * GB - 11 * GB - later) // 2}
    holding = replace(found, cached_windows={"host": 2 * GB})
    assert holding.required["host"] == 13 * GB + later
    assert holding.window_budget == found.window_budget
    head, *lines, most, available = (" ".join(line.split()) for line in str(holding).splitlines())
    assert (head, most, available) == ("memory host disk", "at most 13 GB 29 GB", "available 20 GB 15 GB")
    assert {"parameters 4 GB", "cached windows 2 GB"} <= set(lines)
    # Where building takes more than all of training, that is the most.
    large = replace(found, memory_use=USE._replace(building=30 * GB))
    assert large.required["host"] == 31 * GB + later
    assert large.insufficient == ["host", "disk"]
    assert large.window_budget["host"] == 0


def test_the_table_of_a_gpu_by_hand():
    free = {"host": 20 * GB, "GPU": 10 * GB, "disk": 50 * GB}
    found = Preflight(USE, True, free, program=GB, cached_windows={"host": 2 * GB})
    # The network is built on the host, and trained on the GPU.
    assert found.required["host"] == 10 * GB + preflight.LATER_BYTES
    assert found.required["GPU"] == 10 * GB + preflight.CUDA_BYTES
    assert found.insufficient == ["GPU"]
    assert str(found).splitlines()[0].split() == ["memory", "host", "GPU", "disk"]
    larger = replace(found, free=found.free | {"GPU": 21 * GB})
    assert larger.window_budget["GPU"] == (11 * GB - preflight.CUDA_BYTES) // 2


def test_the_table_of_several_processes_by_hand():
    one = Preflight(USE, False, {"host": 50 * GB, "GPU": 0, "disk": 50 * GB}, program=GB)
    four = replace(one, processes=4)
    assert four.required == {"host": 4 * one.required["host"], "GPU": 0, "disk": 29 * GB}
    # Sharded, the 9 GB of network, gradients and optimiser state count a quarter each; building does not.
    sharded = replace(four, shards=4, memory_use=USE._replace(building=GB))
    assert sharded.required["host"] == 4 * (GB + preflight.LATER_BYTES + 9 * GB // 4 + GB)
    assert sharded.window_budget["host"] == (50 * GB - sharded.required["host"]) // 2 // 4


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A training of about 0.6 GB, on a machine with 1 GB that is free; the test may take more of it away."""
    machine = SimpleNamespace(memory=GB, disk=GB)
    monkeypatch.setattr(preflight, "private_memory", lambda: 0)
    monkeypatch.setattr(preflight, "LATER_BYTES", 0)
    monkeypatch.setattr(preflight, "free_memory", lambda: machine.memory)
    monkeypatch.setattr(preflight, "free_disk", lambda folder: machine.disk)
    model, sizes = partial(LSTMNetwork, samples=1000, hidden=2000), {"inputs": 5, "output_samples": 1000, "windows": 3}
    trainer = TrainerSettings(max_epochs=1)
    job = TrainingJob(model, KerasRMSprop, batch_size=4096, trainer=trainer, folder=tmp_path, **sizes)
    assert job.shortfall_message() is None
    return SimpleNamespace(machine=machine, job=job)


def with_setting(job, name, value):
    return {
        "model.hidden": lambda: replace(job, model=partial(job.model, hidden=int(value))),
        "data.batch_size": lambda: replace(job, batch_size=int(value)),
        "trainer.precision": lambda: replace(job, trainer=replace(job.trainer, precision=value)),
    }[name]()


@pytest.mark.parametrize(
    ("batch_size", "memory", "named"), [(4096, 0.25, {"model.hidden", "data.batch_size"}), (1, 0.05, {"model.hidden"})]
)
def test_what_should_fit_fits_and_a_tenth_more_does_not(job, batch_size, memory, named):
    job.job, job.machine.memory = replace(job.job, batch_size=batch_size), int(memory * GB)
    sentence = job.job.shortfall_message()
    assert re.match(r"memory_check: the run needs 0\.\d+ GB of host memory \(0\.\d+ GB available\); ", sentence)
    assert sentence.endswith("would fit; memory_check=warn starts it anyway")
    smaller = dict(re.findall(r"(\w+\.\w+)=([\w-]+)", sentence))
    assert set(smaller) - {"trainer.precision"} == named
    for name, value in smaller.items():
        assert with_setting(job.job, name, value).fits
        if name != "trainer.precision":
            assert not with_setting(job.job, name, 1.1 * int(value)).fits


def test_where_nothing_would_fit(job):
    job.machine.memory = 1000
    assert "; no smaller batch or network would fit; " in job.job.shortfall_message()


def test_a_disk_too_small_for_the_checkpoints(job):
    job.machine.disk = 10**7
    sentence = job.job.shortfall_message()
    assert " GB of disk space for checkpoints (0.01 GB available); model.hidden=" in sentence
    assert not re.search(r"host memory|data\.batch_size", sentence)
    # The checkpoints of a run that is resumed make room for their successors.
    (job.job.folder / "last.ckpt").write_bytes(bytes(10**9))
    assert job.job.shortfall_message() is None


def test_refuse_or_warn(job, tmp_path, capsys):
    def check(memory_check):
        check_before_start(Mock(TrainSettings, memory_check=memory_check), OmegaConf.create(), tmp_path, job.job)

    job.machine.memory = 10**8
    with pytest.raises(UserError, match=r"^memory_check: the run needs"):
        check("refuse")
    check("warn")
    assert capsys.readouterr().err.startswith("memory_check: the run needs")


def test_settings_of_the_trainer_that_are_left_out_have_their_defaults(tmp_path):
    names = ("strategy", "devices", "accumulate", "precision", "accelerator", "nodes")
    result = run_inside(*TINY, *(f"~trainer.{name}" for name in names), "dry_run=true", cwd=tmp_path)
    assert "activations and work" in result.stdout


def test_a_run_that_cannot_fit_is_refused_before_it_allocates(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    anonymous = import_module("memory").anonymous
    peak, arguments = 0, command(*TINY, "model.hidden=200000", "data.batch_size=1")
    with subprocess.Popen(arguments, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak = max(peak, anonymous(process.pid))
            time.sleep(0.005)
        sentence = process.stderr.read().splitlines()[-1]
    assert process.returncode == 2
    assert re.match(r"memory_check: the run needs 1\d{3} GB of host memory .* model\.hidden=\d+ would fit", sentence)
    assert peak < GB  # of 800 GB of parameters, nothing
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_dry_run_shows_the_table_and_what_does_not_fit(tmp_path):
    result = run_inside(*TINY, "model.hidden=200000", "dry_run=true", cwd=tmp_path)
    assert re.search(r"^parameters +80\d GB *$", result.stdout, re.MULTILINE)
    assert "model.hidden=" in result.stderr


@pytest.mark.memory
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "changes",
    [
        ("model.hidden=8",),
        ("model.hidden=1500", "data.batch_size=8"),
        ("model.hidden=500", "data.batch_size=500", "windowing.samples=20000", "design.n=256"),
    ],
    ids=["small", "wide", "batches"],
)
def test_what_a_run_says_is_what_it_takes(changes, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    # Two epochs: one of these batches is a whole epoch, and a first step has no optimiser state beside its work.
    predicted, peak = import_module("memory").measured((*TINY, "trainer.max_epochs=2", *changes), tmp_path / "run")
    assert predicted == pytest.approx(peak, rel=0.15)
