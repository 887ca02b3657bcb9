"""CIGALE's input tables: single blanks, empty fields, refusals."""

import re

import astropy.table
import astropy.units
import numpy as np
import pytest

from dustcast.sed.cigale import read_input, read_results, write_results
from dustcast.tables import DataError, Table

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
    "lines",
    [
        ["id   redshift  FUV  FUV_err", "a    0         1    2", "bbb  0.01      3    4"],
        ["id\tredshift\tFUV\tFUV_err", "a\t0\t1\t2", "bbb\t0.01\t3\t4"],
        ["id,redshift,FUV,FUV_err", "a, 0,1,2", "bbb,0.01,3,4"],
        ["# by hand", "# id redshift FUV FUV_err", "a 0 1 2", "bbb 0.01 3 4"],
    ],
    ids=["aligned", "tabs", "commas", "header in a comment"],
)
def test_other_text_tables(read, lines):
    table = read(*lines)
    assert list(table["id"]) == ["a", "bbb"]
    np.testing.assert_array_equal(table["redshift"], [0, 0.01])
    np.testing.assert_array_equal(table["GALEX_FUV"], [1, 3])
    np.testing.assert_array_equal(table["GALEX_FUV_err"], [2, 4])
    assert table.meta["names"] == {"GALEX_FUV": "FUV"}


def test_commas_enclose_a_missing_flux(read):
    table = read("id,redshift,FUV,FUV_err", "a,0,,", "b,0,1,2")
    np.testing.assert_array_equal(table["GALEX_FUV"], [np.nan, 1])


@pytest.mark.parametrize(("suffix", "kind"), [("fits", "fits"), ("xml", "votable")])
def test_fits_and_votable(tmp_path, suffix, kind):
    flux = np.ma.array([1.5, 2.5, -9999.0], mask=[False, True, False])
    columns = {
        "id": ["a", "bb", "3"],
        "redshift": [0, 0, 1],
        "distance": [1.0, 2.0, 3.0],
        "sloan.sdss.r": flux,
        "sloan.sdss.r_err": np.ma.array([0.1, 0.2, 0.3], mask=[False, True, False]),
    }
    path = tmp_path / f"input.{suffix}"
    astropy.table.Table(columns).write(path, format=kind)
    table = read_input(path)
    assert list(table["id"]) == ["a", "bb", "3"]
    np.testing.assert_array_equal(table["redshift"], [0, 0, 1])
    np.testing.assert_array_equal(table["SDSS_r"], [1.5, np.nan, np.nan])
    np.testing.assert_array_equal(table["SDSS_r_err"][:1], [0.1])
    np.testing.assert_array_equal(table["distance"], [1, 2, 3])


@pytest.mark.parametrize("name", ["input.fits", "input.vot"])
def test_faulty_binary_tables(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(DataError, match="does not exist: check data_file"):
        read_input(path, key="data_file")
    path.write_text("no table")
    with pytest.raises(DataError, match="cannot be read as") as fault:
        read_input(path)
    assert "\n" not in str(fault.value)
    path.unlink()
    kind = "fits" if name.endswith("fits") else "votable"
    astropy.table.Table({"name": ["a"], "redshift": [0.0]}).write(path, format=kind)
    with pytest.raises(DataError, match="the first column is 'name'"):
        read_input(path)


def test_results_are_written_as_cigale_does_and_come_back(tmp_path):
    table = Table(
        {
            "id": np.array(["NGC1", "b"], dtype=object),
            "bayes.dust.mass": np.array([1.234567890123e36, np.nan]),
            "bayes.sfh.sfr_err": np.array([0.5, 1e-16]),
        },
        units={"bayes.dust.mass": "kg", "bayes.sfh.sfr_err": "solMass / yr"},
    )
    write_results(tmp_path / "results", table)
    for suffix in ("fits", "txt"):
        back = read_results(tmp_path / f"results.{suffix}")
        assert list(back["id"]) == ["NGC1", "b"]
        for name in list(table)[1:]:
            np.testing.assert_array_equal(back[name], table[name])
    units = astropy.table.Table.read(tmp_path / "results.fits")
    assert units["bayes.dust.mass"].unit == astropy.units.kg
    assert units["bayes.sfh.sfr_err"].unit == astropy.units.solMass / astropy.units.yr
    text = (tmp_path / "results.txt").read_text().splitlines()
    assert text[0].split() == list(table)
    assert not list(tmp_path.glob(".*"))


def test_no_results_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(DataError, match="does not exist: run pcigale first"):
        read_results(tmp_path / "results.fits")
    (tmp_path / "results.fits").write_text("none")
    with pytest.raises(DataError, match="is no table of results"):
        read_results(tmp_path / "results.fits")
    (tmp_path / "results.txt").write_text("name a\nx 1\n")
    with pytest.raises(DataError, match="has no column id"):
        read_results(tmp_path / "results.txt")


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
        ([HEADER, "a 0 1 2  3 4", "b 0   3 4"], "the row of 'a' has 7 fields, the header 6"),
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
