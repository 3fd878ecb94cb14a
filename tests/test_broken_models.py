"""Invalid model files: each causes one UserError of one line."""

import warnings
from importlib.resources import files

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from small_cells import SOUND

from cardioemu.common.errors import UserError
from cardioemu.simulation import load_cell

CANNOT = r"simulator.model: .*wrong.mmt cannot be read as a Myokit or CellML model: .*"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", CANNOT),
        ("\n\n", CANNOT),
        ("just a text", CANNOT),
        ("[[protocol]]\n1 0 1 100 0\n", CANNOT + "it has no section"),
        ("[[model]]\n[m]\ntime = 0 bind time\n", CANNOT + "it has no states"),
        ("[[model]]\n[m]\nx = 1 +", CANNOT + "Syntax error on line 3"),
        (SOUND + "[[protocol]]\n1 0 1\n", CANNOT + "Syntax error"),
        (SOUND.replace("g = 1", ""), CANNOT + "Unresolved reference.*<g>"),
        (SOUND.replace("g = 1", "g = 1\ng = 2"), CANNOT + "g"),
        (SOUND.replace("g = 1", "g = k\nk = g"), CANNOT + "[Cc]yclical"),
        (SOUND.replace("g = 1", "g = dot(V)"), CANNOT + "its derivatives depend on each other in a cycle"),
        (SOUND.replace("g = 1", "g = 1 bind time"), CANNOT + "time"),
        (SOUND.replace("bind time", ""), CANNOT + "time"),
        (SOUND.replace("g = 1", "g = V > 0"), CANNOT + "condition"),
        (SOUND.replace("g = 1", "g = 1 in [sheep]"), CANNOT + "sheep"),
        (SOUND.replace("m.n = 0.3", ""), CANNOT + "initial value"),
        (SOUND.replace("m.n = 0.3", "m.n = m.V"), CANNOT + "constant"),
        (SOUND.replace("g = 1", "g = " + "(" * 5000 + "1" + ")" * 5000), CANNOT + "it is nested too deeply"),
        (SOUND.replace("in [mV]", "in [A]"), r"simulator.model: m.V has the unit \[A\]; allowed is a unit like \[mV"),
        (SOUND.replace("in [ms]", "in [m]"), r"simulator.model: engine.time has the unit \[m\]; allowed is a unit l"),
        (SOUND.replace("0.3", "0 / 0"), "simulator.model: the initial value of m.n is nan; set a finite one in simul"),
        (SOUND.replace("0.3", "1e400"), "simulator.model: the initial value of m.n is inf; set a finite one"),
    ],
)
def test_files_that_are_refused(tmp_path, text, message):
    path = tmp_path / "wrong.mmt"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_cell(path)
    assert "\n" not in str(caught.value)


def test_initial_state_replaces_an_invalid_initial_value(tmp_path):
    (tmp_path / "m.mmt").write_text(SOUND.replace("0.3", "0 / 0"))
    np.testing.assert_array_equal(load_cell(tmp_path / "m.mmt", initial_state={"n": 0.5}).initial_state, [-20, 0.5])


@pytest.mark.parametrize("name", ["wrong.mmt", "wrong.cellml", "wrong"])
@pytest.mark.parametrize("content", [bytes(range(256)) * 40, b"\x00" * 1000, b"\x7fELF\x02\x01\x01", b"\xff\xfe[\x00"])
def test_binary_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"simulator.model: .*{name} cannot be read as a Myokit or CellML model"):
        load_cell(tmp_path / name)


@pytest.mark.parametrize("name", ["absent.mmt", "", ".", "akwaboah", "a\0b"])
def test_paths_that_are_not_files(tmp_path, name):
    (tmp_path / "folder.mmt").mkdir()
    for path in (name, str(tmp_path / "folder.mmt"), str(tmp_path / name)):
        with pytest.raises(UserError, match=r"; allowed is a bundled model \(akwaboah2021\) or the path of a .mmt"):
            load_cell(path)


@pytest.mark.parametrize("content", ["<model/>", "<html><body/></html>", '<?xml version="1.0"?>', SOUND])
def test_files_that_are_not_cellml(tmp_path, content):
    (tmp_path / "wrong.cellml").write_text(content)
    with pytest.raises(UserError, match=r"wrong.cellml cannot be read as a Myokit or CellML model"):
        load_cell(tmp_path / "wrong.cellml")


# Corruption of the bundled model: letters, words replaced by words, numbers by numbers, whole lines

LINES = (files("cardioemu.simulation") / "models" / "akwaboah2021.mmt").read_text(encoding="utf-8").splitlines()
SPACED = [line.split(" ") for line in LINES]
WORDS = sorted({word for line in SPACED for word in line if word})
NUMBERS = [word for word in WORDS if word[0].isdigit()] + ["0", "1e400", "1e-320"]
NAMES = [word for word in WORDS if word[0].isalpha()]
OPERATORS = ["+", "-", "*", "/", "//", "%", "^", "==", "("]


@st.composite
def corrupted(draw):
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 3))):
        i = draw(st.integers(0, len(lines) - 1))
        words = lines[i].split(" ")
        w = draw(st.integers(0, len(words) - 1))
        kind = draw(st.sampled_from(["line", "letter", "word", "word", "word"]))
        if kind == "line":
            lines[i] = draw(st.sampled_from(["", *LINES]))
        elif kind == "letter" and lines[i]:
            at = draw(st.integers(0, len(lines[i]) - 1))
            letter = draw(st.sampled_from([*"()[]+-*/^%=<>.,:#\"' \t019eV_\\\x00é", ""]))
            lines[i] = lines[i][:at] + letter + lines[i][at + 1 :]
        elif words[w]:
            like = next((pool for pool in (NUMBERS, NAMES, OPERATORS) if words[w] in pool), WORDS)
            words[w] = draw(st.sampled_from(like))
            lines[i] = " ".join(words)
    return "\n".join(lines)


@given(text=corrupted())
@settings(derandomize=True, suppress_health_check=list(HealthCheck))
def test_corrupted_files_give_a_cell_or_one_sentence(tmp_path, text):
    path = tmp_path / "corrupted.mmt"
    path.write_text(text, encoding="utf-8")
    sentence = "simulator."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", UserWarning)
            cell = load_cell(path)
            assert cell.derivatives(cell.initial_state, np.ones(len(cell.scaled))).shape == cell.initial_state.shape
    except UserError as error:
        sentence = str(error)
    assert sentence.startswith("simulator.")
    assert "\n" not in sentence
