"""The designs, counted and compared with tables written by hand."""

import inspect
from itertools import chain, combinations

import hydra
import numpy as np
import pytest
from omegaconf import OmegaConf
from tiny_job import JOBS, ROOT

from cardioemu.common.errors import UserError
from cardioemu.config.compose import validate_command_line
from cardioemu.settings.simulate import SimulateSettings
from cardioemu.simulation import design, load_cell
from cardioemu.simulation.designs import DESIGNS
from cardioemu.simulation.designs.arguments import LARGEST_DESIGN

CURRENTS = ("ICaL", "IK1", "IKr", "IKur", "INa")
LEVELS = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0]
MANY = [f"g{i}" for i in range(64)]


def test_default_conductances_and_config_files():
    assert {path.stem for path in (ROOT / "conf" / "design").glob("*.yaml")} == {*DESIGNS, "fresh"}
    scaled = load_cell("akwaboah2021").scaled
    assert {inspect.signature(function).parameters["scaled"].default for function in DESIGNS.values()} == {scaled}


@pytest.mark.parametrize("name", DESIGNS)
def test_every_setting_is_in_the_config_file(name):
    config = OmegaConf.load(ROOT / "conf" / "design" / f"{name}.yaml")
    assert config["_target_"] == f"cardioemu.simulation.designs.{DESIGNS[name].__name__}"
    assert hydra.utils.get_method(config["_target_"]) is DESIGNS[name]
    # `scaled` comes from the cell model.
    assert set(config) - {"_target_", "_partial_"} == set(inspect.signature(DESIGNS[name]).parameters) - {"scaled"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["design=one_at_a_time", "design.levels_of={IKr: [0.5]}", "design.levels=[1]"], [[1, 1], [1, 0.5]]),
        (["design=factorial", "design.levels_of={IKr: [3]}", "design.levels=[0,2]"], [[0, 3], [2, 3]]),
        (["design=sobol", "design.n=1", "design.ranges={IKr: [0, 1]}"],
         design("sobol", n=1, scaled=("INa", "IKr"), ranges={"IKr": (0, 1)}).tolist()),
        (["design=latin_hypercube", "design.low=2"], "design.low: got 2; allowed is less than design.high, which is 2"),
        (["design=factorial", "design.levels_of={IKR: [3]}"],
         "design.levels_of: 'IKR' is not a scaled conductance; did you mean IKr?"),
        (["design=file", "design.path=nowhere.csv"], "design.path: there is no file nowhere.csv"),
    ],
)  # fmt: skip
def test_from_the_command_line(arguments, expected):
    def table():
        ((_, _, settings),) = validate_command_line("simulate", arguments, False, SimulateSettings)
        return settings.design(scaled=("INa", "IKr"))

    if isinstance(expected, str):
        with pytest.raises(UserError) as raised:
            table()
        assert str(raised.value) == expected
    else:
        assert table().tolist() == expected


def test_fresh_cells_differ_from_training_cells():
    (trained,), (measured,) = (
        validate_command_line(program, [*arguments, "design.n=64"], False, JOBS[program])
        for program, arguments in (("train", ["experiment=steady"]), ("evaluate", ["checkpoint=any"]))
    )
    together = np.concatenate([trained.settings.design(), measured.settings.design()])
    assert len(np.unique(together, axis=0)) == 128


@pytest.mark.parametrize(
    ("name", "rows", "distinct"), [("rays", 341, 311), ("one_at_a_time", 51, 51), ("factorial", 161051, 161051)]
)
def test_sizes(name, rows, distinct):
    table = design(name)
    assert table.shape == (rows, 5)
    assert table.dtype == np.float64
    assert len(np.unique(table, axis=0)) == distinct
    assert np.unique(table).tolist() == LEVELS


def test_rays_are_the_subsets_by_size_times_the_levels():
    rays = design("rays")
    assert (rays == 1).all(axis=1).sum() == 31
    subsets = list(chain.from_iterable(combinations(range(5), size) for size in range(1, 6)))
    for row, scale in enumerate(rays):
        subset, level = subsets[row // 11], LEVELS[row % 11]
        assert scale.tolist() == [level if i in subset else 1.0 for i in range(5)]


def test_rays_written_by_hand():
    expected = [[0.5, 1], [2, 1], [1, 0.5], [1, 2], [0.5, 0.5], [2, 2]]
    assert design("rays", scaled=("IKr", "INa"), levels=[0.5, 2]).tolist() == expected
    assert design("rays", scaled=["INa"], levels=np.array([0, 3])).tolist() == [[0], [3]]


def test_one_at_a_time():
    table = design("one_at_a_time")
    assert table[0].tolist() == [1] * 5
    assert ((table != 1).sum(axis=1)[1:] == 1).all()
    for column in table.T:
        assert sorted(column[column != 1]) == [level for level in LEVELS if level != 1]


def test_one_at_a_time_written_by_hand():
    expected = [[1, 1, 1], [2, 1, 1], [0, 1, 1], [1, 0.5, 1], [1, 1, 2], [1, 1, 0]]
    table = design("one_at_a_time", scaled=("a", "b", "c"), levels=[2, 1, 0], levels_of={"b": [0.5]})
    assert table.tolist() == expected
    assert design("one_at_a_time", levels=[1]).tolist() == [[1] * 5]


def test_factorial():
    full = design("factorial")
    assert full[0].tolist() == [0] * 5
    assert full[1].tolist() == [0, 0, 0, 0, 0.2]
    assert full[-1].tolist() == [2] * 5


def test_factorial_written_by_hand():
    expected = [[0, 0], [0, 1], [0, 3], [1, 0], [1, 1], [1, 3], [3, 0], [3, 1], [3, 3]]
    assert design("factorial", scaled=("a", "b"), levels=[0, 1, 3]).tolist() == expected
    expected = [[2, 0, 5], [2, 0, 6], [2, 1, 5], [2, 1, 6]]
    own = {"c": [5, 6], "a": [2]}
    assert design("factorial", scaled=("a", "b", "c"), levels=[0, 1], levels_of=own).tolist() == expected


def test_factorial_of_64_conductances():
    table = design("factorial", scaled=MANY, levels=[1], levels_of={"g3": [0, 2], "g60": [4, 5, 6]})
    assert table.shape == (6, 64)
    assert table[:, [3, 60]].tolist() == [[0, 4], [0, 5], [0, 6], [2, 4], [2, 5], [2, 6]]
    assert (np.delete(table, [3, 60], axis=1) == 1).all()


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("ray", {}, "design: got 'ray'; allowed is one of rays, one_at_a_time, factorial, sobol, latin_hypercube, "
         "file"),
        ("sobol", {"n": 0}, "design.n: got 0; it must be greater than 0"),
        ("latin_hypercube", {"n": 0}, "design.n: got 0; it must be greater than 0"),
        ("sobol", {"n": 2.5}, "design.n: got 2.5; it must be a valid integer, got a number with a fractional part"),
        ("sobol", {"seed": -1}, "design.seed: got -1; it must be greater than or equal to 0"),
        ("sobol", {"low": -0.1}, "design.low: got -0.1; it must be greater than or equal to 0"),
        ("sobol", {"high": float("inf")}, "design.high: got inf; it must be a finite number"),
        ("sobol", {"high": 1.1e6}, "design.high: got 1100000.0; it must be less than or equal to 1000000"),
        ("sobol", {"low": 1, "high": 1}, "design.low: got 1; allowed is less than design.high, which is 1"),
        ("latin_hypercube", {"low": 3}, "design.low: got 3; allowed is less than design.high, which is 2"),
        ("sobol", {"points": 3}, "design.points: there is no such setting; known are n, seed, scaled, low, high, "
         "ranges"),
        ("sobol", {"range": {}}, "design.range: there is no such setting; did you mean ranges?"),
        ("sobol", {"ranges": {"IKR": [0, 1]}}, "design.ranges: 'IKR' is not a scaled conductance; did you mean IKr?"),
        ("latin_hypercube", {"ranges": {"x": [0, 1]}}, "design.ranges: 'x' is not a scaled conductance; known "
         "are ICaL, IK1, IKr, IKur, INa"),
        ("sobol", {"ranges": {"IKr": [1, 0.5]}}, "design.ranges.IKr: got [1, 0.5]; the first number must be smaller "
         "than the second"),
        ("sobol", {"ranges": {"IKr": [1]}}, "design.ranges.IKr: got [1]; Value should have at least 2 items after "
         "validation, not 1"),
        ("sobol", {"ranges": {"IKr": [0, 1, 2]}}, "design.ranges.IKr: got [0, 1, 2]; Value should have at most 2 "
         "items after validation, not 3"),
        ("sobol", {"ranges": {"IKr": [0, -1]}}, "design.ranges.IKr[1]: got -1; it must be greater than or equal to 0"),
        ("rays", {"levels": [0.5, -1]}, "design.levels[1]: got -1; it must be greater than or equal to 0"),
        ("rays", {"levels": [0.5, 2e6]}, "design.levels[1]: got 2000000.0; it must be less than or equal to 1000000"),
        ("rays", {"levels": []}, "design.levels: got []; Value should have at least 1 item after validation, not 0"),
        ("rays", {"levels": [0, 1, 0.0]}, "design.levels: got [0, 1, 0.0]; 0.0 occurs more than once"),
        ("rays", {"levels": 1}, "design.levels: got 1; it must be an instance of Sequence"),
        ("rays", {"levels_of": {"IKr": [1]}}, "design.levels_of: there is no such setting; did you mean levels?"),
        ("rays", {"scaled": 5}, "design.scaled: got 5; it must be an instance of Sequence"),
        ("rays", {"scaled": "IKr"}, "design.scaled: got 'IKr'; 'str' instances are not allowed as a Sequence value"),
        ("rays", {"scaled": []}, "design.scaled: got []; Value should have at least 1 item after validation, not 0"),
        ("rays", {"scaled": ["a", "a"]}, "design.scaled: got ['a', 'a']; a occurs more than once"),
        ("sobol", {"scaled": ["a"] * 65}, f"design.scaled: got {['a'] * 65}; Value should have at most 64 items after "
         "validation, not 65"),
        ("factorial", {"levels": [float("nan")]}, "design.levels[0]: got nan; it must be a finite number"),
        ("factorial", {"levels": []}, "design.levels: got []; Value should have at least 1 item after validation, "
         "not 0"),
        ("factorial", {"levels_of": {"IKr": [1, 1]}}, "design.levels_of.IKr: got [1, 1]; 1.0 occurs more than once"),
        ("factorial", {"levels_of": {"IKr": []}}, "design.levels_of.IKr: got []; Value should have at least 1 item "
         "after validation, not 0"),
        ("factorial", {"levels_of": {"IKrr": [1]}}, "design.levels_of: 'IKrr' is not a scaled conductance; did "
         "you mean IKr?"),
        ("one_at_a_time", {"levels_of": {"IKr": ["a"]}}, "design.levels_of.IKr[0]: got 'a'; it must be a valid "
         "number, unable to parse string as a number"),
        ("one_at_a_time", {"levels_of": {"Ito": [1]}}, "design.levels_of: 'Ito' is not a scaled conductance; "
         "known are ICaL, IK1, IKr, IKur, INa"),
        ("file", {}, "design.path: this must be given"),
        ("sobol", {"n": 0, "seed": -1}, "design.n: got 0; it must be greater than 0\n"
         "design.seed: got -1; it must be greater than or equal to 0"),
    ],
)  # fmt: skip
def test_bad_settings(name, settings, sentence):
    required = {"n": 8} if name in ("sobol", "latin_hypercube") else {}
    with pytest.raises(UserError) as raised:
        design(name, **required | settings)
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("name", "settings", "rows", "allowed"),
    [
        ("factorial", {"scaled": MANY[:10]}, "25,937,424,601", "5,000,000"),
        ("factorial", {"levels": list(range(25)), "levels_of": {"INa": list(range(26))}}, "10,156,250", "10,000,000"),
        ("factorial", {"scaled": MANY, "levels": [0, 1]}, "18,446,744,073,709,551,616", "781,250"),
        ("rays", {"scaled": MANY, "levels": [1]}, "18,446,744,073,709,551,615", "781,250"),
        ("sobol", {"n": 10_000_001}, "10,000,001", "10,000,000"),
        ("latin_hypercube", {"n": 10**18}, "1,000,000,000,000,000,000", "10,000,000"),
        ("one_at_a_time", {"scaled": MANY, "levels": [i / 1000 for i in range(20_000)]}, "1,279,937", "781,250"),
    ],
)
def test_designs_that_are_too_large(name, settings, rows, allowed):
    width = len(settings.get("scaled", CURRENTS))
    assert int(allowed.replace(",", "")) * width == LARGEST_DESIGN
    with pytest.raises(UserError) as raised:
        design(name, **settings)
    sentence = f"design: got {rows} rows; allowed with {width} scaled conductances are {allowed} rows or fewer"
    assert str(raised.value) == sentence
