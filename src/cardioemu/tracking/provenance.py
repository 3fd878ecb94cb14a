"""Where a run comes from: code, packages, machine."""

import platform
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import psutil


def git_state() -> tuple[dict[str, str], str]:
    """Returns tags with the commit of this code and whether its tree is changed, and the diff.

    All are empty where the code does not lie in a repository.
    """
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return {}, ""
    diff = _git("diff", "HEAD")
    untracked = _git("ls-files", "--others", "--exclude-standard", ":/")
    return {"git.commit": commit, "git.changed": str(bool(diff or untracked)).lower()}, diff


def _git(*arguments: str) -> str:
    try:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def machine() -> dict[str, str]:
    """Returns tags of the machine and the interpreter."""
    return {
        "machine.system": f"{platform.system()} {platform.machine()}",
        "machine.cores": str(psutil.cpu_count()),
        "machine.memory_GiB": f"{psutil.virtual_memory().total / 2**30:.0f}",
        "python": sys.version.split()[0],
    }


def packages() -> str:
    """Returns the installed packages, one `name==version` a line."""
    return "\n".join(sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()}, key=str.lower))
