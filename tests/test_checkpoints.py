"""Checkpoints under kill -9, bit rot and full disks: there is always one to go on from, and never a wrong one."""

import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import pytest
import saving
import torch
from model_book import save_checkpoint
from saving import content
from tiny_job import environment

from cardioemu import UserError, load_emulator
from cardioemu.runtime.locks import folder_lock
from cardioemu.training import BEST, LAST, PREVIOUS, find_resume_checkpoint
from cardioemu.training.checkpoints import AtomicCheckpointIO

checkpoints = import_module("cardioemu.training.checkpoints")
OTHER_DISK = Path("/dev/shm")
KILLS = 20


def whole(path):
    """The epoch of a checkpoint, all of whose numbers say the same."""
    found = AtomicCheckpointIO().load_checkpoint(path)
    assert {value.item() for tensor in found["state_dict"].values() for value in tensor.unique()} == {found["epoch"]}
    return found["epoch"]


class Saver:
    """Processes that save checkpoints for ever, started by one that has everything imported."""

    def __init__(self, temporary_folder):
        self.process = subprocess.Popen(
            [sys.executable, saving.__file__],
            env={**environment(), "TMPDIR": temporary_folder},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, folder, epoch):
        """Starts one, and returns its number."""
        self.process.stdin.write(f"{epoch} {folder}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def ended(self):
        """Waits until it has gone."""
        assert self.process.stdout.readline() == "ended\n"

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=30) == 0


@pytest.mark.program
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("elsewhere", [False, True], ids=["", "TMPDIR on another disk"])
def test_kills_while_saving(tmp_path, elsewhere):
    if elsewhere and (not OTHER_DISK.is_dir() or OTHER_DISK.stat().st_dev == tmp_path.stat().st_dev):
        pytest.skip("there is no other disk")
    other = tempfile.mkdtemp(dir=OTHER_DISK if elsewhere else tmp_path.parent)
    saver = Saver(other)
    for name in (BEST, LAST):
        AtomicCheckpointIO().save_checkpoint(content(0), tmp_path / name)
    rng, kills, epoch, torn = random.Random(0), 0, 0, 0
    # Until there have been so many, and enough of them have hit the saving for this test to say anything.
    while kills < KILLS or epoch <= KILLS / 2 or torn <= KILLS / 4:
        kills += 1
        assert kills < 10 * KILLS, (epoch, torn)
        child = saver(tmp_path, epoch + 1)
        time.sleep(rng.uniform(0.02, 0.3))
        os.kill(child, signal.SIGKILL)
        saver.ended()
        newest = find_resume_checkpoint(tmp_path)
        assert newest is not None
        assert whole(newest) >= epoch
        epoch = whole(newest)
        assert 0 <= whole(tmp_path / BEST) - epoch <= 1
        torn += bool(list(tmp_path.glob(".*.tmp")))
        with folder_lock(tmp_path, "trained"):  # the next process clears away what was being written
            assert not list(tmp_path.glob(".*.tmp"))
    saver.close()
    assert list(Path(other).iterdir()) == []
    Path(other).rmdir()


def flip_a_bit(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.fixture
def folder(tmp_path):
    """A run folder after three epochs."""
    for epoch in range(3):
        AtomicCheckpointIO().save_checkpoint(content(epoch), tmp_path / LAST)
    return tmp_path


def test_the_one_before_the_last_is_kept(folder):
    assert sorted(path.name for path in folder.iterdir()) == [LAST, PREVIOUS]
    assert (whole(folder / LAST), whole(folder / PREVIOUS)) == (2, 1)
    assert find_resume_checkpoint(folder) == folder / LAST
    assert find_resume_checkpoint(folder / "none") is None


def test_a_single_flipped_bit_is_found_and_the_previous_one_used(folder, capsys):
    flip_a_bit(folder / LAST)
    torch.load(folder / LAST, weights_only=True)  # torch itself does not see it
    assert find_resume_checkpoint(folder) == folder / PREVIOUS
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith(f"checkpoint: {folder / LAST} cannot be read, it is damaged")
    assert message.endswith(f"resuming from {PREVIOUS}")
    # What is saved next takes the place of the damaged one.
    AtomicCheckpointIO().save_checkpoint(content(3), folder / LAST)
    assert whole(folder / LAST) == 3


def test_a_file_of_no_training_is_found_and_the_previous_one_used(folder, capsys):
    torch.save({"epoch": 2}, folder / LAST)
    assert find_resume_checkpoint(folder) == folder / PREVIOUS
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith(f"checkpoint: {folder / LAST} was not written by a training, since it has no state_dict")


def test_a_kill_between_the_two_renames(folder):
    (folder / LAST).rename(folder / PREVIOUS)
    assert find_resume_checkpoint(folder) == folder / PREVIOUS


def test_when_all_are_damaged_all_are_named(folder):
    for name in (LAST, PREVIOUS):
        (folder / name).write_bytes(b"torn")
    with pytest.raises(UserError) as error:
        find_resume_checkpoint(folder)
    for name, sentence in zip((LAST, PREVIOUS), str(error.value).splitlines(), strict=True):
        assert sentence.startswith(f"checkpoint: {folder / name} cannot be read")
        assert (folder / name).read_bytes() == b"torn"


@pytest.mark.parametrize("how", ["no room", "refused"])
def test_a_disk_without_room_is_a_sentence_and_loses_nothing(folder, monkeypatch, how):
    if how == "no room":
        monkeypatch.setattr(checkpoints, "free_disk", lambda folder: 7_999_999)
        why = r"it needs 0.008 GB, 0.008 GB are free"
    else:

        def full(content, path):
            path.write_bytes(b"a part")
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(checkpoints.torch, "save", full)
        why = r"\[Errno 28\] No space left on device"
    sentence = rf"^runs_dir: .*last.ckpt cannot be saved \({why}\); free disk space, then run resume="
    with pytest.raises(UserError, match=sentence):
        AtomicCheckpointIO().save_checkpoint(content(3), folder / LAST)
    assert sorted(path.name for path in folder.iterdir()) == [LAST, PREVIOUS]
    assert whole(folder / LAST) == 2


class Bomb:
    """A pickle that acts when it is loaded."""

    def __reduce__(self):
        return (print, ("code of the checkpoint was run",))


def with_facts(**facts):
    """Changes what a checkpoint says of its emulator."""
    return lambda content, _: content | {"emulator": content["emulator"] | facts}


BROKEN = {  # what takes the place of a checkpoint's content or bytes, and what the error says of it
    "missing": (None, None),
    "torn": (lambda _, raw: raw[:5000], "cannot be read, it is damaged or from another program"),
    "empty": (lambda *_: b"", None),
    "text": (lambda *_: b"not a checkpoint", None),
    "foreign": (lambda *_: {"state_dict": {}}, None),
    "list": (lambda *_: [1, 2], None),
    "tensor": (lambda *_: torch.zeros(3), None),
    "code": (lambda content, _: content | {"bomb": Bomb()}, None),
    "network": (with_facts(network="Other"), "model: got the network 'Other'"),
    "removed": (with_facts(network="GaussianProcess"), "has been removed; train model=registered instead"),
    "shape": (with_facts(network_arguments={"samples": 3}), None),
    "setting": (with_facts(network_arguments={"depth": 3}), None),
    "fields": (lambda content, _: content | {"emulator": {"name": "?"}}, None),
    "weights": (lambda content, _: {"emulator": content["emulator"]}, None),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_no_emulator_in_the_file(tmp_path, kind, capfd):
    path = save_checkpoint(tmp_path / "some.ckpt", seed=0)
    broken, sentence = BROKEN[kind]
    found = broken and broken(torch.load(path, weights_only=True), path.read_bytes())
    path.unlink()
    if broken:
        path.write_bytes(found) if isinstance(found, bytes) else torch.save(found, path)
    with pytest.raises(UserError, match=sentence) as error:
        load_emulator(path)
    assert str(error.value).startswith(("checkpoint: ", "model: got the network 'Other'"))
    assert str(path) in str(error.value) or kind == "network"
    assert capfd.readouterr().out == ""
