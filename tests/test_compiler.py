"""Compilation of generated C, and its cache."""

import shutil
import subprocess
import sys

import pytest

from cardioemu.common.errors import UserError
from cardioemu.simulation.solvers.rodas import compiler

ANSWER = "#ifndef VALUE\n#define VALUE 42\n#endif\nint answer(void) { return VALUE; }\n"


@pytest.fixture(autouse=True)
def new_process(monkeypatch):
    """No library is loaded yet."""
    monkeypatch.setattr(compiler, "_loaded", {})


def load_anew(source):
    """Load a library as a new process would."""
    compiler._loaded.clear()
    return compiler.load(source)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setattr(compiler.platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    return tmp_path / "cardioemu" / "kernels"


@pytest.fixture
def runs(monkeypatch):
    """The compilations during the test."""
    calls, compile_ = [], compiler._compile
    monkeypatch.setattr(compiler, "_compile", lambda *a: calls.append(a) or compile_(*a))
    return calls


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_compiles_once(cache, runs):
    assert [load(ANSWER).answer() for load in (compiler.load, compiler.load, load_anew)] == [42, 42, 42]
    assert len(runs) == 1
    assert [p.suffix for p in cache.iterdir()] == [".so"]
    # Another source is another library.
    assert compiler.load(ANSWER.replace("42", "43")).answer() == 43
    assert len(runs) == len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("change", ["FLAGS", "_version", "_cpu"])
def test_flags_compiler_and_cpu_are_part_of_the_key(cache, runs, monkeypatch, change):
    compiler.load(ANSWER)
    other = (*compiler.FLAGS, "-O1") if change == "FLAGS" else lambda *_: "another"
    monkeypatch.setattr(compiler, change, other)
    compiler.load(ANSWER)
    assert len(runs) == 2


def test_several_processes_at_once(cache):
    code = "import sys; from cardioemu.simulation.solvers.rodas import compiler; "
    code += "compiler.platformdirs.user_cache_dir = lambda name: sys.argv[1]; sys.stdin.read(1); "
    code += "print(compiler.load(sys.argv[2]).answer())"
    command = [sys.executable, "-c", code, str(cache.parent), ANSWER]
    all_four = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in all_four:
        process.stdin.write("go")
        process.stdin.flush()
    assert [process.communicate()[0].strip() for process in all_four] == ["42"] * 4
    assert [p.suffix for p in cache.iterdir()] == [".so"]


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:4000] + bytes(len(b) - 4000)]
)
def test_torn_library_is_built_again(cache, runs, damage):
    """Loading an incomplete library would end the process with a bus error."""
    compiler.load(ANSWER)
    (library,) = cache.iterdir()
    content = library.read_bytes()
    library.unlink()  # the library in use by this process stays intact
    library.write_bytes(damage(content))
    assert load_anew(ANSWER).answer() == 42
    assert len(runs) == 2
    load_anew(ANSWER)
    assert len(runs) == 2


def test_no_compiler(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(UserError, match=r"needs a C compiler.*apt-get install gcc libc6-dev.*dnf.*xcode.*solver=scipy"):
        compiler.load(ANSWER)


def test_cc_with_options_is_honoured(cache, runs, monkeypatch, tmp_path):
    wrapper = script(tmp_path / "my cc", f'touch "{tmp_path}/used"; exec {shutil.which("cc")} "$@"')
    monkeypatch.setenv("CC", f"'{wrapper}' -DVALUE=7")
    assert compiler.load(ANSWER).answer() == 7
    assert (tmp_path / "used").exists()
    monkeypatch.delenv("CC")
    assert compiler.load(ANSWER).answer() == 42
    assert len(runs) == 2


def test_options_in_cc_override_ours(cache, monkeypatch):
    source = "#ifdef __OPTIMIZE__\nint answer(void) { return 2; }\n#else\nint answer(void) { return 0; }\n#endif\n"
    assert compiler.load(source).answer() == 2
    monkeypatch.setenv("CC", "cc -O0")
    assert compiler.load(source).answer() == 0


@pytest.mark.parametrize(("cc", "answer"), [("env cc -DVALUE=7", 7), ("no-such-compiler", 42)])
def test_cc_with_a_launcher_or_that_does_not_exist(cache, monkeypatch, cc, answer):
    monkeypatch.setenv("CC", cc)
    assert compiler.load(ANSWER).answer() == answer


def test_read_only_home(runs, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder: not even root can create files below it")
    monkeypatch.setattr(compiler.platformdirs, "user_cache_dir", lambda name: str(tmp_path / "file" / name))
    source = ANSWER.replace("42", "44")
    assert [compiler.load(source).answer() for _ in range(3)] == [44, 44, 44]
    assert len(runs) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_source_that_does_not_compile(cache):
    sentence = r"^solver: 'rodas' cannot be compiled by \S+ \(.*error.*\); install the headers"
    with pytest.raises(UserError, match=sentence):
        compiler.load("int answer(void) { return }")
    assert list(cache.glob("*")) == []
