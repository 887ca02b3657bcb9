"""DustPedia's aperture photometry: units, flags, missing fields, refusals."""

import re
from pathlib import Path

import numpy as np
import pytest

from dustcast.archive.catalogue import read_photometry, read_population
from dustcast.bands import bands_of
from dustcast.sed.cigale import read_input
from dustcast.tables import DataError, read_csv

HEADER = "name,ra,WISE_3.4,WISE_3.4_err,WISE_3.4_flag,WISE_12,WISE_12_err,WISE_12_flag"
DOWNLOADS = Path(__file__).resolve().parents[2] / "config" / "downloads.csv"


@pytest.fixture
def read(tmp_path):
    def inner(*rows, header=HEADER, bands=("WISE_3.4", "WISE_12", "PACS_100")):
        path = tmp_path / "table.csv"
        path.write_text("\n".join([header, *rows]) + "\n")
        return read_photometry(path, list(bands))

    return inner


def test_fluxes_are_mjy_and_unknown_bands_are_left_out(read):
    table = read("NGC1,1.0,0.25,0.01,,-2e-3,1e-3,", "NA,2.0,,,,3,0.5,")
    assert list(table) == ["galaxy", "WISE_3.4", "WISE_3.4_err", "WISE_12", "WISE_12_err"]
    assert list(table["galaxy"]) == ["NGC1", "NA"]
    np.testing.assert_array_equal(table["WISE_3.4"], [250.0, np.nan])
    np.testing.assert_array_equal(table["WISE_3.4_err"], [10.0, np.nan])
    np.testing.assert_array_equal(table["WISE_12"], [-2.0, 3000.0])
    np.testing.assert_array_equal(table["WISE_12_err"], [1.0, 500.0])


def test_capital_flags_remove_a_flux_and_only_that(read):
    flags = ["", "c", "a", "e", "C", "A", "N", "ca", "cA", "c A"]
    table = read(*[f"G{k},1,0.25,0.01,{flag},1,1," for k, flag in enumerate(flags)])
    gone = [False] * 4 + [True] * 3 + [False, True, True]
    np.testing.assert_array_equal(np.isnan(table["WISE_3.4"]), gone)
    np.testing.assert_array_equal(np.isnan(table["WISE_3.4_err"]), gone)
    assert np.isfinite(table["WISE_12"]).all()


@pytest.mark.parametrize(
    ("row", "header", "message"),
    [
        ("NGC1,1,x,0.01,,1,1,", HEADER, "WISE_3.4 of NGC1 is 'x': a number is needed"),
        ("NGC1,1,1,--,,1,1,", HEADER, "WISE_3.4_err of NGC1 is '--': a number is needed"),
        ("NGC1,1,1,1", HEADER, "4 fields where the header names 8"),
        ("NGC1,1", "galaxy,WISE_12", "lacks the column name: it has galaxy, WISE_12"),
        ("NGC1,1", "name,WISE_12", "has the band WISE_12 without WISE_12_err: fetch it anew"),
    ],
)
def test_refusals_are_one_sentence(read, row, header, message):
    with pytest.raises(DataError, match=re.escape(message)) as fault:
        read(row, header=header)
    assert "\n" not in str(fault.value)


# The published input is the archive's table times one factor a band, the same for all galaxies:
# colour corrections, which the archive's fluxes do not hold.
COLOUR_CORRECTIONS = {
    "WISE_4.6": 1.01,
    "WISE_12": 1.05,
    "WISE_22": 1.01,
    "Spitzer_3.6": 0.99,
    "Spitzer_5.8": 0.99,
    "Spitzer_8.0": 0.98,
    "Spitzer_24": 1.03,
    "Spitzer_70": 1.07,
    "PACS_70": 1.01,
    "SPIRE_250": 0.99,
    "SPIRE_350": 0.99,
}


def test_the_archives_table_is_what_the_published_fits_used(data):
    """The same fluxes are missing, flagged ones among them; the others differ by a factor."""
    bands = bands_of("input", "target")
    table = read_photometry(data / "dustpedia" / "DustPedia_Aperture_Photometry_2.2.csv", bands)
    published = read_input(data / "cigale" / "full" / "dustpedia_fluxes_full.mag")
    assert len(table["galaxy"]) == 875
    row_of = {name: row for row, name in enumerate(table["galaxy"])}
    mine = np.array([name in row_of for name in published["id"]])
    rows = np.array([row_of[name] for name in published["id"][mine]])
    assert mine.sum() == 714
    for band in bands:
        ours, theirs = table[band][rows], published[band][mine]
        np.testing.assert_array_equal(np.isfinite(ours), np.isfinite(theirs), err_msg=band)
        ratio = (theirs / ours)[np.isfinite(ours) & (ours != 0)]
        # The published fluxes are rounded to four digits, faint ones to fewer.
        factor = COLOUR_CORRECTIONS.get(band, 1.0)
        assert np.median(ratio) == pytest.approx(factor, abs=1e-4), band
        assert np.quantile(np.abs(ratio / factor - 1), 0.95) < 2.5e-3, band


def test_the_list_of_downloads_is_whole():
    rows = read_csv(DOWNLOADS, required=("file", "group", "url", "sha256", "source"))
    names = [row["file"] for row in rows]
    assert len(set(names)) == len(names)
    for row in rows:
        assert re.fullmatch(r"[0-9a-f]{64}", row["sha256"]), row["file"]
        assert row["url"] == "" or re.match(r"https?://", row["url"]), row["file"]
        assert row["source"], row["file"]
        assert not Path(row["file"]).is_absolute()
        assert ".." not in Path(row["file"]).parts
    groups = {row["group"] for row in rows}
    assert groups == {"catalogue", "photometry", "official", "cigale", "themis", "filters"}
    assert sum(row["group"] == "themis" for row in rows) == 11


def test_population_has_fluxes_and_targets(tmp_path):
    (tmp_path / "p.csv").write_text(
        f"{HEADER}\nA,1,0.25,0.01,,1,1,\nB,1,0.5,0.01,,1,1,\nC,1,1,0.01,,1,1,\n"
    )
    (tmp_path / "o.csv").write_text(
        "id,Ldust__Lsol,Lbolo__Lsol,Mdust__Msol,Mstar__Msol,Umin\n"
        "C,1e9,1e10,1e7,1e10,1\nA,1e9,1e9,1e6,1e9,64\nB,,1e9,1e6,1e9,1\n"
    )
    table = read_population(tmp_path / "p.csv", tmp_path / "o.csv", ["WISE_3.4"])
    assert list(table["galaxy"]) == ["A", "C"]
    np.testing.assert_array_equal(table["WISE_3.4"], [250.0, 1000.0])
    np.testing.assert_allclose(table["sLd"], [0, -1], atol=1e-12)
    np.testing.assert_allclose(table["sMd"], [-3, -3])
    np.testing.assert_allclose(table["Td"], [18.3 * 64 ** (1 / 5.79), 18.3])


def test_population_of_dustpedia(data):
    folder = data / "dustpedia"
    table = read_population(
        folder / "DustPedia_Aperture_Photometry_2.2.csv",
        folder / "dustpedia_cigale_results_final_version.csv",
        ["WISE_3.4"],
    )
    assert table.n_rows == 814
    assert 12 < table["Td"].min() < table["Td"].max() < 40
