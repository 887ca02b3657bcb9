"""Own results against published ones: units, subsets, offsets by hand."""

import gzip
import re

import numpy as np
import pytest

from dustcast.sed.parity import compare, compare_fluxes, offset_and_rms, read_official
from dustcast.tables import DataError, Table, write_rows

HEADER = ("id", "red_chi2", "Ldust__Lsol", "Mdust__Msol", "Tdust__K", "Mstar__Msol",
          "SFR__Msol_per_yr")  # fmt: skip
OFFICIAL = [
    ("A", 0.5, 1e9, 1e7, 18.3, 1e10, 1.0),
    ("B", 3.5, 1e9, 1e7, 20.0, 1e10, 1.0),
    ("C", 0.5, 1e9, 1e7, 30.0, 1e10, 1.0),
    ("N", "nan", "nan", "nan", "nan", "nan", "nan"),
    ("Z", 0.5, 0.0, 1e7, 20.0, 1e10, 1.0),
]
SUN_W, SUN_KG = 3.828e26, 1.98841e30


def own(names, chi2, **factors):
    """Return a fit that equals the official values of A but for factors."""
    count = len(names)
    values = {
        "bayes.dust.luminosity": 1e9 * SUN_W,
        "bayes.dust.mass": 1e7 * SUN_KG,
        "bayes.dust.umin": 1.0,
        "bayes.stellar.m_star": 1e10,
        "bayes.sfh.sfr": 1.0,
    }
    columns = {
        name: value * np.asarray(factors.get(name.split(".")[-1], np.ones(count)), dtype=float)
        for name, value in values.items()
    }
    columns["galaxy"] = np.array(names, dtype=object)
    columns["best.reduced_chi_square"] = np.array(chi2, dtype=float)
    return Table(columns)


@pytest.fixture
def official(tmp_path):
    write_rows(tmp_path / "official.csv", OFFICIAL, HEADER)
    return tmp_path / "official.csv"


def rows_of(table):
    return {
        (str(q), str(s)): (int(n), float(offset), float(rms))
        for q, s, n, offset, rms in zip(*(table[name] for name in table))
    }


def test_offsets_and_subsets_by_hand(official):
    fit = own(["A", "B", "C"], [1.0, 1.0, 5.0], luminosity=[10**0.1, 10**0.3, 10**-0.2])
    values, statistics = compare(fit, official)
    assert list(statistics) == ["quantity", "subset", "n", "median_offset", "rms"]
    found = rows_of(statistics)
    assert len(found) == 10
    n, offset, rms = found["log_Ldust", "all"]
    assert n == 3
    assert offset == pytest.approx(0.1, abs=1e-12)
    assert rms == pytest.approx(np.sqrt((0.01 + 0.09 + 0.04) / 3), abs=1e-12)
    # B fails by the official chi2, C by our own.
    assert found["log_Ldust", "chi2_below_3"] == (1, pytest.approx(0.1), pytest.approx(0.1))
    for quantity in ("log_Mdust", "log_Mstar", "log_SFR"):
        # Constants of nature differ by 2e-6 between this test and the library at most.
        assert found[quantity, "all"] == (3, pytest.approx(0, abs=2e-6), pytest.approx(0, abs=2e-6))
    at = (values["quantity"] == "log_Ldust") & (values["galaxy"] == "B")
    assert values["own"][at] == pytest.approx(9.3)
    assert values["official"][at] == pytest.approx(9.0)
    assert values["reduced_chi2"][at] == 1.0


def test_temperature_is_that_of_the_mean_field(official):
    """T = 18.3 K U^(1/5.79): 18.3 K at 1, and at 50 that of a warm galaxy."""
    values, _ = compare(own(["A", "C"], [1, 1], umin=[1.0, 50.0]), official)
    warm = values["quantity"] == "Tdust"
    np.testing.assert_allclose(values["own"][warm], [18.3, 18.3 * 50 ** (1 / 5.79)], rtol=1e-12)
    np.testing.assert_allclose(values["official"][warm], [18.3, 30.0])


def test_missing_and_zero_values_and_strangers_take_no_part(official):
    fit = own(["A", "N", "Z", "unknown", "C"], [1] * 5, sfr=[1, 1, 1, 1, 0])
    values, statistics = compare(fit, official)
    found = rows_of(statistics)
    assert found["log_Ldust", "all"][0] == 2
    assert found["log_Mdust", "all"][0] == 3
    assert found["log_SFR", "all"][0] == 2
    assert np.isfinite(values["own"]).all()
    assert np.isfinite(values["official"]).all()


def test_no_galaxy_in_common_gives_empty_statistics(official):
    values, statistics = compare(own(["x"], [1]), official)
    assert values.n_rows == 0
    assert (statistics["n"] == 0).all()
    assert np.isnan(statistics["rms"]).all()


def test_offset_and_rms():
    assert offset_and_rms(np.array([3.0, -4.0])) == (2, -0.5, pytest.approx(np.sqrt(12.5)))
    count, offset, rms = offset_and_rms(np.array([]))
    assert count == 0
    assert np.isnan([offset, rms]).all()


def test_wrong_official_tables_are_refused(tmp_path):
    path = tmp_path / "official.csv"
    write_rows(path, [row[:-1] for row in OFFICIAL], HEADER[:-1])
    with pytest.raises(DataError, match="lacks the column SFR__Msol_per_yr"):
        read_official(path)
    write_rows(path, [("A", 0.5, "--", *OFFICIAL[0][3:])], HEADER)
    with pytest.raises(DataError, match="Ldust__Lsol of A is '--': a number is needed"):
        read_official(path)


# --- fluxes --------------------------------------------------------------------------------------

RESULTS = [
    "id bayes.sfh.sfr bayes.FUV bayes.FUV_err bayes.WISE1 bayes.WISE1_err best.FUV",
    "A 1 2.0 0.1 4.0 0.1 9",
    "B 1 2.0 0.1 4.0 0.1 9",
    "C 1 2.0 0.1 nan 0.1 9",
]


def test_fluxes_are_compared_about_their_median(tmp_path):
    path = tmp_path / "results.txt"
    path.write_text("\n".join(RESULTS) + "\n")
    fit = Table(
        {
            "galaxy": np.array(["C", "B", "A", "X"], dtype=object),
            "bayes.GALEX_FUV": 2.0 * 10 ** np.array([0.3, 0.1, 0.2, 5.0]),
            "bayes.WISE_3.4": np.array([4.0, 4.0, 0.0, 4.0]),
            "bayes.PACS_100": np.ones(4),
        }
    )
    found = rows_of(compare_fluxes(fit, path))
    assert set(found) == {("GALEX_FUV", "all"), ("WISE_3.4", "all")}
    n, offset, scatter = found["GALEX_FUV", "all"]
    assert n == 3
    assert offset == pytest.approx(0.2, abs=1e-12)
    assert scatter == pytest.approx(np.sqrt(0.02 / 3), abs=1e-12)
    assert found["WISE_3.4", "all"] == (1, pytest.approx(0), pytest.approx(0))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (None, "does not exist: run the rule that fetches it"),
        ([""], "is not a whole results table of CIGALE: fetch it anew"),
        (["# id bayes.FUV", "A 1"], "is not a whole results table"),
        ([*RESULTS[:-1], "C 1 2.0 0.1"], "is not a whole results table"),
    ],
)
def test_wrong_results_are_refused(tmp_path, lines, message):
    path = tmp_path / "results.txt"
    if lines is not None:
        path.write_text("\n".join(lines))
    fit = Table({"galaxy": np.array(["A"], dtype=object), "bayes.GALEX_FUV": np.ones(1)})
    with pytest.raises(DataError, match=re.escape(message)):
        compare_fluxes(fit, path)


# --- published tables ----------------------------------------------------------------------------


def test_the_published_results_agree_with_themselves(data, tmp_path):
    """CIGALE's own fluxes as ours: no offset; the official table as ours: no offset either."""
    packed = data / "cigale" / "short" / "results.txt.gz"
    path = tmp_path / "results.txt"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    header, *lines = path.read_text().splitlines()
    column = header.split(" ").index("bayes.u_prime")
    fit = Table(
        {
            "galaxy": np.array([line.split(" ")[0] for line in lines], dtype=object),
            "bayes.SDSS_u": np.array([float(line.split(" ")[column]) for line in lines]),
        }
    )
    found = rows_of(compare_fluxes(fit, path))
    assert found == {("SDSS_u", "all"): (len(lines), 0.0, 0.0)}

    table = data / "dustpedia" / "dustpedia_cigale_results_final_version.csv"
    rows = [row for row in read_official(table) if row["Umin"] != "nan"]
    assert len(rows) == 814
    number = {key: np.array([float(row[key]) for row in rows]) for key in rows[0] if key != "id"}
    mine = Table(
        {
            "galaxy": np.array([row["id"] for row in rows], dtype=object),
            "bayes.dust.luminosity": number["Ldust__Lsol"] * SUN_W,
            "bayes.dust.mass": number["Mdust__Msol"] * SUN_KG,
            "bayes.dust.umin": number["Umin"],
            "bayes.stellar.m_star": number["Mstar__Msol"],
            "bayes.sfh.sfr": number["SFR__Msol_per_yr"],
            "best.reduced_chi_square": number["red_chi2"],
        }
    )
    _, statistics = compare(mine, table)
    found = rows_of(statistics)
    assert found["Tdust", "all"][0] == 814
    # The official temperatures are that function of the official field, to their digits.
    assert found["Tdust", "all"][2] < 0.01
    for quantity in ("log_Ldust", "log_Mdust", "log_Mstar", "log_SFR"):
        assert found[quantity, "all"][2] < 2e-6, quantity
    good = int((number["red_chi2"] < 3).sum())
    assert found["Tdust", "chi2_below_3"][0] == good
