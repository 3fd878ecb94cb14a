"""Atomic writes and content keys."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from cardioemu.runtime.files import atomic_write, content_key


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_atomic_writes_a_new_file_into_a_new_folder(tmp_path):
    with atomic_write(tmp_path / "a" / "b" / "file.txt") as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "a" / "b" / "file.txt").exists()
    assert (tmp_path / "a" / "b" / "file.txt").read_text() == "new"
    assert names(tmp_path / "a" / "b") == ["file.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file(tmp_path, error):
    (tmp_path / "file").write_text("old")

    def write():
        with atomic_write(tmp_path / "file") as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        write()
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_block_that_writes_nothing_leaves_the_old_file(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
def test_a_kill_during_the_write_leaves_the_old_file(tmp_path):
    (tmp_path / "file").write_text("old")
    code = "import sys, time; from pathlib import Path; from cardioemu.runtime.files import atomic_write as write\n"
    code += "with write(Path(sys.argv[1])) as t:\n t.write_text('half'); print('writing', flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "file")], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"writing\n"
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert (tmp_path / "file").read_text() == "old"
    assert len(names(tmp_path)) == 2  # the incomplete file stays, hidden, and does not disturb the next write
    with atomic_write(tmp_path / "file") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "file").read_text() == "new"


def test_two_writers_of_one_file_have_different_temporary_files(tmp_path):
    with atomic_write(tmp_path / "file") as one, atomic_write(tmp_path / "file") as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "file").read_text() == "one"


FACTS = {"number": 1.5, "text": "a", "list": [1, 2], "array": np.arange(6.0)}
CHANGES = [
    {"number": 1.5000000000000002},
    {"text": "b"},
    {"list": [2, 1]},
    {"array": np.arange(6.0).reshape(2, 3)},
    {"array": np.arange(6)},
    {"array": np.nextafter(np.arange(6.0), 9)},
    {"more": None},
]


def test_the_stage_counts_and_the_order_of_facts_does_not():
    assert content_key("s 1", **FACTS) != content_key("s 2", **FACTS)
    assert content_key("s", **FACTS) == content_key("s", **dict(reversed(FACTS.items())))
    assert content_key("s", **FACTS) == content_key("s", **{**FACTS, "array": np.arange(12.0)[::2] / 2})


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_fact_counts(change):
    assert content_key("s", **FACTS) != content_key("s", **{**FACTS, **change})


def test_values_that_have_no_hash_are_refused(tmp_path):
    with pytest.raises(TypeError, match=r"a \w+ is not a plain value"):
        content_key("s", folder=tmp_path)
