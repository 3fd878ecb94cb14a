"""A disk that refuses: full, too small, read-only."""

import ctypes
import resource
import signal
import subprocess
from contextlib import suppress

import pytest
from small_campaign import files_of, finish, logged, start, wait_for
from tiny_job import error_message, run_cli

from cardioemu.simulation import TraceStore

pytestmark = pytest.mark.program

SMALL = ("design=sobol", "design.n=1100", "simulator.duration_ms=2000", "solver.threads=1")


def limited():
    """A file-size limit: the write of a shard fails half-way, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))


def bound_by_permissions():
    """Takes from root the right to write where nobody may; anyone else has none."""
    cap_dac_override, pr_capbset_drop = 1, 24
    ctypes.CDLL(None).prctl(pr_capbset_drop, cap_dac_override, 0, 0, 0)


def test_a_file_that_cannot_be_written_is_reported(tmp_path):
    result = run_cli(*SMALL, cwd=tmp_path, script="simulate.py", check=False, preexec_fn=limited)
    (folder,) = tmp_path.glob("data/traces/*")
    sentence = error_message(result)
    assert sentence.startswith(f"data_dir: {folder.relative_to(tmp_path)} cannot be written to (")
    assert sentence.endswith("free disk space or set another data_dir, then re-run the command")
    assert sorted(path.name for path in folder.iterdir()) == [".holder", ".lock", "_campaign.json"]
    run_cli(*SMALL, cwd=tmp_path, script="simulate.py")
    assert sum(entry.rows for entry in TraceStore(folder).entries.values()) == 1100


def test_a_read_only_folder_is_reported(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o555)
    result = run_cli(*SMALL, cwd=tmp_path, script="simulate.py", check=False, preexec_fn=bound_by_permissions)
    assert result.stderr.count("\n") == 1
    sentence = error_message(result)
    assert sentence.startswith("data_dir: data/traces/akwaboah2021-")
    assert "cannot be written to (Permission denied)" in sentence
    assert not list((tmp_path / "data").iterdir())


def test_a_finished_store_in_a_read_only_folder_is_opened(tmp_path):
    small = (*SMALL, "design.n=8")
    out = run_cli(*small, cwd=tmp_path, script="simulate.py").stdout
    folders_below = [tmp_path / "data", *(path for path in (tmp_path / "data").rglob("*") if path.is_dir())]
    for folder in folders_below:
        folder.chmod(0o555)
    again = run_cli(*small, cwd=tmp_path, script="simulate.py", preexec_fn=bound_by_permissions)
    assert again.stdout == out
    for folder in folders_below:
        folder.chmod(0o755)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 6 MB, where the machine lets a test have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(path):
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_disk_that_fills_up(uninterrupted, small_disk, tmp_path):
    """Another program takes what was free when the campaign began; when it gives way, the campaign goes on."""
    folder, log, other = small_disk / "traces", tmp_path / "log", small_disk / "other"
    process = start(folder, log)
    wait_for(lambda: len(logged(log)) > 4)
    fill(other)
    status, err = finish(process)
    assert status == 2
    assert err.splitlines()[-1].startswith(f"data_dir: {next(folder.iterdir())} cannot be written to (")
    finished = files_of(folder)
    assert len(finished) >= 3
    assert all(uninterrupted[name] == content for name, content in finished.items())
    assert not list(folder.glob("*/.*.tmp"))
    other.unlink()
    before = len(logged(log))
    assert finish(start(folder, log))[0] == 0
    assert files_of(folder) == uninterrupted
    assert len(logged(log)) - before == 40 - len(finished)


def test_a_campaign_larger_than_its_disk_does_not_begin(small_disk, tmp_path):
    command = (*SMALL, "design.n=4000", f"data_dir={small_disk}")
    result = run_cli(*command, cwd=tmp_path, script="simulate.py", check=False)
    assert error_message(result).startswith("data_dir: the traces need 0.0")
    assert not list(small_disk.rglob("*.parquet"))
