"""Compiles generated C into a shared library, once per content."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import platformdirs

from cardioemu.errors import UserError

# No -ffast-math: the step control relies on NaN. Contraction to fused multiply-adds is the one liberty taken.
FLAGS = ("-O2", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")


def load(source: str) -> ctypes.CDLL:
    """Loads the library compiled from `source`, from the user's cache folder where it was compiled before.

    The cache key is the source, the flags, the compiler's version and the CPU, so no stale or foreign code is loaded.

    Raises:
        UserError: there is no C compiler on PATH.
        RuntimeError: the compiler rejects the source.
    """
    compiler = find_compiler()
    key = "\n".join((source, *FLAGS, _version(compiler), _cpu()))
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    folder = Path(platformdirs.user_cache_dir("cardioemu")) / "kernels"
    library = folder / f"{name}.so"
    if not library.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:  # a read-only home: compile for this process only
            library = Path(tempfile.mkdtemp(prefix="cardioemu-")) / library.name
        _compile(compiler, source, library)
    return ctypes.CDLL(str(library))


def find_compiler() -> str:
    """Returns the path of the first C compiler found: $CC, cc, gcc, clang."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and (path := shutil.which(name)):
            return path
    raise UserError(
        "solver 'rodas' needs a C compiler and found none of $CC, cc, gcc, clang on PATH; install one "
        "(Debian, Ubuntu: apt-get install gcc libc6-dev; Fedora: dnf install gcc; macOS: xcode-select --install) "
        "or use solver=scipy, which is slower by a factor of hundreds"
    )


def _compile(compiler: str, source: str, library: Path) -> None:
    # Written under another name and renamed, so that several processes may build the same kernel at once.
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        code, built = Path(folder) / "kernel.c", Path(folder) / "kernel.so"
        code.write_text(source, encoding="utf-8")
        command = [compiler, *FLAGS, str(code), "-o", str(built), "-lm"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"the generated solver does not compile ({' '.join(command)}):\n{result.stderr[:4000]}")
        built.replace(library)


@cache
def _version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout


@cache
def _cpu() -> str:
    """What -march=native depends on: the architecture and the instruction sets, as far as the system tells them."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else [platform.processor()]
    return platform.machine() + "".join(
        sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    )
