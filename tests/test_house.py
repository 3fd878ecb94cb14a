"""Who may import whom, how long a file may be, and that every setting is read (DESIGN, section 4)."""

import ast
import inspect
import re
import textwrap
import tomllib
from contextlib import suppress
from dataclasses import is_dataclass
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path
from pydoc import locate

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from tiny_job import JOBS, ROOT

SOURCE = ROOT / "src" / "cardioemu"
ENTRY_POINTS = [ROOT / name for name in ("train.py", "simulate.py", "evaluate.py", "tune.py", "sync.py")]
FILES = [*sorted(SOURCE.rglob("*.py")), *ENTRY_POINTS]

ANYONE = {"errors", "types", "tensors", "storage", "progress", "machine", "folders", "registration"}
# Each may import those named here, itself, and ANYONE.
MAY_IMPORT = {
    "errors": set(),
    "types": set(),
    "tensors": set(),
    "storage": set(),
    "progress": set(),
    "machine": set(),
    "folders": set(),
    "registration": set(),
    "traces": set(),
    "models": set(),
    "simulation": {"traces"},
    "windowing": {"simulation", "traces"},
    "data": {"windowing", "simulation", "traces"},
    "emulator": {"models", "simulation", "windowing"},
    "active": {"emulator", "simulation"},
    "evaluation": {"traces"},
    "tracking": {"emulator"},
    "training": {"data", "evaluation", "emulator", "models", "windowing"},
    "origin": {"data", "emulator", "simulation", "windowing"},
    "measuring": {"data", "emulator", "evaluation", "origin", "simulation", "training", "windowing"},
    "overrides": set(),
    "config": {"overrides"},
    "launch": {"config", "overrides"},
    "search": set(),
    "sweeps": {"evaluation", "overrides", "tracking"},
    "settings": {
        "active",
        "data",
        "emulator",
        "evaluation",
        "measuring",
        "models",
        "search",
        "simulation",
        "tracking",
        "training",
        "windowing",
    },
    "cardioemu": {"emulator", "tracking"},
}


def imports(path):
    """Dotted names of all that a file imports, functions' own imports included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def part_of(path):
    first = path.relative_to(SOURCE).parts[0]
    return "cardioemu" if first == "__init__.py" else first.removesuffix(".py")


def ours(path):
    """The parts of the package that a file imports."""
    names = [name.split(".") for name in imports(path)]
    found = {name[1] for name in names if name[0] == "cardioemu" and len(name) > 1}
    # `from cardioemu import Emulator` takes it from `emulator`.
    return {"emulator" if name in ("Emulator", "Prediction") else name for name in found} - {"UserError"}


def third_party(path):
    return {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_length(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250


def test_import_direction():
    for path in SOURCE.rglob("*.py"):
        part = part_of(path)
        wrong = ours(path) - {part} - MAY_IMPORT[part] - ANYONE
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def test_no_circle():
    order = list(MAY_IMPORT)
    for part, allowed in MAY_IMPORT.items():
        assert all(order.index(other) < order.index(part) for other in allowed), part


def test_models_know_nothing_of_ours_but_types():
    for path in (SOURCE / "models").glob("*.py"):
        assert ours(path) <= {"models", "registration", "tensors", "types"}, path


def users(*packages):
    return {path for path in FILES if third_party(path) & set(packages)}


def test_only_tracking_knows_mlflow():
    assert {path.parent for path in users("mlflow", "sqlalchemy")} == {SOURCE / "tracking"}


def test_only_the_command_line_knows_hydra():
    allowed = {SOURCE / f"{name}.py" for name in ("config", "overrides", "launch")}
    assert users("hydra", "omegaconf") == allowed | set(ENTRY_POINTS)


def test_only_one_package_of_each_concern():
    assert {part_of(path) for path in users("myokit")} == {"simulation"}
    assert {part_of(path) for path in users("pyarrow")} == {"simulation"}
    assert {part_of(path) for path in users("matplotlib") if path not in ENTRY_POINTS} == {
        "evaluation",
        "measuring",
        "tracking",
        "training",
    }
    assert {part_of(path) for path in users("sklearn", "jinja2")} == {"evaluation"}
    assert not users("lightning")  # a second copy of pytorch_lightning


def calls(path, name):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [f for f in functions if (f.attr if isinstance(f, ast.Attribute) else getattr(f, "id", "")) == name]


def test_only_config_instantiates():
    assert [path.name for path in FILES if calls(path, "instantiate")] == ["config.py"]


def test_every_folder_is_a_package():
    for folder in {path.parent for path in SOURCE.rglob("*.py")}:
        assert (folder / "__init__.py").exists(), Path(folder)


def settings():
    """Each class or function that a config names, with the settings that it gives it; the top of a config is one."""
    for path in sorted((ROOT / "conf").rglob("*.yaml")):
        config = yaml.safe_load(path.read_text())
        if path.parent.name == "conf":
            yield JOBS[path.stem], config.keys() - {"defaults"}
        for node in [config, *(value for value in config.values() if isinstance(value, dict))]:
            if "_target_" in node and node["_target_"].startswith("cardioemu."):
                yield locate(node["_target_"]), {key for key in node if not key.startswith("_")}


def read_in(tree):
    """All names and attributes that are read somewhere in a piece of code."""
    read = [node for node in ast.walk(tree) if isinstance(getattr(node, "ctx", None), ast.Load)]
    return {getattr(node, "id", None) or getattr(node, "attr", None) for node in read}


def test_no_setting_that_nothing_reads():
    everywhere = set().union(*(read_in(ast.parse(path.read_text(encoding="utf-8"))) for path in FILES))
    found = set()
    for owner, keys in settings():
        fields = is_dataclass(owner)  # which are read by those who have one
        own = everywhere if fields else read_in(ast.parse(textwrap.dedent(inspect.getsource(owner))))
        assert keys <= own, f"{owner.__name__}: nothing reads {', '.join(sorted(keys - own))}"
        found |= keys
    assert {"hidden", "max_epochs", "offset_ms", "rtol", "levels", "milestones"} <= found


def test_every_package_runs_on_the_oldest_python():
    """Debian's own has a small last number, which what was tested here may not have."""
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    pinned = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert len(pinned) > 100
    wanted = {name: metadata(name).get("Requires-Python") or "" for name, _ in pinned if installed(name)}
    assert [name for name, said in wanted.items() if not SpecifierSet(said).contains(f"{oldest}.0")] == []


def installed(name):
    with suppress(PackageNotFoundError):
        return version(name)
