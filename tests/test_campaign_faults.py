"""What the disk, a stop or another program does to a campaign, and what its next run makes of it."""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from small_campaign import DURATION, MANY, SCALES, SOLVER, files_of
from tiny_job import ROOT, environment, run_cli

from cardioemu.errors import UserError
from cardioemu.simulation import TraceStore, campaign

pytestmark = pytest.mark.usefixtures("small_shards")

PROGRAM = [sys.executable, str(ROOT / "tests" / "small_campaign.py")]
SECOND = "shard-00001.parquet"


@pytest.fixture
def rerun(cell, tmp_path):
    return lambda: campaign(cell, SCALES, DURATION, SOLVER, tmp_path)


@pytest.fixture
def store(rerun):
    return rerun()


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def halve(path):
    os.truncate(path, path.stat().st_size // 2)


MENDED = {
    "flipped byte": (flip, "was altered: its checksum is not the one it was written with; making it again"),
    "truncated": (halve, "is torn: it has "),
    "empty": (lambda path: path.write_bytes(b""), "is torn: it has 0 bytes of "),
    "another shard": (lambda path: path.write_bytes((path.parent / "shard-00000.parquet").read_bytes()), "is torn"),
    "deleted": (Path.unlink, None),  # nothing is said of what an interruption leaves too
}


@pytest.mark.parametrize("fault", MENDED)
def test_a_faulty_shard_is_named_and_made_again(store, rerun, tmp_path, simulated, capsys, fault):
    before = files_of(tmp_path)
    damage, sentence = MENDED[fault]
    damage(store.folder / SECOND)
    capsys.readouterr()
    assert list(store.damaged()) == [SECOND]
    rerun()
    assert simulated == [2]
    assert files_of(tmp_path) == before
    told = capsys.readouterr().err
    assert (f"{store.folder / SECOND} {sentence}" in told) if sentence else "shard" not in told
    assert store.damaged() == {}


@pytest.mark.parametrize("fault", ["flipped byte", "truncated", "deleted"])
def test_reading_a_faulty_shard_is_refused(store, fault):
    MENDED[fault][0](store.folder / SECOND)
    with pytest.raises(UserError, match=f"{SECOND} is damaged or gone .*; run its campaign again, which mends it"):
        [trace for shard in store.shards for trace in store.traces(shard)]


@pytest.mark.parametrize("name", ["notes.txt", "shard-00009.parquet", "backup"])
def test_a_foreign_file_is_named(store, rerun, simulated, name):
    (store.folder / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name} does not belong to the traces it lies among; move it away"):
        rerun()
    assert (store.folder / name).read_text() == "mine"
    (store.folder / name).unlink()
    rerun()
    assert simulated == []


def test_what_readers_pass_over_is_not_foreign(store, rerun, simulated):
    for name in ("_summary.txt", ".DS_Store", "_notes.md"):
        (store.folder / name).write_text("mine")
    rerun()
    assert simulated == []


def test_manifest_of_another_campaign(cell, store, rerun, tmp_path, simulated):
    other = campaign(cell, SCALES[:3], DURATION, SOLVER, tmp_path)
    simulated.clear()
    manifest = store.folder / "_manifest.jsonl"
    mine = manifest.read_bytes()
    manifest.write_bytes((other.folder / "_manifest.jsonl").read_bytes())
    for act in (rerun, lambda: TraceStore(store.folder)):
        with pytest.raises(UserError, match=f"belongs to another campaign .{other.key}, not {store.key}.; delete it"):
            act()
    manifest.write_bytes(mine)
    rerun()
    assert simulated == []


def test_facts_of_another_campaign(cell, store, rerun, tmp_path):
    other = campaign(cell, SCALES[:3], DURATION, SOLVER, tmp_path)
    (store.folder / "_campaign.json").write_bytes((other.folder / "_campaign.json").read_bytes())
    with pytest.raises(UserError, match=r"_campaign.json belongs to another campaign; move it away"):
        rerun()


@pytest.mark.parametrize(("content", "sentence"), [("{", "_campaign.json is damaged; making it again"), (None, "")])
def test_facts_are_written_again(store, rerun, simulated, capsys, content, sentence):
    path, facts = store.folder / "_campaign.json", store.facts
    path.unlink() if content is None else path.write_text(content)
    rerun()
    assert simulated == []
    assert json.loads(path.read_text()) == facts
    assert sentence in capsys.readouterr().err


def test_a_torn_line_of_the_manifest(store, rerun, simulated):
    manifest = store.folder / "_manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-20])  # the last shard is not listed any more
    rerun()
    assert simulated == [2]
    assert TraceStore(store.folder).damaged() == {}
    assert len(TraceStore(store.folder)) == 7


def test_a_lost_manifest(store, rerun, simulated):
    (store.folder / "_manifest.jsonl").unlink()
    rerun()
    assert simulated == [2, 2, 2]  # nothing says what the files should be


def test_left_over_temporary_files_are_removed(store, rerun, simulated):
    torn = store.folder / ".shard-00001.parquet.0123abcd.tmp"
    torn.write_bytes(b"PAR1 half")
    (store.folder / SECOND).unlink()
    rerun()
    assert simulated == [2]
    assert not torn.exists()


# A program of its own


def start(folder, log, *more, **kwargs):
    process = subprocess.Popen(
        [*PROGRAM, str(folder), str(log), *more],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process):
    _, told = process.communicate(timeout=120)
    return process.returncode, told


def logged(log):
    return [tuple(json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert finish(start(folder / "traces", folder / "log"))[0] == 0
    assert len(logged(folder / "log")) == 40
    return files_of(folder / "traces")


def test_ten_kills(uninterrupted, tmp_path):
    """Killed at ten random moments, a campaign goes on to the same store, and simulates no finished shard again."""
    rng, folder, log = np.random.default_rng(), tmp_path / "traces", tmp_path / "log"
    for _ in range(10):
        finished, before = files_of(folder), len(logged(log))
        process = start(folder, log)
        time.sleep(rng.uniform(0, 0.6))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not set(logged(log)[before:]) & {scales_of(name) for name in finished}
        assert finished.items() <= files_of(folder).items()
    finished, before = files_of(folder), len(logged(log))
    assert finish(start(folder, log))[0] == 0
    assert files_of(folder) == uninterrupted
    assert sorted(logged(log)[before:]) == sorted(scales_of(name) for name in uninterrupted.keys() - finished.keys())
    (store,) = (TraceStore(path) for path in folder.iterdir())
    assert store.damaged() == {}
    assert not list(store.folder.glob(".*.tmp"))


def scales_of(shard):
    """The scales of the two cells in a shard of the program's campaign."""
    first = 2 * int(shard.removeprefix("shard-").removesuffix(".parquet"))
    return tuple(MANY[first : first + 2, 0].tolist())


@pytest.fixture
def two(tmp_path):
    """Two processes at one campaign: the first is stopped in the middle, the second has said that it waits."""
    folder, log = tmp_path / "traces", tmp_path / "log"
    first = start(folder, log)
    wait_for(lambda: len(logged(log)) > 2)
    first.send_signal(signal.SIGSTOP)
    second = start(folder, log)
    said = second.stderr.readline()
    assert said.startswith(f"{next(folder.iterdir())} is being simulated by process {first.pid} on ")
    assert said.endswith("; waiting until that has ended\n")
    yield first, second
    for process in (first, second):
        process.kill()
        process.communicate()


def test_the_second_of_two_processes_waits(uninterrupted, two, tmp_path):
    first, second = two
    first.send_signal(signal.SIGCONT)
    assert finish(first)[0] == finish(second)[0] == 0
    assert files_of(tmp_path / "traces") == uninterrupted
    assert len(logged(tmp_path / "log")) == 40


def test_the_second_goes_on_where_the_first_was_killed(uninterrupted, two, tmp_path):
    first, second = two
    first.send_signal(signal.SIGKILL)
    assert finish(second)[0] == 0
    assert files_of(tmp_path / "traces") == uninterrupted
    assert len(logged(tmp_path / "log")) <= 42


# The disk refuses

TINY = ("design=sobol", "design.n=1100", "simulator.duration_ms=2000", "solver.threads=1")


def limited():
    """A file-size limit: the write of a shard fails half-way, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))


def bound_by_permissions():
    """Takes from root the right to write where nobody may; anyone else has none."""
    cap_dac_override, pr_capbset_drop = 1, 24
    ctypes.CDLL(None).prctl(pr_capbset_drop, cap_dac_override, 0, 0, 0)


def test_a_file_that_cannot_be_written_is_told_in_a_sentence(tmp_path):
    result = run_cli(*TINY, cwd=tmp_path, script="simulate.py", check=False, preexec_fn=limited)
    assert result.returncode == 2
    (folder,) = tmp_path.glob("data/traces/*")
    *_, sentence = result.stderr.splitlines()
    assert sentence.startswith(f"data_dir: {folder.relative_to(tmp_path)} cannot be written to (")
    assert sentence.endswith("make room, or give another data_dir, and run the same command again")
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in folder.iterdir()) == [".holder", ".lock", "_campaign.json"]
    run_cli(*TINY, cwd=tmp_path, script="simulate.py")
    assert sum(entry.rows for entry in TraceStore(folder).entries.values()) == 1100


def test_a_read_only_folder_is_told_in_a_sentence(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o555)
    result = run_cli(*TINY, cwd=tmp_path, script="simulate.py", check=False, preexec_fn=bound_by_permissions)
    assert result.returncode == 2
    (sentence,) = result.stderr.splitlines()
    assert sentence.startswith("data_dir: data/traces/akwaboah2021-")
    assert "cannot be written to (Permission denied)" in sentence
    assert not list((tmp_path / "data").iterdir())


def test_a_finished_store_in_a_read_only_folder_is_opened(tmp_path):
    tiny = (*TINY, "design.n=8")
    told = run_cli(*tiny, cwd=tmp_path, script="simulate.py").stdout
    folders_below = [tmp_path / "data", *(path for path in (tmp_path / "data").rglob("*") if path.is_dir())]
    for folder in folders_below:
        folder.chmod(0o555)
    again = run_cli(*tiny, cwd=tmp_path, script="simulate.py", preexec_fn=bound_by_permissions)
    assert again.stdout == told
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
    status, told = finish(process)
    assert status == 2
    assert told.splitlines()[-1].startswith(f"data_dir: {next(folder.iterdir())} cannot be written to (")
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
    command = (*TINY, "design.n=4000", f"data_dir={small_disk}")
    result = run_cli(*command, cwd=tmp_path, script="simulate.py", check=False)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("data_dir: the traces will take 0.0")
    assert not list(small_disk.rglob("*.parquet"))
