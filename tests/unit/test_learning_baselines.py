"""Baselines against scikit-learn, bins against masks by hand."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from dustcast.learning.baselines import against_true_values, baselines, binned_metrics
from dustcast.learning.features import sample_weights, targets_from_fit
from dustcast.learning.metrics import weighted_metrics
from dustcast.tables import Table
from dustcast.units import SOLAR_MASS_KG


def sample(seed=0):
    rng = np.random.default_rng(seed)
    galaxy = np.repeat([f"G{k}" for k in range(12)], 1 + np.arange(12) % 3).astype(object)
    n = len(galaxy)
    ids = np.array([f"{g}/1kpc/{k}_0" for k, g in enumerate(galaxy)], object)
    columns = {"id": ids, "galaxy": galaxy, "scale": np.full(n, "1kpc", object)}
    for name in ("c_WISE_12", "c_WISE_22", "sLd", "sMd", "Td"):
        columns[name] = rng.normal(size=n)
    columns |= {f"{t}_err": rng.uniform(0.1, 1, n) for t in ("sLd", "sMd", "Td")}
    names = ("dust.luminosity", "stellar.lum", "dust.mass", "stellar.m_star", "dust.umin")
    fit = {"id": ids[::-1]}
    for name in names:
        fit[f"bayes.{name}"] = rng.uniform(1, 2, n)
        fit[f"bayes.{name}_err"] = rng.uniform(0.1, 0.2, n)
    fit["bayes.dust.mass"] *= SOLAR_MASS_KG
    fit["bayes.dust.mass_err"] *= SOLAR_MASS_KG
    return Table(columns), Table(fit), {f"G{k}": k % 4 for k in range(12)}


def test_baselines_are_fitted_to_the_other_folds():
    features, short, folds = sample()
    table = baselines(features, short, folds)
    assert table.n_rows == 9 * features.n_rows
    weight = sample_weights(features["galaxy"])
    fold = np.array([folds[name] for name in features["galaxy"]])
    inputs = np.column_stack([features["c_WISE_12"], features["c_WISE_22"]])
    for target in ("sLd", "Td"):
        part = table.rows(table["target"] == target)
        get = {r: part.rows(part["regressor"] == r) for r in set(part["regressor"])}
        train, test = fold != 2, fold == 2
        mean = np.average(features[target][train], weights=weight[train])
        np.testing.assert_allclose(get["constant"]["prediction"][test], mean)
        model = LinearRegression().fit(inputs[train], features[target][train], weight[train])
        found = get["linear_w3_w4"]
        np.testing.assert_allclose(found["prediction"][test], model.predict(inputs[test]))
        error = model.predict(inputs[train]) - features[target][train]
        rms = np.sqrt(np.average(error**2, weights=weight[train]))
        np.testing.assert_allclose(found["sigma"][test], rms)
        # The fits stand in the opposite order.
        expected = targets_from_fit(short)[target][::-1]
        np.testing.assert_allclose(get["short_fit"]["prediction"], expected)


def test_bins_hold_the_samples_that_they_name():
    features, short, folds = sample()
    table = baselines(features, short, folds)
    n = features.n_rows
    snr = np.resize([0.5, 2.0, 4.0, 9.0, -2.0], n)
    error = np.where(np.arange(n) % 7 == 0, np.nan, 2.0)
    photometry = Table({"id": features["id"], "SPIRE_250": 2 * snr, "SPIRE_250_err": error})
    bins = binned_metrics(table, photometry, n_bootstrap=100)
    chosen = {
        "<1": (snr < 1) & np.isfinite(error),
        "3-5": (snr == 4) & np.isfinite(error),
        "unmeasured": np.isnan(error),
    }
    part = table.rows((table["target"] == "sMd") & (table["regressor"] == "constant"))
    for label, keep in chosen.items():
        row = (bins["bin"] == label) & (bins["target"] == "sMd") & (bins["regressor"] == "constant")
        mine = part.rows(keep)
        columns = (mine[name] for name in ("truth", "prediction", "sigma"))
        expected = weighted_metrics(*columns, sample_weights(mine["galaxy"]))
        assert bins["rmse"][row][0] == pytest.approx(expected["rmse"])
        assert bins["n_samples"][row][0] == keep.sum()
    everything = bins.rows(bins["by"] == "all")
    assert everything["n_samples"].tolist() == [n] * 9
    quarters = bins.rows((bins["by"] == "truth_err") & (bins["target"] == "sMd"))
    assert quarters["n_samples"].sum() == 3 * n


def test_metrics_against_true_values():
    features, short, folds = sample()
    table = baselines(features, short, folds)
    keep = np.arange(features.n_rows)[::-1][1:]  # another order, and one sample unknown
    true = Table({"id": features["id"][keep]} | {t: features[t][keep] + 1 for t in ("sLd", "sMd")})
    true["Td"] = np.full(len(keep), np.nan)
    found = against_true_values(table, true)
    assert set(found["target"]) == {"sLd", "sMd"}
    assert features["id"][-1] not in found["id"]
    value = dict(zip(features["id"], features["sMd"]))
    part = found.rows(found["target"] == "sMd")
    np.testing.assert_array_equal(part["truth"], [value[name] + 1 for name in part["id"]])
    assert part.n_rows == 3 * len(keep)
