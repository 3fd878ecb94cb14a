"""Compilation of generated C into a shared library, cached by content."""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import takewhile
from pathlib import Path

import platformdirs

from cardioemu.common.errors import UserError
from cardioemu.runtime.files import atomic_write

# -march=native of x86 is called -mcpu=native on other architectures.
NATIVE = "-march=native" if platform.machine().lower() in ("x86_64", "amd64", "i686") else "-mcpu=native"
# No -ffast-math: the step control relies on NaN (docs/decisions/0001). Two optimisations that do not affect NaN are
# allowed: contraction to fused multiply-adds, and one reciprocal for several divisions by the same number.
ARITHMETIC = ("-ffp-contract=fast", "-freciprocal-math", "-fno-math-errno", "-fno-trapping-math")
FLAGS = ("-O2", NATIVE, *ARITHMETIC, "-shared", "-fPIC")
_loaded: dict[str, ctypes.CDLL] = {}


def load(source: str) -> ctypes.CDLL:
    """Load the library compiled from `source`; compile it unless the user's cache folder contains it.

    The cache key covers source, flags, compiler version and CPU, so no stale or foreign code is loaded.

    Raises:
        UserError: there is no C compiler on PATH, or it fails.
    """
    compiler = find_compiler()
    key = _digest("\n".join((source, *compiler[1:], *FLAGS, _version(compiler), _cpu())).encode())
    if key not in _loaded:
        folder = Path(platformdirs.user_cache_dir("cardioemu")) / "kernels"
        _loaded[key] = _find(folder, key) or _build(compiler, source, folder, key)
    return _loaded[key]


def find_compiler() -> tuple[str, ...]:
    """Return the command of the first C compiler on PATH: $CC with its options, which override ours, cc, gcc, clang."""
    for command in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        words = shlex.split(command)
        if words and (path := shutil.which(words[0])):
            return path, *words[1:]
    raise UserError(
        "solver: 'rodas' needs a C compiler, but PATH has none of $CC, cc, gcc, clang; install one "
        "(Debian, Ubuntu: apt-get install gcc libc6-dev; Fedora: dnf install gcc; macOS: xcode-select --install) "
        "or use solver=scipy, which is hundreds of times slower"
    )


def _find(folder: Path, key: str) -> ctypes.CDLL | None:
    # The name contains a checksum: loading an incomplete library ends the process with a bus error.
    with suppress(OSError):
        for library in folder.glob(f"{key}-*.so"):
            if library.name == f"{key}-{_digest(library.read_bytes())}.so":
                return ctypes.CDLL(str(library))
    return None


def _build(compiler: tuple[str, ...], source: str, folder: Path, key: str) -> ctypes.CDLL:
    built = _compile(compiler, source)
    name = f"{key}-{_digest(built)}.so"
    try:
        with atomic_write(folder / name) as temporary:  # several processes may build the same kernel
            temporary.write_bytes(built)
        return ctypes.CDLL(str(folder / name))
    except OSError:  # the home is read-only or mounted noexec; a loaded library does not need its file
        with _temporary_folder() as fallback:
            (Path(fallback) / name).write_bytes(built)
            return ctypes.CDLL(str(Path(fallback) / name))


def _compile(compiler: tuple[str, ...], source: str) -> bytes:
    with _temporary_folder() as folder:
        code, built = Path(folder) / "kernel.c", Path(folder) / "kernel.so"
        code.write_text(source, encoding="utf-8")
        program = tuple(takewhile(lambda word: not word.startswith("-"), compiler))  # "ccache gcc" is two words
        options = compiler[len(program) :]
        command = [*program, *FLAGS, *options, str(code), "-o", str(built), "-lm"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            errors = [line for line in result.stderr.splitlines() if "error" in line.lower()] or [result.stderr.strip()]
            raise UserError(
                f"solver: 'rodas' cannot be compiled by {' '.join(program)} ({errors[0]}); install the headers of the "
                "C library (Debian, Ubuntu: apt-get install libc6-dev), free space in the temporary folder, or use "
                "solver=scipy"
            )
        return built.read_bytes()


@contextmanager
def _temporary_folder() -> Iterator[str]:
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield folder
    except OSError as error:
        raise UserError(
            f"solver: 'rodas' cannot be compiled in {tempfile.gettempdir()} ({error.strerror or error}); free space "
            "there, or set TMPDIR to another folder"
        ) from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


@cache
def _version(compiler: tuple[str, ...]) -> str:
    result = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False)
    if result.returncode:
        raise UserError(f"solver: 'rodas' got the C compiler {shlex.join(compiler)}, which fails; set CC to another")
    return result.stdout


@cache
def _cpu() -> str:
    """Return what -march=native depends on: the architecture and the instruction sets reported by the system."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else [platform.processor()]
    return platform.machine() + "".join(
        sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    )
