"""Files from strangers cannot run code, and nothing reads a pickle that a stranger could have written."""

import ast
import pickle
import re
from collections import Counter
from contextlib import suppress
from itertools import product

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from small_campaign import run
from small_cells import SOUND, skip_without_cvodes
from test_checkpoints import Bomb
from test_house import FILES, SOURCE, calls, third_party

from cardioemu.common.errors import UserError
from cardioemu.simulation import TraceStore, design, load_cell, simulate
from cardioemu.simulation.solvers.rodas.solve import generate

# Each would leave a file `marker` in the current folder if it became C, Python or shell.
ATTACKS = (
    '*/ __attribute__((constructor)) void f(void) {{ fclose(fopen("{marker}", "w")); }} /*',
    "'; open('{marker}', 'w'); '",
    '__import__("pathlib").Path("{marker}").touch()',
    "$(touch {marker})",
    "`touch {marker}`",
    "<?open('{marker}', 'w')?>",
    "; touch {marker} #",
)


@pytest.fixture
def marker(tmp_path):
    """What must not be made."""
    path = tmp_path / "marker"
    yield path
    assert not path.exists()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "sound.mmt"
    path.write_text(SOUND)
    return load_cell(path)


# CVODES is built anew for every text: it has all of them in one.
TEXTS = [*product(("rodas", "scipy"), ATTACKS), ("cvodes", " ".join(ATTACKS))]


@pytest.mark.parametrize(("solver", "attack"), TEXTS)
def test_texts_of_a_model_file_are_texts(tmp_path, marker, sound, solver, attack):
    """Its name, its descriptions, and a script, which Myokit itself would run."""
    text = attack.format(marker=marker)
    path = tmp_path / "hostile.mmt"
    about = f'desc: """\n    {text}\n"""'
    body = SOUND.replace("[[model]]", f"[[model]]\nname: {text}\n{about}").replace("g = 1", f"g = 1\n    {about}")
    path.write_text(f"{body}\n[[script]]\nopen('{marker}', 'w')\n")
    if solver == "cvodes":
        skip_without_cvodes()
    cell = load_cell(path)
    assert cell.model.name() == text.removesuffix(" #")  # with which a comment begins
    hostile, plain = (simulate(each, [], 20.0, solver=solver)[0] for each in (cell, sound))
    np.testing.assert_array_equal(hostile.step_voltage_mV, plain.step_voltage_mV)


PLACES = {
    "name of a constant": ("g = 1", "{} = 1"),
    "name of a state": ("m.n", "m.{}"),
    "number": ("g = 1", "g = {}"),
    "initial value": ("= -20", "= {}"),
    "unit": ("[mV]", "[{}]"),
    "label": ("label membrane_potential", "label {}"),
    "binding": ("bind time", "bind {}"),
}


@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_name_or_number_is_refused(tmp_path, marker, place):
    sound, hostile = PLACES[place]
    path = tmp_path / "hostile.mmt"
    for attack in ATTACKS:
        path.write_text(SOUND.replace(sound, hostile.format(attack.format(marker=marker))))
        with pytest.raises(UserError, match=r"^simulator.model: .* cannot be read as a Myokit or CellML model: "):
            load_cell(path)


# No V, of which a constant would be another kind of equation.
WORDS = st.text("abg_09.;:\"'\\/*#%()[]{}<>=+-,?@!|&~`$ \t\n\réλ\u2028\0", min_size=1, max_size=12)
NAMES, NUMBERS = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,9}", fullmatch=True), st.floats(0, 1e300).map(str)


@given(WORDS | NAMES, WORDS | NUMBERS)
@settings(suppress_health_check=list(HealthCheck))
def test_generated_code_is_made_of_parsed_expressions(tmp_path, sound, name, number):
    """A name or number that is accepted brings nothing but identifiers and numbers into C and Python."""
    path = tmp_path / "fuzzed.mmt"
    path.write_text(SOUND.replace("g * (V", f"{name} * (V").replace("g = 1", f"{name} = {number}"), encoding="utf-8")
    with suppress(UserError):
        found, plain = tokens(load_cell(path)), tokens(sound)
        assert all(re.fullmatch(r"\w+|[\d.]+([eE][+-]?\d+)?", token) for token in found.keys() - plain.keys())
        assert all(found[mark] == plain[mark] for mark in ";{}/*\"'#\\")


def tokens(cell):
    """How often each identifier, number and other character stands in all code that is generated from a cell."""
    return Counter(re.findall(r"[^\W\d]\w*|[\d.]+(?:[eE][+-]?\d+)?|\S", generate(cell) + cell.python_source))


def test_entities_of_cellml_are_not_fetched(tmp_path):
    (tmp_path / "secret").write_text("TOP SECRET")
    head = f'<!DOCTYPE model [<!ENTITY x SYSTEM "{(tmp_path / "secret").as_uri()}">]>'
    path = tmp_path / "hostile.cellml"
    path.write_text(f'{head}<model xmlns="http://www.cellml.org/cellml/1.0#" name="&x;">&x;</model>')
    with pytest.raises(UserError) as caught:
        load_cell(path)
    assert "TOP SECRET" not in str(caught.value)


def test_entities_of_cellml_do_not_explode(tmp_path):
    entities = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(12))
    path = tmp_path / "hostile.cellml"
    path.write_text(f'<!DOCTYPE model [<!ENTITY e0 "lol">{entities}]><model name="m">&e12;</model>')
    with pytest.raises(UserError, match=r"^simulator.model: .* cannot be read"):
        load_cell(path)


def test_pickles_in_a_store_are_not_read(tmp_path, capfd):
    store = run(load_cell("akwaboah2021"), tmp_path / "traces", design("sobol", n=4), duration_ms=1000.0)
    for path in sorted(store.folder.glob("[!.]*")):  # others belong to its lock
        sound = path.read_bytes()
        path.write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(UserError, match=re.escape(path.name)):
            TraceStore(store.folder).cells()
        path.write_bytes(sound)
    assert len(TraceStore(store.folder).cells()) == 4
    assert capfd.readouterr().out == ""


def test_no_code_comes_out_of_data():
    """Only the Dask executor reads pickles, which its own processes send each other; only equations become Python."""
    readers = {p for p in FILES if calls(p, "loads") and "pickle" in third_party(p)}
    assert readers == {SOURCE / "simulation" / "campaigns" / "executors" / "dask.py"}
    assert {p.parent for p in FILES if calls(p, "exec")} == {SOURCE / "simulation" / "equations"}
    for path in FILES:
        assert "eval" not in {getattr(function, "id", "") for function in calls(path, "eval")}
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            assert given.get("shell", "False") == given.get("allow_pickle", "False") == "False"
            if ast.unparse(call.func) in ("torch.load", "trainer.fit"):
                assert given["weights_only"] == "True", f"{path}: {ast.unparse(call)}"


OTHER_FACTS = ("[]", "1", "null", '[["key", 1]]', '{"key": "k"}', '{"key": 1, "duration_ms": "x"}')


def test_facts_of_another_kind(tmp_path):
    (tmp_path / "_manifest.jsonl").touch()
    for content in OTHER_FACTS:
        (tmp_path / "_campaign.json").write_text(content)
        with pytest.raises(UserError, match=rf"^{re.escape(str(tmp_path / '_campaign.json'))} is damaged"):
            TraceStore(tmp_path)
