"""Learning on real galaxies: features of CIGALE's own short fits, the official results as truth.

    pytest -m science tests/science/test_learning_dustpedia.py

The data are public and named in docs; DUSTCAST_DATA is the folder that holds them.
"""

import csv
import gzip

import numpy as np
import pytest

from dustcast.learning import experiments as ex
from dustcast.learning import features as ft
from dustcast.learning import metrics as mt
from dustcast.learning.folds import split_folds
from dustcast.tables import Table

pytestmark = pytest.mark.science

BANDS = {
    "GALEX_FUV": "FUV",
    "GALEX_NUV": "NUV",
    "SDSS_u": "u_prime",
    "SDSS_g": "g_prime",
    "SDSS_r": "r_prime",
    "SDSS_i": "i_prime",
    "SDSS_z": "z_prime",
    "2MASS_J": "J_2mass",
    "2MASS_H": "H_2mass",
    "2MASS_Ks": "Ks_2mass",
    "WISE_3.4": "WISE1",
    "WISE_4.6": "WISE2",
    "WISE_12": "WISE3",
    "WISE_22": "WISE4",
    "Spitzer_3.6": "IRAC1",
    "Spitzer_4.5": "IRAC2",
    "Spitzer_5.8": "IRAC3",
    "Spitzer_8.0": "IRAC4",
}
WISE = ["WISE_3.4", "WISE_4.6", "WISE_12", "WISE_22"]
SEEDS = range(123, 128)


def rows_of(path, **options):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="") as handle:
        return list(csv.DictReader(handle, **options))


def number(text):
    return float(text) if text else np.nan


@pytest.fixture(scope="module")
def tables(data):
    """Return short fit, photometry and truth of the 714 galaxies, in the order of the fit."""
    fit = rows_of(data / "cigale/short/results.txt.gz", delimiter=" ")
    # Blanks matter: an empty field is a missing flux.
    observed = rows_of(data / "cigale/short/dustpedia_fluxes_short.mag", delimiter=" ")
    folder = data / "dustpedia"
    official = rows_of(folder / "dustpedia_cigale_results_final_version.csv")
    catalogue = rows_of(folder / "DustPedia_HyperLEDA_Herschel.csv")
    apertures = rows_of(folder / "CAAPR_Aperture_Table.csv")
    by_name = {row["objname"]: row for row in catalogue}
    ratio = {row["name"]: float(row["axial_ratio"]) for row in apertures}
    observed = {row["id"]: row for row in observed}
    official = {row["id"]: row for row in official}
    fit = [row for row in fit if row["id"] in official]

    names = [row["id"] for row in fit]
    sample_id = np.array(names, dtype=object)
    short = Table({"id": sample_id})
    photometry = Table({"id": sample_id, "galaxy": sample_id})
    photometry["scale"] = np.full(len(names), "global", dtype=object)
    photometry["distance"] = np.array([float(by_name[name]["dist_best"]) for name in names])
    d25 = 60 * np.array([float(by_name[name]["d25"]) for name in names])
    photometry["pixel_scale_pc"] = d25 / 206265 * photometry["distance"] * 1e6
    photometry["area_arcsec2"] = np.pi / 4 * d25**2 / np.array([ratio[name] for name in names])
    for band, cigale in BANDS.items():
        short[f"bayes.{band}"] = np.array([float(row[f"bayes.{cigale}"]) for row in fit])
        for end in ("", "_err"):
            column = [number(observed[name][cigale + end]) for name in names]
            photometry[band + end] = np.array(column)
    value = {
        key: np.array([float(official[name][key]) for name in names])
        for key in ("Ldust__Lsol", "Lbolo__Lsol", "Mdust__Msol", "Mstar__Msol", "Tdust__K")
    }
    truth = Table(
        {
            "id": sample_id,
            "sLd": np.log10(value["Ldust__Lsol"] / value["Lbolo__Lsol"]),
            "sMd": np.log10(value["Mdust__Msol"] / value["Mstar__Msol"]),
            "Td": value["Tdust__K"],
        }
    )
    return short, photometry, truth


def measure(tables, regressor, *, w1="surface_brightness", seeds=SEEDS, **experiment):
    """Return RMSE and chi2 of the three targets, mean over fold seeds."""
    short, photometry, truth = tables
    features = ft.build_features(
        short, None, photometry, list(BANDS), observed=True, w1=w1, truth=truth
    )
    assert features.n_rows == 714
    features, names = ex.select_features(features, experiment)
    rows = []
    for seed in seeds:
        folds = split_folds(features["galaxy"], seed=seed)
        result = ex.cross_validate(features, folds, regressor, seed=seed, feature_names=names)
        metrics = mt.metrics_table(result)
        assert metrics["target"].tolist() == ["sLd", "sMd", "Td"]
        rows.append([metrics["rmse"], metrics["chi2"]])
        print(regressor, w1, experiment, seed, *np.round(np.ravel(rows[-1]), 3))
    return np.mean(rows, axis=0)


@pytest.mark.parametrize("w1", ["surface_brightness", "luminosity"])
def test_random_forest_on_the_features_of_the_paper(tables, w1):
    rmse, chi2 = measure(tables, "random_forest", w1=w1)
    assert (rmse <= [0.185, 0.370, 3.70]).all(), rmse
    assert (np.abs(chi2 - 1) <= 0.15).all(), chi2


def test_random_forest_with_observed_fluxes_and_errors(tables):
    rmse, chi2 = measure(tables, "random_forest", observed=True)
    assert (rmse <= [0.185, 0.360, 3.45]).all(), rmse
    assert (np.abs(chi2 - 1) <= 0.15).all(), chi2


def test_ensemble_is_better_than_the_forest(tables):
    forest, _ = measure(tables, "random_forest", seeds=[123])
    rmse, chi2 = measure(tables, "ensemble", seeds=[123])
    assert (rmse < forest).all(), (rmse, forest)
    assert (rmse <= [0.178, 0.350, 3.50]).all(), rmse
    assert (np.abs(chi2 - 1) <= 0.15).all(), chi2


def test_without_wise_predictions_are_worse(tables):
    options = {"drop_bands": WISE, "reference": "Spitzer_3.6"}
    without, _ = measure(tables, "svr", **options)
    rmse, _ = measure(tables, "svr")
    assert (without > rmse).all(), (without, rmse)
