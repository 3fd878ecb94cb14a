"""Compiles generated C into a shared library, once per content."""

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

# What -march=native is on x86, other architectures call -mcpu=native.
NATIVE = "-march=native" if platform.machine().lower() in ("x86_64", "amd64", "i686") else "-mcpu=native"
# No -ffast-math: the step control relies on NaN. Two liberties are taken, which leave NaN alone: contraction to fused
# multiply-adds, and one reciprocal for several divisions by the same number.
ARITHMETIC = ("-ffp-contract=fast", "-freciprocal-math", "-fno-math-errno", "-fno-trapping-math")
FLAGS = ("-O2", NATIVE, *ARITHMETIC, "-shared", "-fPIC")
_loaded: dict[str, ctypes.CDLL] = {}


def load(source: str) -> ctypes.CDLL:
    """Loads the library compiled from `source`, from the user's cache folder where it was compiled before.

    The cache key is the source, the flags, the compiler's version and the CPU, so no stale or foreign code is loaded.

    Raises:
        UserError: there is no C compiler on PATH, or it does not compile.
    """
    compiler = find_compiler()
    key = _digest("\n".join((source, *compiler[1:], *FLAGS, _version(compiler), _cpu())).encode())
    if key not in _loaded:
        folder = Path(platformdirs.user_cache_dir("cardioemu")) / "kernels"
        _loaded[key] = _find(folder, key) or _build(compiler, source, folder, key)
    return _loaded[key]


def find_compiler() -> tuple[str, ...]:
    """Returns the command of the first C compiler found: $CC with its options, which win over ours, cc, gcc, clang."""
    for command in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        words = shlex.split(command)
        if words and (path := shutil.which(words[0])):
            return path, *words[1:]
    raise UserError(
        "solver 'rodas' needs a C compiler and found none of $CC, cc, gcc, clang on PATH; install one "
        "(Debian, Ubuntu: apt-get install gcc libc6-dev; Fedora: dnf install gcc; macOS: xcode-select --install) "
        "or use solver=scipy, which is slower by a factor of hundreds"
    )


def _find(folder: Path, key: str) -> ctypes.CDLL | None:
    # The name tells the content: to load a library torn by the disk would end the process with a bus error.
    with suppress(OSError):
        for library in folder.glob(f"{key}-*.so"):
            if library.name == f"{key}-{_digest(library.read_bytes())}.so":
                return ctypes.CDLL(str(library))
    return None


def _build(compiler: tuple[str, ...], source: str, folder: Path, key: str) -> ctypes.CDLL:
    built = _compile(compiler, source)
    name = f"{key}-{_digest(built)}.so"
    try:
        with atomic_write(folder / name) as temporary:  # several processes may build the same kernel at once
            temporary.write_bytes(built)
        return ctypes.CDLL(str(folder / name))
    except OSError:  # a read-only home, or one from which no code may be run; once loaded, the file may go
        with _temporary_folder() as own:
            (Path(own) / name).write_bytes(built)
            return ctypes.CDLL(str(Path(own) / name))


def _compile(compiler: tuple[str, ...], source: str) -> bytes:
    with _temporary_folder() as folder:
        code, built = Path(folder) / "kernel.c", Path(folder) / "kernel.so"
        code.write_text(source, encoding="utf-8")
        program = tuple(takewhile(lambda word: not word.startswith("-"), compiler))  # "ccache gcc" is two words
        options = compiler[len(program) :]
        command = [*program, *FLAGS, *options, str(code), "-o", str(built), "-lm"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            said = [line for line in result.stderr.splitlines() if "error" in line.lower()] or [result.stderr.strip()]
            raise UserError(
                f"solver 'rodas': {' '.join(program)} does not compile it ({said[0]}); it needs the headers of the C "
                "library (Debian, Ubuntu: apt-get install libc6-dev) and room in the temporary folder; or use "
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
            f"solver 'rodas' cannot be compiled in {tempfile.gettempdir()} ({error.strerror or error}); make room "
            "there, or set TMPDIR to another folder"
        ) from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


@cache
def _version(compiler: tuple[str, ...]) -> str:
    asked = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise UserError(f"solver 'rodas': {shlex.join(compiler)} is no C compiler that works; set CC to one that does")
    return asked.stdout


@cache
def _cpu() -> str:
    """What -march=native depends on: the architecture and the instruction sets, as far as the system tells them."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else [platform.processor()]
    return platform.machine() + "".join(
        sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    )
