"""Resources available to this process, with the control groups of Linux."""

import mmap
import os
import resource
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from cardioemu.runtime import machine

GB = 10**9


def group(folder, names, limit, usage, cache):
    folder.mkdir(parents=True, exist_ok=True)
    limit_file, usage_file, cache_entry = names
    (folder / limit_file).write_text(f"{limit}\n")
    (folder / usage_file).write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{cache_entry} {cache}\n")


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache")
V2 = ("memory.max", "memory.current", "file")


@pytest.mark.parametrize(
    ("membership", "groups", "free"),
    [
        ("0::/a/b\n", {"a/b": (V2, 6 * GB, 2 * GB, GB)}, 5 * GB),
        ("0::/a/b\n", {"a/b": (V2, "max", 2 * GB, GB), "a": (V2, 4 * GB, 3 * GB, 0)}, GB),  # limit of a parent
        ("0::/a\n", {"a": (V2, "max", 2 * GB, GB)}, None),
        ("0::/a\n", {"a": (V2, GB, 2 * GB, 0)}, 0),  # limit lowered below the usage
        ("7:cpu:/x\n4:cpuset,memory:/a\n0::/\n", {"memory/a": (V1, 6 * GB, 2 * GB, GB)}, 5 * GB),
        ("4:memory:/gone\n", {}, None),
    ],
)
def test_free_memory_in_a_control_group(membership, groups, free, tmp_path, monkeypatch):
    (tmp_path / "cgroup").write_text(membership)
    for name, content in groups.items():
        group(tmp_path / "groups" / name, *content)
    monkeypatch.setattr(machine, "GROUPS_OF_PROCESS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 50 * GB}))
    assert machine.free_memory() == (50 * GB if free is None else free)


def test_free_memory_in_a_real_control_group():
    folder = Path("/sys/fs/cgroup/memory/cardioemu-test")
    try:
        folder.mkdir(exist_ok=True)
        (folder / "memory.limit_in_bytes").write_text(str(2 * GB))
    except OSError:
        pytest.skip("no permission to create a control group")
    code = "from cardioemu.runtime.machine import free_memory; print(free_memory())"
    try:
        join = (folder / "cgroup.procs").write_text
        free = subprocess.check_output([sys.executable, "-c", code], preexec_fn=lambda: join(str(os.getpid())))
    finally:
        folder.rmdir()
    assert GB < int(free) < 2 * GB


def test_private_memory_excludes_mapped_files(tmp_path):
    before = machine.private_memory()
    own = bytearray(os.urandom(1)) * 100_000_000
    assert machine.private_memory() - before == pytest.approx(1e8, rel=0.05)
    del own
    path = tmp_path / "file"
    path.write_bytes(bytes(1) * 50_000_000)
    before = machine.private_memory()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[i] for i in range(0, 50_000_000, 4096)) == 0
        assert machine.private_memory() - before < 1e7


def test_free_disk_of_a_folder_that_does_not_exist_yet(tmp_path):
    free = machine.free_disk(tmp_path / "not" / "yet")
    assert free == pytest.approx(psutil.disk_usage(str(tmp_path)).free, rel=0.05)


@pytest.mark.parametrize(
    ("size", "text"), [(5.61e7, "0.0561 GB"), (7.7e9, "7.7 GB"), (24.71e9, "24.7 GB"), (117.4e9, "117 GB")]
)
def test_format_bytes(size, text):
    assert machine.format_bytes(size) == text


@pytest.mark.parametrize(("variable", "expected"), [("1", 1), ("999", None), ("0", None), ("", None), ("many", None)])
def test_available_cores(variable, expected, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert machine.available_cores() == (expected or len(os.sched_getaffinity(0)))


def test_a_process_is_identified_while_it_runs():
    code = "from cardioemu.runtime.machine import process_identity as name; print(name(), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as other:
        name = other.stdout.readline().strip()
        assert machine.process_exists(name)
        other.kill()
    assert not machine.process_exists(name)
    assert machine.process_exists(machine.process_identity())
    host, pid, started_s = machine.process_identity().split()
    assert not machine.process_exists(f"{host} {pid} {int(started_s) - 60}")  # an earlier process with the same id
    assert machine.process_exists(f"elsewhere {pid} {started_s}")
    assert not machine.process_exists("")
    assert not machine.process_exists(host)


@pytest.mark.skipif(sys.platform != "linux", reason="replaces the clock that psutil reads on Linux")
@pytest.mark.parametrize("step_s", [-86400, 3600])
def test_a_process_is_identified_after_the_clock_was_set(monkeypatch, step_s):
    name, started_s = machine.process_identity(), psutil.Process().create_time()
    boot_s = psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot_s + step_s)
    assert psutil.Process().create_time() == pytest.approx(started_s + step_s)
    assert machine.process_exists(name)
    assert machine.process_identity() == name


def open_a_thousand(path):
    with ExitStack() as opened:
        for _ in range(1000):
            opened.enter_context(path.open())


def test_raise_open_file_limit(tmp_path):
    path = tmp_path / "file"
    path.touch()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert before[1] < 0 or before[1] > 2000
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, before[1]))
        with pytest.raises(OSError, match="Too many open files"):
            open_a_thousand(path)
        machine.raise_open_file_limit(1000)
        open_a_thousand(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
