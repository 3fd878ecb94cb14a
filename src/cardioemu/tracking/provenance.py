"""Where a run comes from: command, code, packages, machine."""

import getpass
import hashlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil

from cardioemu.runtime.files import content_key
from cardioemu.runtime.machine import available_cores

PACKAGE = Path(__file__).parent.parent
# Where a job runs and what it may take change nothing of what comes out.
NOT_IN_KEY = ("tracking", "campaign", "data_dir", "runs_dir", "resume", "memory_check", "dry_run")


def command() -> str:
    """Return the command line of this process, quoted for a shell."""
    program, *arguments = sys.argv
    words = program.split(" ") if program.startswith("cardioemu ") else ["python", program]
    return shlex.join([*words, *arguments])


@cache
def code_digest() -> str:
    """Returns the hash of the package's sources."""
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
    """Returns tags with the commit of this code and whether its tree is changed, and the diff.

    All are empty where the code does not lie in a repository.
    """
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return {}, ""
    diff = _git("diff", "HEAD")
    untracked = _git("ls-files", "--others", "--exclude-standard", ":/")
    changed = str(bool(diff or untracked)).lower()
    # By the first of these names the UI knows it, too.
    return {"mlflow.source.git.commit": commit, "git.commit": commit, "git.changed": changed}, diff


def _git(*arguments: str) -> str:
    try:
        command = ["git", "-C", str(PACKAGE), *arguments]
        result = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def machine() -> dict[str, str]:
    """Returns tags of the machine, the user and the interpreter."""
    return {
        "mlflow.source.name": Path(sys.argv[0]).name,
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
        "machine.system": f"{platform.system()} {platform.machine()}",
        "machine.cores": str(psutil.cpu_count()),
        "machine.threads": str(available_cores()),
        "machine.memory_GiB": f"{psutil.virtual_memory().total / 2**30:.0f}",
        "python": sys.version.split()[0],
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user that the machine does not know
        return ""


def packages() -> str:
    """Returns the installed packages, one `name==version` a line."""
    return "\n".join(sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()}, key=str.lower))
