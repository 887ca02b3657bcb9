"""Files whole or not at all, tables that read back as written, refusals in one sentence."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from dustcast import tables
from dustcast.tables import DataError, Table

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
AWKWARD = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -(2.0**-1074) * 3, 1e22, 123456789.123456789]


def one_sentence(fault):
    """Assert that a message is a single line without a second sentence's full stop."""
    text = str(fault.value)
    assert "\n" not in text
    assert not re.search(r"[.] [A-Z]", text)
    assert not text.endswith(".")
    return text


# --- whole or not at all -------------------------------------------------------------------------


def test_a_fault_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "new" / "table.csv"
    tables.write_text(path, "old")

    def interrupted():
        with tables.atomic(path) as temporary:
            temporary.write_text("half")
            assert path.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_temporary_name_lies_in_the_folder_hidden_with_host_pid_and_suffix(tmp_path):
    name = tables.temporary_name(tmp_path / "a.fits")
    assert name.parent == tmp_path
    assert name.name == f".a.fits.{socket.gethostname()}.{os.getpid()}.tmp.fits"


@pytest.mark.parametrize("writer", ["text", "csv", "parquet"])
def test_a_killed_writer_leaves_no_file_that_is_taken(tmp_path, writer):
    """Kill a process in the middle of a file, then write it again."""
    path = tmp_path / f"table.{'parquet' if writer == 'parquet' else 'csv'}"
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(SCRIPTS)!r})
from dustcast import tables
with tables.atomic({str(path)!r}) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not path.exists()
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    assert left[0].name.startswith(".")
    # Patterns of folders do not see it.
    assert list(tmp_path.glob(f"[!.]*{path.suffix}")) == []
    if writer == "text":
        tables.write_text(path, "whole")
    else:
        tables.write_table(path, {"a": [1.0]})
    assert list(tmp_path.iterdir()) == [path]


def test_stale_temporaries_go_and_those_of_the_living_and_of_others_stay(tmp_path):
    path = tmp_path / "table.csv"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = socket.gethostname()
    stale = tmp_path / f".table.csv.{host}.{dead.pid}.tmp.csv"
    kept = [
        tmp_path / f".table.csv.{host}.{os.getppid()}.tmp.csv",
        tmp_path / f".table.csv.{host}x.{dead.pid}.tmp.csv",  # another host's process may live
        tmp_path / f".other.csv.{host}.{dead.pid}.tmp.csv",
        tmp_path / f".table.csv.{host}.abc.tmp.csv",
    ]
    for file in (stale, *kept):
        file.write_text("half")
    tables.write_text(path, "whole")
    assert sorted(tmp_path.iterdir()) == sorted([path, *kept])


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "table.csv"
    code = f"""
import sys
sys.path.insert(0, {str(SCRIPTS)!r})
from dustcast import tables
for k in range(200):
    tables.write_text({str(path)!r}, sys.argv[1] * 5000)
"""
    writers = [subprocess.Popen([sys.executable, "-c", code, letter]) for letter in "ab"]
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            assert path.read_text() in ("a" * 5000, "b" * 5000)
    assert [writer.wait() for writer in writers] == [0, 0]
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_parquet_leaves_nothing(tmp_path):
    path = tmp_path / "table.parquet"
    with pytest.raises(pa.ArrowInvalid):
        tables.write_table(path, {"a": np.zeros((2, 2))})
    with pytest.raises(ValueError, match="unequal length"):
        tables.write_table(path, {"a": [1.0], "b": [1.0, 2.0]})
    assert list(tmp_path.iterdir()) == []


# --- contents ------------------------------------------------------------------------------------


def sample_table():
    return Table(
        {
            "galaxy": np.array(["NGC0628", "NA", "nan", "null"], dtype=object),
            "x": np.array([-1, 0, 1, 2], dtype=np.int32),
            "flux": np.array([0.1, np.nan, -3e-300, 1e300]),
        },
        units={"flux": "mJy"},
        meta={"code": "abc", "exclusions": [["a", "", "global", "fit_sed", "why"]]},
    )


def test_parquet_keeps_values_types_units_and_meta(tmp_path):
    path = tmp_path / "table.parquet"
    table = sample_table()
    tables.write_table(path, table)
    back = tables.read_table(path, required=("galaxy", "x"))
    assert list(back) == ["galaxy", "x", "flux"]
    assert list(back["galaxy"]) == list(table["galaxy"])
    assert back["x"].dtype == np.int32
    np.testing.assert_array_equal(back["x"], table["x"])
    np.testing.assert_array_equal(back["flux"], table["flux"])
    assert back.units == table.units
    assert back.meta == table.meta
    assert back.n_rows == 4


def test_equal_tables_have_equal_bytes_without_host_time_or_path(tmp_path, monkeypatch):
    first, second = tmp_path / "a" / "table.parquet", tmp_path / "elsewhere" / "table.parquet"
    tables.write_table(first, sample_table())
    monkeypatch.setattr(socket, "gethostname", lambda: "another-host")
    monkeypatch.setattr(os, "getpid", lambda: 4242)
    tables.write_table(second, sample_table())
    content = first.read_bytes()
    assert second.read_bytes() == content
    monkeypatch.undo()
    for private in (socket.gethostname(), str(tmp_path), str(os.getpid()) + ".tmp"):
        assert private.encode() not in content


def test_the_order_of_meta_does_not_change_the_bytes(tmp_path):
    for name, meta in (("a", {"p": 1, "q": 2}), ("b", {"q": 2, "p": 1})):
        tables.write_table(tmp_path / f"{name}.parquet", {"x": [1.0]}, meta=meta)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_csv_floats_come_back_bit_for_bit(tmp_path):
    path = tmp_path / "table.csv"
    rng = np.random.default_rng(1)
    values = np.concatenate([AWKWARD, rng.normal(size=500) * 10.0 ** rng.integers(-300, 300, 500)])
    tables.write_table(path, {"value": values, "index": np.arange(len(values))})
    for table in (
        tables.read_table(path)["value"],
        np.array([float(row["value"]) for row in tables.read_csv(path)]),
    ):
        assert table.tobytes() == values.tobytes()
    assert tables.read_table(path)["index"].dtype == np.int64


def test_csv_keeps_missing_numbers_missing_and_names_as_they_are(tmp_path):
    path = tmp_path / "table.csv"
    tables.write_table(path, sample_table())
    assert path.read_text().splitlines()[2] == "NA,0,"
    back = tables.read_table(path)
    assert list(back["galaxy"]) == ["NGC0628", "NA", "nan", "null"]
    np.testing.assert_array_equal(back["flux"], sample_table()["flux"])
    # A field that is missing everywhere is NaN, not text.
    tables.write_table(path, {"galaxy": ["NA"], "flux": [np.nan]})
    back = tables.read_table(path)
    assert list(back["galaxy"]) == ["NA"]
    assert np.isnan(back["flux"]).all()


@pytest.mark.parametrize("name", ["1234", "007", "true", "2020-01-01", "1e5", "inf", "NA", "nan"])
def test_galaxies_are_text_whatever_they_look_like(tmp_path, name):
    path = tmp_path / "folds.csv"
    tables.write_table(path, {"galaxy": [name], "id": [f"{name}"], "fold": [0]})
    back = tables.read_table(path)
    assert list(back["galaxy"]) == [name]
    assert list(back["id"]) == [name]
    assert back["fold"].dtype == np.int64


def test_an_empty_table_keeps_its_columns_and_its_reason(tmp_path):
    path = tmp_path / "empty.parquet"
    columns = {"galaxy": np.array([], dtype=object), "flux": np.array([])}
    tables.write_table(path, columns, meta={"reason": "no image"})
    back = tables.read_table(path, required=("galaxy", "flux"))
    assert back.n_rows == 0
    assert back.meta == {"reason": "no image"}
    tables.write_table(tmp_path / "empty.csv", columns)
    back = tables.read_table(tmp_path / "empty.csv", required=("galaxy", "flux"))
    assert back.n_rows == 0
    assert back["galaxy"].dtype == object


def test_rows_and_stack_keep_units_and_meta():
    table = sample_table()
    some = table.rows(np.array([True, False, False, True]))
    assert list(some["galaxy"]) == ["NGC0628", "null"]
    assert some.units == table.units
    both = tables.stack_tables([Table(), some, table])
    assert both.n_rows == 6
    assert list(both["x"]) == [-1, 2, -1, 0, 1, 2]
    assert both.meta == table.meta
    assert tables.stack_tables([]).n_rows == 0
    none = table.rows(np.zeros(4, dtype=bool))
    assert list(tables.stack_tables([Table(), none, none])) == list(table)


def test_rows_by_id():
    table = Table({"id": np.array(["a", "b", "c"], dtype=object), "x": np.arange(3)})
    assert list(tables.places(table["id"], ["c", "z", "a"])) == [2, -1, 0]
    assert list(tables.aligned(table, ["c", "a"], "the fit")["x"]) == [2, 0]
    with pytest.raises(DataError, match="the fit lacks z: make it anew"):
        tables.aligned(table, ["a", "z"], "the fit")
    assert tables.aligned(Table(), [], "the fit").n_rows == 0
    with pytest.raises(DataError, match="the fit lacks a"):
        tables.aligned(Table(), ["a"], "the fit")


def test_parts_are_the_whole(tmp_path):
    table = sample_table()
    path = tmp_path / "t.parquet"
    tables.write_table(path, table)
    parts = list(tables.read_parts(path, 3))
    assert [part.n_rows for part in parts] == [3, 1]
    assert all(part.units == table.units and part.meta == table.meta for part in parts)
    again = tmp_path / "again.parquet"
    tables.write_parts(again, iter(parts), meta={"whole": True})
    whole, back = tables.read_table(path), tables.read_table(again)
    assert list(back) == list(whole)
    for name in whole:
        np.testing.assert_array_equal(back[name], whole[name])
    assert back.units == table.units
    assert back.meta == {"whole": True}


def test_parts_of_an_empty_table_are_one(tmp_path):
    table = sample_table()
    path = tmp_path / "t.parquet"
    tables.write_table(path, table.rows(np.zeros(4, dtype=bool)))
    (part,) = tables.read_parts(path, 3)
    assert list(part) == list(table)
    assert part.n_rows == 0


def test_parts_of_what_is_no_table_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        next(tables.read_parts(tmp_path / "none.parquet", 3))
    (tmp_path / "bad.parquet").write_text("no table")
    with pytest.raises(DataError, match=r"bad.parquet cannot be read .* run again"):
        next(tables.read_parts(tmp_path / "bad.parquet", 3))


def test_exclusions_are_collected_once(tmp_path):
    one, two = tmp_path / "1.parquet", tmp_path / "2.parquet"
    row = ["NGC1", "", "global", "fit_sed", "why"]
    tables.write_table(one, {"a": [1.0]}, meta={"exclusions": [row]})
    tables.write_table(two, {"a": [1.0]}, meta={"exclusions": [row, ["NGC2", *row[1:]]]})
    found = tables.collect_exclusions([one, two])
    assert found == [tuple(row), ("NGC2", *row[1:])]


def test_rows_are_written_from_dictionaries_and_sequences(tmp_path):
    path = tmp_path / "rows.csv"
    rows = [{"b": 1.0, "a": "x,y"}, {"b": float("nan"), "a": None}, ["z", 0.1]]
    tables.write_rows(path, rows, ("a", "b"))
    assert path.read_bytes() == b'a,b\n"x,y",1.0\n,\nz,0.1\n'
    assert tables.read_csv(path)[0] == {"a": "x,y", "b": "1.0"}


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist: check the name, or run the rule that makes it"),
        ("", "is empty: a header line with column names is needed"),
        ("# only a comment\n", "is empty"),
        ("a,b\n1,2\n3\n", "row 3: 1 fields where the header names 2: is the file cut short"),
        ("a,b\n1,2,3\n", "row 2: 3 fields where the header names 2"),
        ("a,b,a\n1,2,3\n", "has the column a twice: rename or remove one"),
        ("a,b\n1,2\n", "lacks the column c: it has a, b"),
        (b"\xff\xfe\x00a,b\n", "is not a text table"),
    ],
)
def test_refused_text_tables(tmp_path, content, message):
    path = tmp_path / "table.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=re.escape(message)) as fault:
        tables.read_csv(path, required=("a", "c") if "lacks" in message else ("a",))
    assert str(path) in one_sentence(fault)


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(DataError, match="is not a text table") as fault:
        tables.read_csv(tmp_path)
    one_sentence(fault)


def test_comments_blank_lines_and_byte_order_marks_are_passed_over(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xef\xbb\xbf# one\na , b\n# two\n\n 1,2 \r\n")
    assert tables.read_csv(path, required=("a",)) == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
@pytest.mark.parametrize("kind", ["missing", "empty", "garbage", "cut", "column"])
def test_refused_tables(tmp_path, name, kind):
    path = tmp_path / name
    tables.write_table(path, {"a": np.arange(50.0), "b": [f"name{k}" for k in range(50)]})
    message = {"missing": "does not exist", "column": "lacks the column c: it has a, b"}
    if kind == "missing":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "garbage":
        path.write_bytes(bytes(range(256)) * 3)
    elif kind == "cut":
        # A text table can only be seen to be cut within a row.
        path.write_bytes(path.read_bytes()[:-3] if path.suffix == ".parquet" else b"a,b\n1,x\n2")
    with pytest.raises(DataError, match=message.get(kind, "cannot be read")) as fault:
        tables.read_table(path, required=("a", "c") if kind == "column" else ("a",))
    assert name in one_sentence(fault)


def test_damage_in_the_middle_of_a_parquet_table_is_not_taken(tmp_path):
    path = tmp_path / "table.parquet"
    tables.write_table(path, {"a": np.random.default_rng(0).normal(size=5000)})
    content = bytearray(path.read_bytes())
    content[200:20000] = bytes(19800)
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="cannot be read"):
        tables.read_table(path)
