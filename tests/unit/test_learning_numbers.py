"""The paper's numbers, each against sums by hand over a small run."""

import csv
import math

import numpy as np
import pytest

from dustcast.config import REPOSITORY
from dustcast.learning import numbers
from dustcast.learning.numbers import FUNCTIONS, Run, Unavailable, paper_table, profiles
from dustcast.learning.selections import selection_metrics
from dustcast.tables import DataError, Table, read_csv
from dustcast.units import SOLAR_MASS_KG

LIST = REPOSITORY / "resources" / "paper_numbers.csv"


@pytest.fixture
def run():
    rng = np.random.default_rng(4)
    rows, photometry = [], []
    for number in range(8):
        for scale in ("18arcsec", "400pc", "global"):
            for k in range(1 if scale == "global" else 4 + number):
                key = f"G{number}/global" if scale == "global" else f"G{number}/{scale}/{k}_0"
                photometry.append((key, rng.uniform(0, 1), 1.0))
                noise = rng.normal()
                for target, size in (("sLd", 0.1), ("sMd", 0.3), ("Td", -3.0)):
                    truth = rng.normal(25, 5) if target == "Td" else rng.normal(-2, 0.5)
                    error = size * (0.8 * noise + 0.6 * rng.normal())
                    rows.append(
                        (key, f"G{number}", scale, number % 4, target, truth, truth + error)
                    )
    names = ("id", "galaxy", "scale", "fold", "target", "truth", "prediction")
    columns = {name: np.array(c, object) for name, c in zip(names, zip(*rows))}
    n = len(rows)
    columns |= {name: columns[name].astype(float) for name in ("truth", "prediction")}
    columns |= {"fold": columns["fold"].astype(int), "sigma": rng.uniform(0.2, 0.5, n)}
    columns["regressor"] = np.full(n, "linear", object)
    ids, radius, flux = (np.array(c, object) for c in zip(*photometry))
    flux = np.array([10.0 if key.endswith("global") else 1.0 for key in ids])
    fit = {"id": ids, "bayes.stellar.m_star": rng.uniform(1, 2, len(ids))}
    fit |= {"bayes.dust.mass": SOLAR_MASS_KG * rng.uniform(0.005, 0.02, len(ids))}
    table = Table(columns)
    return Run(
        table,
        {
            "fiducial": selection_metrics(
                table, named=["G1"], nearby=[], shared=["18arcsec", "400pc"], n_bootstrap=100
            )
        },
        experiment="fiducial",
        scale="18arcsec",
        galaxies=Table(
            {"distance": np.arange(8) * 5.0 + 2, "d25_arcsec": np.full(8, 206.26480624709636)}
        ),
        photometry=Table({"id": ids, "r_r25": radius.astype(float), "WISE_3.4": flux}),
        features=Table(
            {"id": ids, "c_WISE_22": rng.normal(size=len(ids)), "c_WISE_4.6": np.zeros(len(ids))}
        ),
        short=Table(fit),
        full=Table(fit),
        names={"first": "G1", "second": ""},
        n_bootstrap=400,
    )


def rows_of(run, target, scale="18arcsec"):
    """Yield galaxy, truth, prediction, sigma, id of each sample, by plain loops."""
    table = run.predictions
    for k in range(table.n_rows):
        if table["target"][k] == target and table["scale"][k] == scale:
            yield tuple(table[name][k] for name in ("galaxy", "truth", "prediction", "sigma", "id"))


def by_galaxy(run, target):
    found = {}
    for row in rows_of(run, target):
        found.setdefault(row[0], []).append(row[1:])
    return found


def test_metric_is_the_mean_over_galaxies_of_means(run):
    value, error = numbers.metric(run, "rmse", "sMd")
    means = [np.mean([(p - t) ** 2 for t, p, *_ in r]) for r in by_galaxy(run, "sMd").values()]
    assert value == pytest.approx(math.sqrt(np.mean(means)))
    assert 0 < error < value
    one, _ = numbers.metric(run, "me", "sMd", selection="first")
    assert one == pytest.approx(np.mean([p - t for t, p, *_ in by_galaxy(run, "sMd")["G1"]]))
    with pytest.raises(Unavailable, match="no experiment no_wise"):
        numbers.metric(run, "rmse", "sLd", experiment="no_wise")
    with pytest.raises(Unavailable, match="highlight"):
        numbers.metric(run, "rmse", "sLd", selection="second")
    with pytest.raises(Unavailable, match="no samples of all at 3kpc"):
        numbers.metric(run, "rmse", "sLd", scale="3kpc")


def test_share_of_scatter_between_galaxies(run):
    galaxies = by_galaxy(run, "sMd").values()
    between = np.mean([np.mean([p - t for t, p, *_ in rows]) ** 2 for rows in galaxies])
    every = np.mean([np.mean([(p - t) ** 2 for t, p, *_ in rows]) for rows in galaxies])
    value, error = numbers.between_share(run, "sMd")
    assert value == pytest.approx(math.sqrt(between / every))
    assert 0 < error < 0.5


def test_percentiles_of_chi2_of_galaxies(run):
    chi2 = [
        np.mean([((p - t) / s) ** 2 for t, p, s, _ in rows])
        for rows in by_galaxy(run, "sMd").values()
    ]
    for percent in (16, 50, 84):
        value, error = numbers.galaxy_percentile(run, "sMd", str(percent))
        assert value == pytest.approx(np.percentile(chi2, percent))
        assert error > 0
    sigma = [row[3] for row in rows_of(run, "sMd")]
    assert numbers.smallest_sigma(run, "sMd")[0] == min(sigma)


def test_masses_are_sums_over_pixels_that_hold_the_light(run):
    star = dict(zip(run.short["id"], run.short["bayes.stellar.m_star"]))
    dust = dict(zip(run.full["id"], run.full["bayes.dust.mass"] / SOLAR_MASS_KG))
    predicted, fitted = [], []
    for name, rows in by_galaxy(run, "sMd").items():
        # Whole galaxies have a flux of 10, pixels of 1: eight pixels are enough.
        if len(rows) >= 8:
            total = sum(10**p * star[key] for _, p, _, key in rows)
            predicted.append(math.log10(total / dust[f"{name}/global"]))
            total = sum(dust[key] for *_, key in rows)
            fitted.append(math.log10(total / dust[f"{name}/global"]))
    assert len(predicted) == 4
    for of, expected in (("predicted", predicted), ("fitted", fitted)):
        value, error = numbers.summed_mass(run, of)
        assert value == pytest.approx(math.sqrt(np.mean(np.square(expected))))
        assert error >= 0
    run.photometry["WISE_3.4"] = np.ones(run.photometry.n_rows) * 0.1
    run.photometry["WISE_3.4"][[key.endswith("global") for key in run.photometry["id"]]] = 99.0
    with pytest.raises(Unavailable, match="80%"):
        numbers.summed_mass(run, "predicted")


def test_correlations_weight_galaxies_equally(run):
    residual = {
        target: {row[4]: (row[0], row[2] - row[1]) for row in rows_of(run, target)}
        for target in ("sMd", "Td")
    }
    keys = list(residual["sMd"])
    galaxy = [residual["sMd"][key][0] for key in keys]
    weight = [1 / galaxy.count(name) for name in galaxy]
    values = [[residual[target][key][1] for key in keys] for target in ("sMd", "Td")]
    covariance = np.cov(values, aweights=weight, ddof=0)
    expected = covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1])
    value, error = numbers.residual_correlation(run, "sMd", "Td")
    assert value == pytest.approx(expected)
    assert value < -0.3  # one noise drives both, with opposite signs
    assert 0 < error < 0.3
    colour = dict(zip(run.features["id"], run.features["c_WISE_22"]))
    values = [[row[1], colour[row[4]]] for row in rows_of(run, "Td")]
    covariance = np.cov(np.transpose(values), aweights=weight, ddof=0)
    expected = covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1])
    assert numbers.colour_correlation(run)[0] == pytest.approx(expected)


def test_right_mode_is_a_share_of_galaxies(run):
    shares = [
        np.mean([(t > 25) == (p > 25) for t, p, *_ in rows])
        for rows in by_galaxy(run, "Td").values()
    ]
    assert numbers.right_mode(run)[0] == pytest.approx(np.mean(shares))


def test_radial_slope_and_profile(run):
    radius = dict(zip(run.photometry["id"], run.photometry["r_r25"]))
    rows = by_galaxy(run, "Td")["G1"]
    x, y = [radius[key] for *_, key in rows], [p for _, p, *_ in rows]
    x, y = np.array(x) - np.mean(x), np.array(y) - np.mean(y)
    slope, _ = numbers.radial_slope(run, "Td", "first", "prediction")
    assert slope == pytest.approx(np.sum(x * y) / np.sum(x * x))
    table = profiles(run, ["G1", "gone"])
    assert set(table["galaxy"]) == {"G1"}
    assert table["n_samples"][table["target"] == "Td"].sum() == len(rows)
    ring = table.rows((table["target"] == "Td") & (table["r_r25"] == table["r_r25"][0]))
    low = ring["r_r25"][0] - 0.1
    inside = [t for t, _, _, key in rows if low <= radius[key] < low + 0.2]
    assert ring["truth"][0] == np.median(inside)


def test_counts(run):
    assert numbers.n_galaxies(run)[0] == 8
    assert numbers.n_galaxies(run, "3kpc")[0] == 0
    assert numbers.n_shared(run, "18arcsec+400pc")[0] == 8
    assert numbers.fold_galaxies(run, "train")[0] == 6
    assert numbers.fold_galaxies(run, "test")[0] == 2
    per_galaxy = [4 + number for number in range(8)]
    assert numbers.n_pixels(run)[0] == 2 * sum(per_galaxy)
    assert numbers.n_pixels(run, galaxy="first")[0] == 5
    # Fold k tests galaxies k and k + 4.
    train = [sum(per_galaxy) - per_galaxy[k] - per_galaxy[k + 4] for k in range(4)]
    assert numbers.training_pixels(run)[0] == np.median(train)
    assert numbers.distance_share(run, "10", "30")[0] == 4 / 8
    # 206.26 arcsec are 1 kpc at 1 Mpc.
    assert numbers.median_d25(run)[0] == pytest.approx(19.5)


def test_every_number_of_the_list_is_computed_or_says_why_not(run):
    table = paper_table(run, read_csv(LIST))
    names = [row["quantity"] for row in read_csv(LIST)]
    assert list(table["quantity"]) == names
    assert len(set(names)) == len(names)
    for value, note in zip(table["value"], table["note"]):
        assert math.isfinite(value) or note
    by_name = dict(zip(names, range(len(names))))
    assert table["note"][by_name["RMSE of sMd of M31"]] == "of G1"
    assert np.isnan(table["value"][by_name["RMSE of sMd of M33"]])
    assert table["value"][by_name["galaxies"]] == 8
    used = {row["function"] for row in read_csv(LIST)}
    assert used == set(FUNCTIONS)


def test_a_wrong_row_of_the_list_is_named(run):
    row = dict.fromkeys(("paper", "paper_err", "unit", "section"), "")
    bad = [row | {"quantity": "q", "function": "nothing", "arguments": ""}]
    with pytest.raises(DataError, match="there is no function nothing"):
        paper_table(run, bad)
    bad = [row | {"quantity": "q", "function": "right_mode", "arguments": "x=1"}]
    with pytest.raises(DataError, match="q: got an unexpected keyword argument 'x'"):
        paper_table(run, bad)


def test_numbers_of_the_list_are_numbers():
    with open(LIST, encoding="utf-8") as handle:
        rows = list(csv.DictReader(line for line in handle if not line.startswith("#")))
    for row in rows:
        for name in ("paper", "paper_err"):
            assert row[name] == "" or math.isfinite(float(row[name]))
