"""The command `cardioemu`, from any folder, and as it is installed."""

import os
import runpy
import shutil
import socket
import subprocess
import sys
import zipfile
from importlib import import_module

import pytest
from tiny_job import JOBS, ROOT

import cardioemu
from cardioemu import __main__ as command
from cardioemu.jobs import JOBS as DESCRIBED


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command in this process; returns exit status, output and errors."""

    def run_command(*arguments):
        monkeypatch.setattr(sys, "argv", ["/somewhere/bin/cardioemu", *arguments])
        status = 0
        try:
            command.main()
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run_command


def test_every_job_is_described_and_has_a_config():
    assert DESCRIBED.keys() == JOBS.keys() == {path.stem for path in (ROOT / "conf").glob("*.yaml")}
    assert all(callable(import_module(f"cardioemu.jobs.{name}").main) for name in DESCRIBED)


def test_root_scripts_run_the_job_of_their_name(monkeypatch):
    jobs = []
    monkeypatch.setattr("cardioemu.__main__.run_job", jobs.append)
    for name in JOBS.keys() - {"ui"}:
        runpy.run_path(str(ROOT / f"{name}.py"), run_name="__main__")
        assert jobs.pop() == name


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_the_jobs(run, arguments):
    status, out, _ = run(*arguments)
    assert status == 0
    assert [line.split()[0] for line in out.partition("jobs:\n")[2].split("\n\n")[0].splitlines()] == list(DESCRIBED)


@pytest.mark.parametrize("arguments", [["--version"], ["train", "--version"]])
def test_version(run, arguments):
    assert run(*arguments) == (0, f"cardioemu {cardioemu.__version__}\n", "")


def test_an_unknown_job(run):
    assert run("trian") == (2, "", "cardioemu: got the job 'trian'; did you mean train?\n")
    allowed = "train, simulate, evaluate, tune, sync, ui"
    assert run("42") == (2, "", f"cardioemu: got the job '42'; it must be one of {allowed}\n")


def test_a_config_folder_of_the_users_own(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "design").mkdir(parents=True)
    own = "_target_: cardioemu.simulation.designs.sobol\n_partial_: true\nn: 7\nseed: 0\nlevels: null\nranges: null\n"
    (tmp_path / "mine" / "design" / "seven.yaml").write_text(own.replace("levels: null\n", ""))
    arguments = ["simulate", "design=seven", "dry_run=true"]
    status, out, errors = run(*arguments, "--config-dir", "mine")
    assert (status, "7 cells" in out) == (0, True), errors
    status, _, errors = run(*arguments)
    assert (status, errors.startswith("design: got 'seven'; it must be one of ")) == (2, True)
    status, _, errors = run("simulate", "design=sevn", "--config-dir=mine")
    assert (status, "seven" in errors) == (2, True)
    status, _, errors = run(*arguments, "--config-dir", "nowhere")
    assert (status, errors) == (2, "--config-dir: got nowhere, which is not a folder\n")
    (tmp_path / "mine" / "design" / "broken.yaml").write_text("n: [\n")
    status, _, errors = run("simulate", "design=broken", "--config-dir=mine")
    assert (status, errors.count("\n"), "broken.yaml" in errors) == (2, 1, True)
    status, _, errors = run("simulate", "design=broken", "--config-dir=mine", "--cfg", "job")
    assert (status, errors.count("\n"), "broken.yaml" in errors) == (2, 1, True)
    for line in ("design=seven --config-dir mine --cfg job", "--cfg job design=seven --config-dir=mine"):
        status, out, errors = run("simulate", *line.split())
        assert (status, "'n': 7\n" in out) == (0, True), errors
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_ui_without_runs_or_port(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, errors = run("ui")
    assert status == 2
    assert errors.startswith("database: got mlflow.db, which does not exist; run cardioemu train first")
    (tmp_path / "mlflow.db").write_text("runs")
    assert run("ui")[::2] == (
        2,
        "database: got mlflow.db, which is not an SQLite database; give the mlflow.db of your runs\n",
    )
    (tmp_path / "mlflow.db").write_bytes(b"")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = f"port: got {port}, which is in use; set another, as in port={port + 1}\n"
        assert run("ui", f"port={port}")[::2] == (2, sentence)
    assert run("ui", "port=70000")[::2] == (2, "port: got 70000; it must be less than or equal to 65535\n")


@pytest.mark.program
def test_the_package_as_it_is_installed(tmp_path):
    """A wheel holds conf/ and everything else that is no Python; it runs from an empty folder without the sources."""
    source = tmp_path / "source"
    made = shutil.ignore_patterns("*.egg-info", "__pycache__")
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=made)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", str(source), "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert f"cardioemu-{cardioemu.__version__}" in wheel.name
        inside = set(archive.namelist())
        wanted = {f"cardioemu/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")}
        for kind in ("*.py", "*.c", "*.h", "*.mmt", "*.html", "py.typed"):
            wanted |= {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob(kind)}
        assert wanted <= inside
        archive.extractall(tmp_path / "installed")
    (tmp_path / "empty").mkdir()
    program = [sys.executable, "-m", "cardioemu", "simulate", "design.levels=[0,1]", "dry_run=true"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    result = subprocess.run(program, cwd=tmp_path / "empty", env=environment, capture_output=True, text=True)
    assert (result.returncode, "cells" in result.stdout) == (0, True), result.stderr
