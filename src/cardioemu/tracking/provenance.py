"""Where a run comes from: command, code, packages, machine."""

import getpass
import hashlib
import platform
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil

from cardioemu.runtime.files import content_key
from cardioemu.runtime.machine import available_cores, process_identity

HOST, PROCESS = "process.host", "process"  # tags
PACKAGE = Path(__file__).parent.parent
# Settings that change where a job runs and what it may use, not its results.
NOT_IN_KEY = ("tracking", "campaign", "data_dir", "runs_dir", "resume", "memory_check", "dry_run")


def command() -> str:
    """Return the command line of this process, quoted for a shell."""
    program, *arguments = sys.argv
    words = program.split(" ") if program.startswith("cardioemu ") else ["python", program]
    return shlex.join([*words, *arguments])


@cache
def code_digest() -> str:
    """Return the hash of the package's sources."""
    digest = hashlib.sha256()
    for path in sorted(p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".c", ".h", ".mmt")):
        digest.update(f"{path.relative_to(PACKAGE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def job_key(config: Mapping[str, Any], **contents: object) -> str:
    """Return the hash of everything that determines the results of a job, the package's sources included.

    Args:
        config: resolved.
        contents: of the files that the config names.
    """
    determining = {key: value for key, value in config.items() if key not in NOT_IN_KEY}
    return content_key("job", config=determining, code=code_digest(), **contents)


@cache
def git_state() -> tuple[dict[str, str], str]:
    """Return tags with the commit of this code and whether its work tree differs from it, and the diff.

    Outside a repository all are empty.
    """
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return {}, ""
    diff = _git("diff", "HEAD")
    untracked = _git("ls-files", "--others", "--exclude-standard", ":/")
    changed = str(bool(diff or untracked)).lower()
    # The user interface shows the first of these.
    return {"mlflow.source.git.commit": commit, "git.commit": commit, "git.changed": changed}, diff


def _git(*arguments: str) -> str:
    try:
        command = ["git", "-C", str(PACKAGE), *arguments]
        result = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def machine() -> dict[str, str]:
    """Return tags of the machine, the user, the interpreter and this process."""
    return {
        "mlflow.source.name": Path(sys.argv[0]).name,
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
        "machine.system": f"{platform.system()} {platform.machine()}",
        "machine.cores": str(psutil.cpu_count()),
        "machine.threads": str(available_cores()),
        "machine.memory_GiB": f"{psutil.virtual_memory().total / 2**30:.0f}",
        "python": sys.version.split()[0],
        HOST: socket.gethostname(),
        PROCESS: process_identity(),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the machine does not know the user
        return ""


def packages() -> str:
    """Return the installed packages, one `name==version` per line."""
    return "\n".join(sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()}, key=str.lower))
