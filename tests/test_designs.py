"""The designs, counted and compared with tables written by hand."""

import inspect
import re
from itertools import chain, combinations

import hydra
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pyarrow import parquet
from tiny_job import ROOT

from cardioemu.config import check
from cardioemu.errors import UserError
from cardioemu.settings.simulate import SimulateSettings
from cardioemu.simulation import checked_scales, design, distinct, load_cell
from cardioemu.simulation.designs import DESIGNS
from cardioemu.simulation.designs.arguments import LARGEST_DESIGN

CURRENTS = ("ICaL", "IK1", "IKr", "IKur", "INa")
LEVELS = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0]
SPREAD = ("sobol", "latin_hypercube")
MANY = [f"g{i}" for i in range(64)]


def test_default_conductances_are_those_of_the_seeds_cell():
    for function in DESIGNS.values():
        assert inspect.signature(function).parameters["scaled"].default == load_cell("akwaboah2021").scaled


@pytest.mark.parametrize("name", DESIGNS)
def test_every_setting_stands_in_the_config_file(name):
    config = OmegaConf.load(ROOT / "conf" / "design" / f"{name}.yaml")
    assert config["_target_"] == f"cardioemu.simulation.designs.{name}"
    assert hydra.utils.get_method(config["_target_"]) is DESIGNS[name]
    # The cell model knows what is scaled.
    assert set(config) - {"_target_", "_partial_"} == set(inspect.signature(DESIGNS[name]).parameters) - {"scaled"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["design=one_at_a_time", "design.levels_of={IKr: [0.5]}", "design.levels=[1]"], [[1, 1], [1, 0.5]]),
        (["design=factorial", "design.levels_of={IKr: [3]}", "design.levels=[0,2]"], [[0, 3], [2, 3]]),
        (["design=sobol", "design.n=1", "design.ranges={IKr: [0, 1]}"],
         design("sobol", n=1, scaled=("INa", "IKr"), ranges={"IKr": (0, 1)}).tolist()),
        (["design=latin_hypercube", "design.low=2"], "design.low: got 2, which is not below design.high = 2"),
        (["design=factorial", "design.levels_of={IKR: [3]}"],
         "design.levels_of: 'IKR' is none of the scaled conductances; did you mean IKr?"),
        (["design=file", "design.path=nowhere.csv"], "design.path: there is no file nowhere.csv"),
    ],
)  # fmt: skip
def test_from_the_command_line(arguments, expected):
    def table():
        (settings,) = check(ROOT / "conf", "simulate", arguments, False, SimulateSettings)
        return settings.design(scaled=("INa", "IKr"))

    if isinstance(expected, str):
        with pytest.raises(UserError) as raised:
            table()
        assert str(raised.value) == expected
    else:
        assert table().tolist() == expected


def test_every_design_has_a_config_file():
    assert {path.stem for path in (ROOT / "conf" / "design").glob("*.yaml")} == set(DESIGNS)


def test_rays_are_the_341_simulations_of_the_seed():
    rays = design("rays")
    assert rays.shape == (341, 5)
    assert rays.dtype == np.float64
    assert len(np.unique(rays, axis=0)) == 311
    assert (rays == 1).all(axis=1).sum() == 31
    assert np.unique(rays).tolist() == LEVELS


def test_rays_are_the_subsets_by_size_times_the_levels():
    subsets = list(chain.from_iterable(combinations(range(5), size) for size in range(1, 6)))
    for row, scale in enumerate(design("rays")):
        subset, level = subsets[row // 11], LEVELS[row % 11]
        assert scale.tolist() == [level if i in subset else 1.0 for i in range(5)]


def test_rays_written_by_hand():
    expected = [[0.5, 1], [2, 1], [1, 0.5], [1, 2], [0.5, 0.5], [2, 2]]
    assert design("rays", scaled=("IKr", "INa"), levels=[0.5, 2]).tolist() == expected
    assert design("rays", scaled=["INa"], levels=np.array([0, 3])).tolist() == [[0], [3]]


def test_one_at_a_time():
    table = design("one_at_a_time")
    assert table.shape == (51, 5)
    assert table.dtype == np.float64
    assert len(np.unique(table, axis=0)) == 51
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
    assert full.shape == (161051, 5)
    assert full.dtype == np.float64
    assert len(np.unique(full, axis=0)) == 161051
    assert full[0].tolist() == [0] * 5
    assert full[1].tolist() == [0, 0, 0, 0, 0.2]
    assert full[-1].tolist() == [2] * 5


def test_factorial_written_by_hand():
    expected = [[0, 0], [0, 1], [0, 3], [1, 0], [1, 1], [1, 3], [3, 0], [3, 1], [3, 3]]
    assert design("factorial", scaled=("a", "b"), levels=[0, 1, 3]).tolist() == expected
    expected = [[2, 0, 5], [2, 0, 6], [2, 1, 5], [2, 1, 6]]
    own = {"c": [5, 6], "a": [2]}
    assert design("factorial", scaled=("a", "b", "c"), levels=[0, 1], levels_of=own).tolist() == expected


def test_factorial_of_as_many_conductances_as_there_may_be():
    table = design("factorial", scaled=MANY, levels=[1], levels_of={"g3": [0, 2], "g60": [4, 5, 6]})
    assert table.shape == (6, 64)
    assert table[:, [3, 60]].tolist() == [[0, 4], [0, 5], [0, 6], [2, 4], [2, 5], [2, 6]]
    assert (np.delete(table, [3, 60], axis=1) == 1).all()


@pytest.mark.parametrize("name", SPREAD)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 300), more=st.integers(0, 300), width=st.integers(1, 64))
@settings(max_examples=50, deadline=None)
def test_first_rows_stay_when_a_design_grows(name, seed, n, more, width):
    small, large = (design(name, n=count, seed=seed, scaled=MANY[:width]) for count in (n, n + more))
    assert small.shape == (n, width)
    np.testing.assert_array_equal(small, large[:n])


@pytest.mark.parametrize("name", SPREAD)
@given(
    ends=st.lists(st.floats(0, 1e6), min_size=2, max_size=2, unique=True).map(sorted),
    own=st.lists(st.floats(0, 1e6), min_size=2, max_size=2, unique=True).map(sorted),
    seed=st.integers(0, 9),
)
@settings(deadline=None)
def test_ranges_are_respected(name, ends, own, seed):
    (low, high), n = ends, 64
    first, second = design(name, n=n, seed=seed, scaled=("a", "b"), low=low, high=high, ranges={"b": own}).T
    assert ((low <= first) & (first <= high)).all()
    assert ((own[0] <= second) & (second <= own[1])).all()
    # One range does not move the points of the others.
    np.testing.assert_array_equal(first, design(name, n=n, seed=seed, scaled=("a", "b"), low=low, high=high)[:, 0])


@pytest.mark.parametrize("name", SPREAD)
def test_ranges_are_filled(name):
    points = design(name, n=256, seed=5, ranges={"IKr": [0, 1], "INa": (0.5, 4)})
    assert points.dtype == np.float64
    for column, (low, high) in zip(points.T, [(0, 2), (0, 2), (0, 1), (0, 2), (0.5, 4)], strict=True):
        assert np.histogram(column, 256, (low, high))[0].tolist() == [1] * 256


def test_sobol_fills_its_range_evenly():
    points = design("sobol", n=1024, seed=1, scaled=("a", "b", "c"), low=0.5, high=1.5)
    assert points.shape == (1024, 3)
    assert ((points >= 0.5) & (points < 1.5)).all()
    # A net: every one of 1024 slices of each axis holds exactly one point, each 32 by 32 square of two axes too.
    for column in points.T:
        assert np.histogram(column, 1024, (0.5, 1.5))[0].tolist() == [1] * 1024
    assert (np.histogram2d(*points[:, :2].T, 32, [(0.5, 1.5)] * 2)[0] == 1).all()


@given(seed=st.integers(0, 2**32), power=st.integers(0, 9), width=st.integers(1, 8))
@settings(max_examples=50, deadline=None)
def test_every_doubling_of_a_latin_hypercube_is_one(seed, power, width):
    n = 2**power
    points = design("latin_hypercube", n=2 * n, seed=seed, scaled=MANY[:width], low=0, high=1)
    for part in (points[:n], points[n:]):  # what is added is one too
        assert (np.sort(np.floor(part * n).astype(int), axis=0) == np.arange(n)[:, None]).all()


@given(seed=st.integers(0, 2**32), n=st.integers(1, 1000))
@settings(max_examples=50, deadline=None)
def test_a_latin_hypercube_between_doublings(seed, n):
    slices = 2 ** (n.bit_length() - 1)
    for column in design("latin_hypercube", n=n, seed=seed, low=0, high=1).T:
        assert set(np.bincount(np.floor(column * slices).astype(int), minlength=slices)) <= {1, 2}


def test_the_axes_of_a_latin_hypercube_are_independent():
    points = np.array([design("latin_hypercube", n=8, seed=seed, low=0, high=1) for seed in range(2000)])
    for row in np.swapaxes(points, 0, 1):  # each row by itself is uniform over the cube; 5 standard errors
        assert abs(row.mean(axis=0) - 1 / 2).max() < 5 * np.sqrt(1 / 12 / 2000)
        assert abs(row.var(axis=0) - 1 / 12).max() < 5 * np.sqrt(1 / 180 / 2000)
        assert abs(np.corrcoef(row.T) - np.eye(5)).max() < 5 / np.sqrt(2000)


@pytest.mark.parametrize("name", SPREAD)
def test_seeds(name):
    one, again, other = (design(name, n=16, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).all()


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("ray", {}, "design: got 'ray', allowed is one of rays, one_at_a_time, factorial, sobol, latin_hypercube, "
         "file"),
        ("sobol", {"n": 0}, "design.n: got 0; it must be greater than 0"),
        ("latin_hypercube", {"n": 0}, "design.n: got 0; it must be greater than 0"),
        ("sobol", {"n": 2.5}, "design.n: got 2.5; it must be a valid integer, got a number with a fractional part"),
        ("sobol", {"seed": -1}, "design.seed: got -1; it must be greater than or equal to 0"),
        ("sobol", {"low": -0.1}, "design.low: got -0.1; it must be greater than or equal to 0"),
        ("sobol", {"high": float("inf")}, "design.high: got inf; it must be a finite number"),
        ("sobol", {"high": 1.1e6}, "design.high: got 1100000.0; it must be less than or equal to 1000000"),
        ("sobol", {"low": 1, "high": 1}, "design.low: got 1, which is not below design.high = 1"),
        ("latin_hypercube", {"low": 3}, "design.low: got 3, which is not below design.high = 2"),
        ("sobol", {"points": 3}, "design.points: there is no such setting; known are n, seed, scaled, low, high, "
         "ranges"),
        ("sobol", {"range": {}}, "design.range: there is no such setting; did you mean ranges?"),
        ("sobol", {"ranges": {"IKR": [0, 1]}}, "design.ranges: 'IKR' is none of the scaled conductances; did you mean "
         "IKr?"),
        ("latin_hypercube", {"ranges": {"x": [0, 1]}}, "design.ranges: 'x' is none of the scaled conductances; known "
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
        ("rays", {"levels": [0, 1, 0.0]}, "design.levels: got [0, 1, 0.0]; 0.0 stands there more than once"),
        ("rays", {"levels": 1}, "design.levels: got 1; it must be an instance of Sequence"),
        ("rays", {"levels_of": {"IKr": [1]}}, "design.levels_of: there is no such setting; did you mean levels?"),
        ("rays", {"scaled": 5}, "design.scaled: got 5; it must be an instance of Sequence"),
        ("rays", {"scaled": "IKr"}, "design.scaled: got 'IKr'; 'str' instances are not allowed as a Sequence value"),
        ("rays", {"scaled": []}, "design.scaled: got []; Value should have at least 1 item after validation, not 0"),
        ("rays", {"scaled": ["a", "a"]}, "design.scaled: got ['a', 'a']; a stands there more than once"),
        ("sobol", {"scaled": ["a"] * 65}, f"design.scaled: got {['a'] * 65}; Value should have at most 64 items after "
         "validation, not 65"),
        ("factorial", {"levels": [float("nan")]}, "design.levels[0]: got nan; it must be a finite number"),
        ("factorial", {"levels": []}, "design.levels: got []; Value should have at least 1 item after validation, "
         "not 0"),
        ("factorial", {"levels_of": {"IKr": [1, 1]}}, "design.levels_of.IKr: got [1, 1]; 1.0 stands there more than "
         "once"),
        ("factorial", {"levels_of": {"IKr": []}}, "design.levels_of.IKr: got []; Value should have at least 1 item "
         "after validation, not 0"),
        ("factorial", {"levels_of": {"IKrr": [1]}}, "design.levels_of: 'IKrr' is none of the scaled conductances; did "
         "you mean IKr?"),
        ("one_at_a_time", {"levels_of": {"IKr": ["a"]}}, "design.levels_of.IKr[0]: got 'a'; it must be a valid "
         "number, unable to parse string as a number"),
        ("one_at_a_time", {"levels_of": {"Ito": [1]}}, "design.levels_of: 'Ito' is none of the scaled conductances; "
         "known are ICaL, IK1, IKr, IKur, INa"),
        ("file", {}, "design.path: this must be given"),
        ("sobol", {"n": 0, "seed": -1}, "design.n: got 0; it must be greater than 0\n"
         "design.seed: got -1; it must be greater than or equal to 0"),
    ],
)  # fmt: skip
def test_bad_settings(name, settings, sentence):
    with pytest.raises(UserError) as raised:
        design(name, **settings)
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
    assert str(raised.value) == (
        f"design: it would have {rows} rows, allowed with {width} scaled conductances are {allowed}"
    )


TABLE = pd.DataFrame({"note": ["x", "y"], "INa": [1, 0], "IKr": [0.25, 1e6], "text": [None, "-1"]})


def test_designs_in_files(tmp_path):
    TABLE.to_csv(tmp_path / "table.csv", index=False)
    TABLE.to_parquet(tmp_path / "table.PARQUET")
    for path in (tmp_path / "table.csv", str(tmp_path / "table.PARQUET")):
        scales = design("file", path=path, scaled=("IKr", "INa"))
        assert scales.dtype == np.float64
        assert scales.tolist() == [[0.25, 1], [1e6, 0]]


@pytest.mark.parametrize(
    "text", ["a,b\n1,0.5\n", "\ufeffb, a\r\n 0.5, 1\r\n", '"a","b"\n"1","5e-1"', "a,b\n\n1,.5\n\n"]
)
def test_csv_as_people_write_it(text, tmp_path):
    (tmp_path / "table.csv").write_text(text, encoding="utf-8", newline="")
    assert design("file", path=tmp_path / "table.csv", scaled=("a", "b")).tolist() == [[1, 0.5]]


def test_a_design_returns_from_a_file_as_it_was(tmp_path):
    scales = design("sobol", n=100)
    for name, write in (("table.csv", pd.DataFrame.to_csv), ("table.parquet", pd.DataFrame.to_parquet)):
        write(pd.DataFrame(scales, columns=CURRENTS)[list(CURRENTS[::-1])], tmp_path / name)
        np.testing.assert_array_equal(design("file", path=tmp_path / name), scales)


def test_a_folder_is_no_column(tmp_path):
    (tmp_path / "a=3").mkdir()
    pd.DataFrame({"b": [1]}).to_parquet(tmp_path / "a=3" / "table.parquet")
    with pytest.raises(UserError, match="the table has no column a; it needs a, b"):
        design("file", path=tmp_path / "a=3" / "table.parquet", scaled=("a", "b"))


ALLOWED = "allowed are values from 0 to 1e+06; 1 is the control"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("table.csv", None, "design.path: there is no file {}"),
        ("table.xlsx", b"", "design.path: got {}, allowed is a file that ends in .csv or .parquet"),
        ("table", None, "design.path: got {}, allowed is a file that ends in .csv or .parquet"),
        ("table.csv", b"", "design.path: {} cannot be read as csv (Empty CSV file)"),
        ("table.csv", b"a,b\n1,2\n1\n", "design.path: {} cannot be read as csv (CSV parse error: *"),
        ("table.csv", b"a,b\n1,2,3\n", "design.path: {} cannot be read as csv (CSV parse error: *"),
        ("table.parquet", b"a,b\n1,2\n", "design.path: {} cannot be read as parquet (*"),
        ("table.csv", b"a,b\n", "design.path: {} has no rows"),
        ("table.parquet", {"a": pa.array([], pa.float64()), "b": pa.array([], pa.float64())},
         "design.path: {} has no rows"),
        ("table.csv", b"b,c\n1,2\n", "design.path: in {}, the table has no column a; it needs a, b"),
        ("table.csv", b"a;b\n1;2\n", "design.path: in {}, the table has no column a, b; it needs a, b"),
        ("table.parquet", {"c": [1]}, "design.path: in {}, the table has no column a, b; it needs a, b"),
        ("table.csv", b"a,b,a\n1,2,3\n", "design.path: {} has more than one column a"),
        ("table.csv", b"a,b\n1,2\n1,-0.5\n", "design.path: in {}, cell 1 has b = -0.5, " + ALLOWED),
        ("table.csv", b"a,b\n1,2\n,1\n", "design.path: in {}, cell 1 has a = nan, " + ALLOWED),
        ("table.csv", b"a,b\nnan,2\n", "design.path: in {}, cell 0 has a = nan, " + ALLOWED),
        ("table.csv", b"a,b\ninf,2\n", "design.path: in {}, cell 0 has a = inf, " + ALLOWED),
        ("table.csv", b"a,b\n1,1000001\n", "design.path: in {}, cell 0 has b = 1000001.0, " + ALLOWED),
        ("table.csv", b"b,a\n1,2\n1,2\n1,x\n", "design.path: in {}, cell 2 has a = 'x', which is no number"),
        ("table.csv", b'a,b\n1,"0,5"\n', "design.path: in {}, cell 0 has b = '0,5', which is no number"),
        ("table.csv", b"a,b\n1,\xff\n", "design.path: in {}, cell 0 has b = b'\\xff', which is no number"),
        ("table.parquet", {"a": [1, None], "b": [1, 1]}, "design.path: in {}, cell 1 has a = nan, " + ALLOWED),
        ("table.parquet", {"a": [1, 1], "b": ["1", "x"]}, "design.path: in {}, cell 1 has b = 'x', which is no number"),
        ("table.parquet", {"a": [1], "b": [[1]]}, "design.path: in {}, cell 0 has b = [1], which is no number"),
    ],
)  # fmt: skip
def test_files_that_are_refused(name, content, sentence, tmp_path):
    path = tmp_path / name
    if isinstance(content, dict):
        parquet.write_table(pa.table(content), path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        design("file", path=path, scaled=("a", "b"))
    # A star stands for the words of the library that reads.
    assert re.fullmatch(re.escape(sentence.format(path)).replace(r"\*", "[^\n]+"), str(raised.value))


@pytest.mark.parametrize(
    "given",
    [
        [1, 2, 0, 0.5, 1],
        [[1, 2, 0, 0.5, 1]],
        np.array([[1, 2, 0, 0.5, 1]], dtype=np.float32),
        pd.DataFrame([[1, 2, 0, 0.5, 1]], columns=CURRENTS),
        pd.DataFrame([[1, 0.5, 0, 2, 1]], columns=CURRENTS[::-1]),
        np.ma.array([1, 2, 0, 0.5, 1]),
    ],
)
def test_scales_in_any_form(given):
    scales = checked_scales(given, CURRENTS)
    assert scales.dtype == np.float64
    assert scales.tolist() == [[1, 2, 0, 0.5, 1]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, 1, 1, 1], r"got shape \(4,\), allowed is \(cells, 5\), one column each for ICaL, IK1, IKr, IKur, INa"),
        (np.ones((2, 6)), r"got shape \(2, 6\)"),
        (np.ones((2, 2, 5)), r"got shape \(2, 2, 5\)"),
        (np.array(1.0), r"got shape \(\)"),
        (
            [[1, 1, 1, 1, 1], [1, 1, 1, -0.5, 1]],
            r"cell 1 has IKur = -0.5, allowed are values from 0 to 1e\+06; 1 is the control",
        ),
        ([1, np.nan, 1, 1, 1], "cell 0 has IK1 = nan"),
        ([1, 1, 1, 1, np.inf], "cell 0 has INa = inf"),
        ([1, 1, 1, 1.1e6, 1], "cell 0 has IKur = 1100000.0"),
        (pd.DataFrame([[1, 1, 1, 1]], columns=CURRENTS[:4]), "the table has no column INa"),
        (["a", "b", "c", "d", "e"], "no table of numbers"),
        ([[1, 1, 1, 1, 1], [1, 1]], "no table of numbers"),
    ],
)
def test_scales_that_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        checked_scales(given, CURRENTS)


def test_distinct_rows_by_hand():
    rows = np.array([[1.0, 1], [0, 2], [1, 1], [0, 1], [0, 2]])
    number, first = distinct(rows)
    assert number.tolist() == [0, 1, 0, 2, 1]
    assert first.tolist() == [0, 1, 3]


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 2.0]), st.sampled_from([0.5, 1.0])), min_size=1, max_size=20))
def test_distinct_rows(rows):
    number, first = distinct(np.array(rows))
    seen = list(dict.fromkeys(rows))
    assert number.tolist() == [seen.index(row) for row in rows]
    assert first.tolist() == [rows.index(row) for row in seen]
