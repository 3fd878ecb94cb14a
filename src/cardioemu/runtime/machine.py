"""What this machine has for this process: cores, memory, room on its disks."""

import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path

import psutil

GROUPS_OF_PROCESS, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
SPARE_FILES = 256  # for what else will be opened


def available_cores() -> int:
    """Returns how many CPU cores this process may use: all it sees, or OMP_NUM_THREADS where that is less.

    By that variable whoever starts several processes beside each other shares the cores out among them.
    """
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return min(seen, int(allowed)) if allowed.isdigit() and int(allowed) > 0 else seen


def rank() -> int:
    """Returns the number of this process among those that train one network together; 0 where it is alone.

    Lightning, torchrun and SLURM say it by these names, from the start of a process on.
    """
    return next((int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if name in os.environ), 0)


def process_identity() -> str:
    """Names this process so that it can be told from any other: its machine, its number, when it began."""
    return f"{socket.gethostname()} {os.getpid()} {_began_s(psutil.Process()):.0f}"


def process_exists(process: str) -> bool:
    """Returns whether a process with a name of `this_process` runs; one on another machine is taken to."""
    host, _, rest = process.partition(" ")
    if host != socket.gethostname():
        return bool(host)
    try:
        pid, began_s = (int(part) for part in rest.split())
        return abs(_began_s(psutil.Process(pid)) - began_s) < 2
    except (ValueError, psutil.Error):
        return False


def _began_s(process: psutil.Process) -> float:
    """Seconds from the start of the machine to that of a process: no clock that is set changes them."""
    return process.create_time() - psutil.boot_time()


def free_memory() -> int:
    """Returns the bytes of memory that this process may still take: of the machine, or of a control group's limit.

    What the system could drop, pages of files, counts as free.
    """
    return min([int(psutil.virtual_memory().available), *_left_in_groups()])


def private_memory() -> int:
    """Returns the bytes of memory that this process has for itself: what no file could give back."""
    memory = psutil.Process().memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))


def free_disk(folder: Path) -> int:
    """Returns the bytes that may still be written to the disk of a folder, which need not exist yet."""
    existing = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    return shutil.disk_usage(existing).free


def raise_open_file_limit(count: int) -> None:
    """Lets this process hold so many more files open, as far as the system allows; each mapped file is one."""
    with suppress(ImportError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = psutil.Process().num_fds() + count + SPARE_FILES
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard < 0 else min(wanted, hard), hard))


def format_bytes(size: float | int) -> str:
    """Writes a number of bytes in GB, with three digits that count."""
    gb = size / 1e9
    return f"{gb:.0f} GB" if gb >= 100 else f"{gb:.3g} GB"


def _left_in_groups() -> list[int]:
    """Reads what the memory limits of this process's control groups (Linux, version 1 and 2) leave."""
    left = []
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
        left += [_left(folder, *files) for folder in [group, *group.parents] if folder.is_relative_to(root)]
    return [size for size in left if size is not None]


def _left(folder: Path, limit: str, used: str, of_files: str) -> int | None:
    try:
        most, taken = (int((folder / name).read_text(encoding="utf-8")) for name in (limit, used))
        counts = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
        return max(most - taken + int(counts[of_files]), 0)
    except (OSError, KeyError, ValueError):  # no such file, or "max"
        return None
