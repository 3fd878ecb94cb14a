"""Who may import whom, how long a file may be, and that every setting is read."""

import ast
import inspect
import re
import textwrap
import tomllib
from contextlib import suppress
from dataclasses import is_dataclass
from importlib.metadata import PackageNotFoundError, metadata, version
from pydoc import locate

import yaml
from packaging.specifiers import SpecifierSet
from tiny_job import JOBS, ROOT

SOURCE = ROOT / "src" / "cardioemu"
ENTRY_POINTS = sorted(ROOT.glob("*.py"))
FILES = [*sorted(SOURCE.rglob("*.py")), *ENTRY_POINTS]

# Room -> the rooms that it may import, besides itself: each only rooms above it in this table.
MAY_IMPORT = {
    "common": "",
    "models": "common",
    "runtime": "common",
    "traces": "common",
    "config": "common runtime",
    "evaluation": "common traces",
    "simulation": "common runtime traces",
    "windowing": "common runtime simulation traces",
    "data": "common runtime simulation windowing",
    "emulator": "common models simulation windowing",
    "tracking": "common emulator runtime",
    "training": "common data emulator evaluation models runtime simulation windowing",
    "comparison": "common data emulator evaluation models runtime simulation training windowing",
    "sweeps": "common config evaluation runtime tracking",
    "settings": "common comparison data emulator models simulation sweeps tracking training windowing",
    "__init__": "common emulator tracking",
    "jobs": "common comparison config data emulator evaluation models runtime settings simulation sweeps tracking "
    "training windowing __init__",
    "__main__": "common jobs __init__",
}
# Package -> the rooms that may import it.
USERS = {
    "hydra omegaconf": {"config", "jobs"},
    "jinja2": {"evaluation"},
    "lightning": set(),  # a second copy of pytorch_lightning
    "matplotlib": {"comparison", "evaluation", "jobs", "tracking", "training"},
    "mlflow sqlalchemy": {"tracking"},
    "myokit pyarrow": {"simulation"},
    "optuna": {"jobs", "sweeps"},
    "sklearn": {"comparison", "evaluation"},
}


def imports(path):
    """Dotted names of all that a file imports, functions' own imports included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path):
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path):
    """The rooms of the package that a file imports; what is no room comes from the package's own `__init__`."""
    names = [f"{name}.".split(".")[1] for name in imports(path) if name.split(".")[0] == "cardioemu"]
    return {name if name in MAY_IMPORT else "__init__" for name in names}


def third_party(path):
    return {name.split(".")[0] for name in imports(path)}


def test_length():
    lengths = {path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path: length for path, length in lengths.items() if length > 250} == {}


def test_everything_is_in_a_room():
    assert {room_of(path) for path in SOURCE.rglob("*.py")} == set(MAY_IMPORT)
    assert {path.stem for path in SOURCE.glob("*.py")} == {"__init__", "__main__"}
    for folder in {path.parent for path in SOURCE.rglob("*.py")}:
        assert (folder / "__init__.py").exists(), folder


def test_import_direction():
    for path in SOURCE.rglob("*.py"):
        room = room_of(path)
        wrong = imported_rooms(path) - {room} - set(MAY_IMPORT[room].split())
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def test_no_circle():
    order = list(MAY_IMPORT)
    for room, allowed in MAY_IMPORT.items():
        assert set(allowed.split()) <= set(order[: order.index(room)]), room


def test_models_need_only_shapes_and_times():
    for path in (SOURCE / "models").rglob("*.py"):
        ours = {".".join(name.split(".")[:3]) for name in imports(path) if name.startswith("cardioemu.")}
        allowed = {f"cardioemu.common.{name}" for name in ("arrays", "registration", "tensors")}
        assert {name for name in ours if not name.startswith("cardioemu.models")} <= allowed, path


def test_each_package_has_its_rooms():
    for packages, rooms in USERS.items():
        users = {room_of(path) for path in SOURCE.rglob("*.py") if third_party(path) & set(packages.split())}
        assert users == rooms, packages


def test_root_programs_only_start_jobs():
    for path in ENTRY_POINTS:
        assert list(imports(path)) == ["cardioemu.__main__.run_job"], path


def calls(path, name):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [f for f in functions if (f.attr if isinstance(f, ast.Attribute) else getattr(f, "id", "")) == name]


def test_only_config_instantiates():
    assert [path for path in FILES if calls(path, "instantiate")] == [SOURCE / "config" / "build.py"]


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
    assert [name for name, versions in wanted.items() if not SpecifierSet(versions).contains(f"{oldest}.0")] == []


def installed(name):
    with suppress(PackageNotFoundError):
        return version(name)
