"""Resources of this machine available to this process: cores, memory, disk space."""

import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path

import psutil

GROUPS_OF_PROCESS, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
SPARE_FILES = 256  # headroom for files opened by others


def available_cores() -> int:
    """Return the number of CPU cores this process may use: its affinity, limited by OMP_NUM_THREADS.

    Launchers of several processes per machine divide its cores among them through that variable.
    """
    visible = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(visible, int(limit)) if limit.isdigit() and int(limit) > 0 else visible


def rank() -> int:
    """Return the rank of this process among those that train one network together, 0 for a single process.

    Source: the environment variables that Lightning, torchrun and SLURM set for each process they start.
    """
    return next((int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if name in os.environ), 0)


def process_identity() -> str:
    """Return a name of this process that no other has: host, process id and start time."""
    return f"{socket.gethostname()} {os.getpid()} {_started_s(psutil.Process()):.0f}"


def process_exists(process: str) -> bool:
    """Return whether the process named by `process_identity` is running; one on another host is assumed to be."""
    host, _, rest = process.partition(" ")
    if host != socket.gethostname():
        return bool(host)
    try:
        pid, started_s = map(int, rest.split())
        return abs(_started_s(psutil.Process(pid)) - started_s) < 2
    except (ValueError, psutil.Error):
        return False


def _started_s(process: psutil.Process) -> float:
    """Return the seconds from boot to the start of a process, which setting the clock does not change."""
    return process.create_time() - psutil.boot_time()


def free_memory() -> int:
    """Return the bytes this process can still allocate, within the memory of the host and its control groups.

    File caches count as free: the system drops them on demand.
    """
    return min([int(psutil.virtual_memory().available), *_free_in_groups()])


def private_memory() -> int:
    """Return the bytes of resident memory of this process that no file backs."""
    memory = psutil.Process().memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))


def free_disk(folder: Path) -> int:
    """Return the free bytes on the disk of a folder, which need not exist yet."""
    existing = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    return shutil.disk_usage(existing).free


def raise_open_file_limit(count: int) -> None:
    """Allow this process to open `count` more files, up to the hard limit; each mapped file counts as open."""
    with suppress(ImportError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = psutil.Process().num_fds() + count + SPARE_FILES
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))


def format_bytes(size: float | int) -> str:
    """Format a number of bytes in GB, with three significant digits."""
    gb = size / 1e9
    return f"{gb:.0f} GB" if gb >= 100 else f"{gb:.3g} GB"


def _free_in_groups() -> list[int]:
    """Return the free bytes under each memory limit of this process's control groups (Linux, versions 1 and 2)."""
    free = []
    lines = GROUPS_OF_PROCESS.read_text(encoding="utf-8").splitlines() if GROUPS_OF_PROCESS.exists() else []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            root, files = GROUPS, ("memory.max", "memory.current", "file")
        elif "memory" in controllers.split(","):
            root, files = GROUPS / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache")
        else:
            continue
        group = root / name.lstrip("/")
        free += [_free_in_group(folder, *files) for folder in [group, *group.parents] if folder.is_relative_to(root)]
    return [size for size in free if size is not None]


def _free_in_group(folder: Path, limit_file: str, usage_file: str, cache_entry: str) -> int | None:
    try:
        limit, usage = (int((folder / name).read_text(encoding="utf-8")) for name in (limit_file, usage_file))
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
        return max(limit - usage + int(statistics[cache_entry]), 0)
    except (OSError, KeyError, ValueError):  # no such file, or "max"
        return None
