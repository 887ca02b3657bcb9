"""CIGALE's input tables: single blanks, empty fields, refusals."""

import re

import numpy as np
import pytest

from dustcast.sed.cigale import read_input
from dustcast.tables import DataError

HEADER = "id redshift FUV FUV_err WISE1 WISE1_err"


@pytest.fixture
def read(tmp_path):
    def inner(*lines, newline="\n"):
        path = tmp_path / "input.mag"
        path.write_bytes((newline.join(lines) + newline).encode())
        return read_input(path)

    return inner


def test_two_blanks_enclose_a_missing_flux(read):
    table = read(HEADER, "a 0   2.0 0.2", "b 0.01 1.0 0.1  ", "c 0    ")
    assert list(table) == [
        "id", "redshift", "GALEX_FUV", "GALEX_FUV_err", "WISE_3.4", "WISE_3.4_err",
    ]  # fmt: skip
    assert list(table["id"]) == ["a", "b", "c"]
    np.testing.assert_array_equal(table["redshift"], [0, 0.01, 0])
    np.testing.assert_array_equal(table["GALEX_FUV"], [np.nan, 1.0, np.nan])
    np.testing.assert_array_equal(table["GALEX_FUV_err"], [np.nan, 0.1, np.nan])
    np.testing.assert_array_equal(table["WISE_3.4"], [2.0, np.nan, np.nan])
    np.testing.assert_array_equal(table["WISE_3.4_err"], [0.2, np.nan, np.nan])


def test_blanks_at_the_end_may_be_stripped(read):
    table = read(HEADER, "a 0 1.0 0.1", "b 0")
    np.testing.assert_array_equal(table["GALEX_FUV"], [1.0, np.nan])
    np.testing.assert_array_equal(table["WISE_3.4"], [np.nan, np.nan])


@pytest.mark.parametrize("missing", ["-9999", "-9999.0", "-9.999e3", "nan", "-1e30"])
def test_cigales_missing_values(read, missing):
    table = read(HEADER, f"a 0 {missing} {missing} -9989 -0.5")
    assert np.isnan(table["GALEX_FUV"][0])
    assert np.isnan(table["GALEX_FUV_err"][0])
    # A negative flux is data, a negative error an upper limit.
    assert table["WISE_3.4"][0] == -9989
    assert table["WISE_3.4_err"][0] == -0.5


def test_names_of_every_generation_our_own_and_a_distance(read):
    table = read(
        "id redshift distance galex.NUV galex.NUV_err wise.W2 wise.W2_err PACS_100 PACS_100_err",
        "a 0 12.5 1 2 3 4 5 6",
    )
    assert {name: column[0] for name, column in table.items()} == {
        "id": "a", "redshift": 0, "distance": 12.5, "GALEX_NUV": 1, "GALEX_NUV_err": 2,
        "WISE_4.6": 3, "WISE_4.6_err": 4, "PACS_100": 5, "PACS_100_err": 6,
    }  # fmt: skip


def test_comments_empty_lines_and_other_line_ends(read):
    table = read("# made by hand", "", HEADER, "a 0 1 2 3 4", "", newline="\r\n")
    assert table["WISE_3.4_err"][0] == 4.0


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER], "holds no rows: a header line and one line a source are needed"),
        (["", ""], "holds no rows"),
        (
            ["name redshift FUV FUV_err", "a 0 1 2"],
            "the first column is 'name': CIGALE's tables be",
        ),
        ([HEADER.replace("WISE1", "WISE9"), "a 0 1 2 3 4"], "the column WISE9 is not a known band"),
        (["id redshift FUV", "a 0 1"], "the band FUV has no column FUV_err: add it"),
        (["id redshift FUV_err", "a 0 1"], "the column FUV_err has no band FUV: remove it"),
        ([HEADER, "a 0 1 2 3 4", "a 0 1 2 3 4"], "has the id a twice: remove one row"),
        (
            [HEADER, "a 0 1 2 3 4 5"],
            "the row of 'a' has 7 fields, the header 6: fields are separate",
        ),
        ([HEADER, "a 0 1 2  3 4"], "the row of 'a' has 7 fields, the header 6"),
        ([HEADER, "a 0 x 2 3 4"], "FUV of a is 'x': a number is needed"),
        ([HEADER, "a 0 inf 2 3 4"], "FUV of a is infinite: leave the field empty"),
        ([HEADER, "a 0 1 -inf 3 4"], "FUV_err of a is infinite: leave the field empty"),
        ([HEADER, "a\t0\t1 2 3"], r"the row of 'a\t0\t1' has 3 fields, the header 6"),
        ([HEADER, " a 0 1 2 3"], "the row of '' has 6 fields, the header 6"),
        (
            ["id redshift FUV FUV_err FUV FUV_err", "a 0 1 2 3 4"],
            "has GALEX_FUV twice, the second as FUV: remove one",
        ),
        (
            ["id redshift FUV FUV_err galex.FUV galex.FUV_err", "a 0 1 2 3 4"],
            "has GALEX_FUV twice, the second as galex.FUV: remove one",
        ),
    ],
)
def test_refusals_are_one_sentence(read, lines, message):
    with pytest.raises(DataError, match=re.escape(message)) as fault:
        read(*lines)
    assert "\n" not in str(fault.value)


def test_missing_and_unreadable_files(tmp_path):
    with pytest.raises(DataError, match=r"does not exist: check photometry\.table"):
        read_input(tmp_path / "none.mag")
    with pytest.raises(DataError, match="is not a text table"):
        read_input(tmp_path)
    (tmp_path / "binary.mag").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match="is not a text table"):
        read_input(tmp_path / "binary.mag")


@pytest.mark.parametrize(("kind", "n_rows"), [("full", 715), ("short", 716)])
def test_the_published_tables_read(data, kind, n_rows):
    """The short table has a row "fake" in which every band has a flux."""
    path = data / "cigale" / kind / f"dustpedia_fluxes_{kind}.mag"
    table = read_input(path)
    assert table.n_rows == n_rows
    bands = [name for name in table if not name.endswith("_err")][2:]
    assert len(bands) == 32
    if kind == "full":
        # 20 galaxies lack W1, and the first line is known from the file.
        assert np.isnan(table["WISE_3.4"]).sum() == 20
        assert table["id"][0] == "NGC5358"
        assert table["GALEX_FUV"][0] == 0.295
        assert table["SPIRE_250"][0] == 140.3
        assert np.isnan(table["Spitzer_160"][0])
        assert table["PACS_70"][0] == 358.5
        assert np.isnan(table["PACS_100"][0])
        assert table["IRAS_100_err"][0] == 123.1
    counts = sum(np.isfinite(table[band]).sum() for band in bands)
    fields = [line.split(" ") for line in path.read_text().splitlines()[1:]]
    assert counts == sum(bool(field) for row in fields for field in row[2::2])
