"""The photometry table of whole galaxies: who takes part, and what is refused."""

import numpy as np
import pytest

from dustcast.photometry import KEY_COLUMNS, global_photometry
from dustcast.sample import Galaxy
from dustcast.tables import DataError, Table

BANDS = ["GALEX_FUV", "WISE_3.4", "PACS_100"]
INPUT = ["GALEX_FUV", "WISE_3.4"]
NAN = float("nan")


def galaxies(*names):
    return {
        name: Galaxy(name, 10.0 + k, -k, 8.0 + k, 0.001 * k, 60.0, 0.5, 10.0, 3.0, "test")
        for k, name in enumerate(names)
    }


def fluxes(rows):
    """Return a table of (name, FUV, error, W1, error, PACS, error)."""
    columns = {"galaxy": np.array([row[0] for row in rows], dtype=object)}
    for k, band in enumerate(BANDS):
        columns[band] = np.array([row[1 + 2 * k] for row in rows])
        columns[f"{band}_err"] = np.array([row[2 + 2 * k] for row in rows])
    return Table(columns)


def make(rows, names):
    return global_photometry(fluxes(rows), galaxies(*names), BANDS, input_bands=INPUT)


def test_columns_keys_and_units():
    table = make([("B", 1.0, 0.1, 2.0, 0.2, 3.0, 0.3)], ["A", "B"])
    assert list(table) == [*KEY_COLUMNS, *[n for band in BANDS for n in (band, f"{band}_err")]]
    row = {name: column[0] for name, column in table.items()}
    assert row["id"] == "B/global"
    assert (row["galaxy"], row["scale"], row["x"], row["y"]) == ("B", "global", -1, -1)
    assert table["x"].dtype == np.int32
    assert (row["ra"], row["dec"], row["distance"], row["redshift"]) == (11.0, -1.0, 9.0, 0.001)
    assert row["pixel_scale_pc"] == pytest.approx(60 * np.pi / 648000 * 9e6)
    assert row["area_arcsec2"] == pytest.approx(np.pi / 4 * 60 * 30)
    assert np.isnan(row["r_r25"])
    assert [row[name] for name in list(table)[len(KEY_COLUMNS) :]] == [1.0, 0.1, 2.0, 0.2, 3.0, 0.3]
    assert table.units["WISE_3.4_err"] == "mJy"
    assert table.units["distance"] == "Mpc"


def test_a_galaxy_without_any_input_band_is_left_out_with_its_reason():
    table = make(
        [
            ("A", NAN, NAN, NAN, NAN, 3.0, 0.3),
            ("B", 1.0, 0.1, NAN, NAN, NAN, NAN),  # a missing W1 is no reason
            ("C", NAN, NAN, 2.0, 0.2, NAN, NAN),
            ("D", NAN, NAN, 2.0, NAN, 3.0, 0.3),  # a flux without an error is none
            ("E", NAN, 0.1, 2.0, 0.0, 3.0, 0.3),
        ],
        "ABCDE",
    )
    assert list(table["galaxy"]) == ["B", "C"]
    assert np.isnan(table["WISE_3.4"][0])
    reason = ["", "global", "photometry", "no flux in an input band"]
    assert table.meta["exclusions"] == [[name, *reason] for name in "ADE"]


def test_flux_and_error_are_missing_together():
    table = make(
        [
            ("A", 1.0, NAN, 2.0, 0.2, NAN, 0.3),
            ("B", 1.0, 0.0, 2.0, 0.2, -3.0, 0.3),
            ("C", 1.0, -0.5, NAN, NAN, 0.0, 0.3),
        ],
        "ABC",
    )
    np.testing.assert_array_equal(table["GALEX_FUV"], [NAN, NAN, 1.0])
    np.testing.assert_array_equal(table["GALEX_FUV_err"], [NAN, NAN, -0.5])  # an upper limit
    np.testing.assert_array_equal(table["PACS_100"], [NAN, -3.0, 0.0])
    np.testing.assert_array_equal(table["PACS_100_err"], [NAN, 0.3, 0.3])


def test_strangers_and_absentees_are_listed():
    table = make(
        [("X", 1.0, 0.1, 1.0, 0.1, 1.0, 0.1), ("B", 1.0, 0.1, 1.0, 0.1, 1.0, 0.1)], ["A", "B"]
    )
    assert list(table["galaxy"]) == ["B"]
    assert table.meta["exclusions"] == [
        ["X", "", "global", "photometry", "not in the catalogue of the run"],
        ["A", "", "global", "photometry", "not in the table of fluxes"],
    ]


def test_rows_keep_the_order_of_the_fluxes():
    rows = [(name, 1.0, 0.1, 1.0, 0.1, 1.0, 0.1) for name in "CAB"]
    table = make(rows, "ABC")
    assert list(table["galaxy"]) == list("CAB")
    np.testing.assert_array_equal(table["distance"], [10.0, 8.0, 9.0])


def test_a_band_that_the_table_lacks_is_missing():
    some = fluxes([("A", 1.0, 0.1, 2.0, 0.2, 3.0, 0.3)])
    del some["PACS_100"]
    table = global_photometry(some, galaxies("A"), BANDS, input_bands=INPUT)
    assert np.isnan(table["PACS_100"][0])
    assert np.isnan(table["PACS_100_err"][0])


def test_no_galaxy_at_all_is_an_empty_table():
    table = make([("X", 1.0, 0.1, 1.0, 0.1, 1.0, 0.1)], ["A"])
    assert table.n_rows == 0
    assert list(table)[:2] == ["id", "galaxy"]


@pytest.mark.parametrize("column", range(1, 7))
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinities_are_refused(column, value):
    row = ["B", 1.0, 0.1, 2.0, 0.2, 3.0, 0.3]
    row[column] = value
    band = BANDS[(column - 1) // 2]
    with pytest.raises(DataError, match=f"has an infinite {band} for B: leave the field empty"):
        make([("A", 1.0, 0.1, 2.0, 0.2, 3.0, 0.3), tuple(row)], "AB")


def test_duplicates_are_refused():
    row = ("A", 1.0, 0.1, 2.0, 0.2, 3.0, 0.3)
    with pytest.raises(DataError, match=r"^the photometry has A twice: remove one row$"):
        make([row, row], "A")
