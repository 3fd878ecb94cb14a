"""Tables of scale vectors: their validation, which of their rows are equal, and their files."""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from cardioemu.common.errors import UserError
from cardioemu.simulation import design, first_occurrence, validate_scales
from cardioemu.simulation.scales import unique_rows

CURRENTS = ("ICaL", "IK1", "IKr", "IKur", "INa")


@pytest.mark.parametrize(
    "given",
    [
        [1, 2, 0, 0.5, 1],
        [[1, 2, 0, 0.5, 1]],
        np.array([[1, 2, 0, 0.5, 1]], dtype=np.float32),
        pd.DataFrame([[1, 2, 0, 0.5, 1]], columns=CURRENTS),
        pd.DataFrame([[1, 0.5, 0, 2, 1]], columns=CURRENTS[::-1]),
        pd.DataFrame([[1, 0.5, 0, 2, 1]], columns=CURRENTS[::-1]).iloc[0],
        pd.Series([1, 2, 0, 0.5, 1]),
        np.ma.array([1, 2, 0, 0.5, 1]),
        ["1", "2", "0", "0.5", "1"],
    ],
)
def test_scales_in_any_form(given):
    scales = validate_scales(given, CURRENTS)
    assert scales.dtype == np.float64
    assert scales.tolist() == [[1, 2, 0, 0.5, 1]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, 1, 1, 1], r"got shape \(4,\); allowed is \(cells, 5\), one column each for ICaL, IK1, IKr, IKur, INa"),
        (np.ones((2, 6)), r"got shape \(2, 6\)"),
        (np.ones((2, 2, 5)), r"got shape \(2, 2, 5\)"),
        (np.array(1.0), r"got shape \(\)"),
        (np.float64(1.0), r"got shape \(\)"),
        ([[1] * 5, [1, 1, 1, -0.5, 1]], r"cell 1 has IKur = -0.5; allowed is 0 to 1e\+06, where 1 is the control"),
        ([1, np.nan, 1, 1, 1], "cell 0 has IK1 = nan"),
        ([1, 1, 1, 1, np.inf], "cell 0 has INa = inf"),
        ([1, 1, 1, 1.1e6, 1], "cell 0 has IKur = 1100000.0"),
        (pd.DataFrame([[1, 1, 1, 1]], columns=CURRENTS[:4]), "the table has no column INa"),
        (pd.Series(dict.fromkeys(CURRENTS[:4], 1.0)), "the row has no INa; it needs ICaL"),
        (["a", "b", "c", "d", "e"], "allowed is a table of numbers"),
        ([[1, 1, 1, 1, 1], [1, 1]], "allowed is a table of numbers"),
        *((given, "") for given in ("control", [], [[]], [[1, 1, 1, 1, None]], [[1, 1, 1, 1, 1j]], np.ones((5, 2)))),
    ],
)
def test_refused_scales(given, message):
    with pytest.raises(UserError, match=f"^scales: .*{message}"):
        validate_scales(given, CURRENTS)


def test_distinct_rows_by_hand():
    rows = np.array([[1.0, 1], [0, 2], [1, 1], [0, 1], [0, 2]])
    number, first = unique_rows(rows)
    assert number.tolist() == [0, 1, 0, 2, 1]
    assert first.tolist() == [0, 1, 3]


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 2.0]), st.sampled_from([0.5, 1.0])), min_size=1, max_size=20))
def test_distinct_rows(rows):
    number, first = unique_rows(np.array(rows))
    seen = list(dict.fromkeys(rows))
    assert number.tolist() == [seen.index(row) for row in rows]
    assert first.tolist() == [rows.index(row) for row in seen]
    assert first_occurrence(np.array(rows)).tolist() == [rows.index(row) == i for i, row in enumerate(rows)]


# In files

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
def test_csv_dialects(text, tmp_path):
    (tmp_path / "table.csv").write_text(text, encoding="utf-8", newline="")
    assert design("file", path=tmp_path / "table.csv", scaled=("a", "b")).tolist() == [[1, 0.5]]


def test_a_design_survives_a_file(tmp_path):
    scales = design("sobol", n=100)
    for name, write in (("table.csv", pd.DataFrame.to_csv), ("table.parquet", pd.DataFrame.to_parquet)):
        write(pd.DataFrame(scales, columns=CURRENTS)[list(CURRENTS[::-1])], tmp_path / name)
        np.testing.assert_array_equal(design("file", path=tmp_path / name), scales)


def test_a_folder_is_not_a_column(tmp_path):
    (tmp_path / "a=3").mkdir()
    pd.DataFrame({"b": [1]}).to_parquet(tmp_path / "a=3" / "table.parquet")
    with pytest.raises(UserError, match="the table has no column a; it needs a, b"):
        design("file", path=tmp_path / "a=3" / "table.parquet", scaled=("a", "b"))


ALLOWED = "allowed is 0 to 1e+06, where 1 is the control"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("table.csv", None, "design.path: there is no file {}"),
        ("table.xlsx", b"", "design.path: got {}; allowed is a file that ends in .csv or .parquet"),
        ("table", None, "design.path: got {}; allowed is a file that ends in .csv or .parquet"),
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
        ("table.csv", b"a,b\n1,2\n1,-0.5\n", "design.path: in {}, cell 1 has b = -0.5; " + ALLOWED),
        ("table.csv", b"a,b\n1,2\n,1\n", "design.path: in {}, cell 1 has a = nan; " + ALLOWED),
        ("table.csv", b"a,b\nnan,2\n", "design.path: in {}, cell 0 has a = nan; " + ALLOWED),
        ("table.csv", b"a,b\ninf,2\n", "design.path: in {}, cell 0 has a = inf; " + ALLOWED),
        ("table.csv", b"a,b\n1,1000001\n", "design.path: in {}, cell 0 has b = 1000001.0; " + ALLOWED),
        ("table.csv", b"b,a\n1,2\n1,2\n1,x\n", "design.path: in {}, cell 2 has a = 'x', which is not a number"),
        ("table.csv", b'a,b\n1,"0,5"\n', "design.path: in {}, cell 0 has b = '0,5', which is not a number"),
        ("table.csv", b"a,b\n1,\xff\n", "design.path: in {}, cell 0 has b = b'\\xff', which is not a number"),
        ("table.parquet", {"a": [1, None], "b": [1, 1]}, "design.path: in {}, cell 1 has a = nan; " + ALLOWED),
        ("table.parquet", {"a": [1, 1], "b": ["1", "x"]},
         "design.path: in {}, cell 1 has b = 'x', which is not a number"),
        ("table.parquet", {"a": [1], "b": [[1]]}, "design.path: in {}, cell 0 has b = [1], which is not a number"),
    ],
)  # fmt: skip
def test_refused_files(name, content, sentence, tmp_path):
    path = tmp_path / name
    if isinstance(content, dict):
        parquet.write_table(pa.table(content), path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        design("file", path=path, scaled=("a", "b"))
    # A star matches the message of the reading library.
    assert re.fullmatch(re.escape(sentence.format(path)).replace(r"\*", "[^\n]+"), str(raised.value))
