import math

import numpy as np
import pytest

from dustcast.learning import metrics as mt
from dustcast.tables import DataError, Table


def predictions(n=400, n_galaxies=17, seed=0, scales=("1kpc", "3kpc"), noise=0.3):
    draw = np.random.default_rng(seed)
    galaxy = np.array([f"g{k}" for k in draw.integers(n_galaxies, size=n)], dtype=object)
    truth = draw.normal(-2, 1, size=n)
    return Table(
        {
            "id": np.array([f"{g}/{k}" for k, g in enumerate(galaxy)], dtype=object),
            "galaxy": galaxy,
            "scale": draw.choice(np.array(scales, dtype=object), size=n),
            "fold": np.zeros(n, int),
            "regressor": np.full(n, "linear", dtype=object),
            "target": np.full(n, "sMd", dtype=object),
            "weight": np.ones(n),
            "truth": truth,
            "truth_err": np.full(n, 0.1),
            "prediction": truth + draw.normal(0.05, noise, size=n),
            "sigma": draw.uniform(0.2, 0.4, size=n),
        }
    )


def plain(table, rows):
    """Return rmse, r2, me, chi2 by sums over samples, one at a time."""
    count = {}
    for i in rows:
        count[table["galaxy"][i]] = count.get(table["galaxy"][i], 0) + 1
    total = mean = 0.0
    for i in rows:
        total += 1 / count[table["galaxy"][i]]
        mean += table["truth"][i] / count[table["galaxy"][i]]
    mean /= total
    square = spread = error = chi2 = 0.0
    for i in rows:
        weight = 1 / count[table["galaxy"][i]] / total
        residual = table["prediction"][i] - table["truth"][i]
        square += weight * residual**2
        spread += weight * (table["truth"][i] - mean) ** 2
        error += weight * residual
        chi2 += weight * residual**2 / table["sigma"][i] ** 2
    return math.sqrt(square), 1 - square / spread, error, chi2


def test_table_equals_a_plain_loop():
    table = predictions()
    result = mt.metrics_table(table, experiment="x", n_bootstrap=20)
    expected = "experiment regressor target scale n_galaxies n_samples rmse rmse_err r2 r2_err"
    assert " ".join(result) == expected + " me me_err chi2 chi2_err"
    assert sorted(result["scale"]) == ["1kpc", "3kpc", "all"]
    assert result["scale"][-1] == "all"
    for row, scale in enumerate(result["scale"]):
        rows = [i for i in range(400) if scale == "all" or table["scale"][i] == scale]
        got = [result[name][row] for name in ("rmse", "r2", "me", "chi2")]
        np.testing.assert_allclose(got, plain(table, rows), rtol=1e-12)
        assert result["n_samples"][row] == len(rows)
        assert result["n_galaxies"][row] == len({table["galaxy"][i] for i in rows})


def test_one_scale_has_no_row_all():
    result = mt.metrics_table(predictions(scales=("global",)), n_bootstrap=20)
    assert result["scale"].tolist() == ["global"]


def test_bootstrap_equals_resampled_loops():
    table = predictions(n=60, n_galaxies=6, scales=("1kpc",))
    got = mt.bootstrap_metrics(
        table["truth"],
        table["prediction"],
        table["sigma"],
        mt.sample_weights(table["galaxy"]),
        table["galaxy"],
        n_bootstrap=3000,
    )
    draw = np.random.default_rng(99)
    names = sorted(set(table["galaxy"]))
    resampled = []
    for _ in range(1500):
        rows, label = [], []
        for copy, name in enumerate(draw.choice(names, size=len(names))):
            mine = np.flatnonzero(table["galaxy"] == name)
            rows.extend(mine)
            label.extend([f"{name}-{copy}"] * len(mine))
        one = table.rows(np.array(rows))
        one["galaxy"] = np.array(label, dtype=object)
        resampled.append(plain(one, range(len(rows))))
    errors = [got[f"{name}_err"] for name in ("rmse", "r2", "me", "chi2")]
    np.testing.assert_allclose(errors, np.std(resampled, axis=0), rtol=0.1)


def test_bootstrap_is_seeded():
    table = predictions()
    first, second = (mt.metrics_table(table, n_bootstrap=50, seed=1) for _ in range(2))
    other = mt.metrics_table(table, n_bootstrap=50, seed=2)
    assert first["rmse_err"].tolist() == second["rmse_err"].tolist()
    assert first["rmse_err"].tolist() != other["rmse_err"].tolist()


def test_two_galaxies_have_no_errors():
    result = mt.metrics_table(predictions(n_galaxies=2, scales=("1kpc",)))
    assert np.isnan(result["rmse_err"]).all()
    assert np.isfinite(result["rmse"]).all()


def test_galaxies():
    table = predictions(scales=("1kpc",))
    result = mt.galaxy_metrics_table(table, experiment="x")
    for row, name in enumerate(result["galaxy"]):
        rows = np.flatnonzero(table["galaxy"] == name)
        got = [result[metric][row] for metric in ("rmse", "r2", "me", "chi2")]
        np.testing.assert_allclose(got, plain(table, rows), rtol=1e-10)
    single = mt.galaxy_metrics_table(table.rows(np.array([0])))
    assert np.isnan(single["r2"]).all()
    assert np.isfinite(single["rmse"]).all()


def test_common_zero_point_costs_no_digits():
    weight = np.ones(3)
    truth = 1e8 + np.array([0.0, 1.0, 2.0])
    values = mt.weighted_metrics(truth, truth + np.array([0.5, -0.5, 0.5]), weight, weight)
    assert values["r2"] == pytest.approx(1 - 0.25 / (2 / 3))


def test_no_predictions():
    assert mt.metrics_table(Table()).n_rows == 0
    assert mt.galaxy_metrics_table(predictions().rows(np.zeros(400, bool))).n_rows == 0


def test_paired_difference():
    first = predictions(scales=("1kpc",))
    second = first.rows(np.arange(400)[::-1])
    second["prediction"] = second["prediction"] + 0.02
    result = mt.paired_difference(first, second)
    assert result["me"] == pytest.approx(-0.02)
    # A difference common to all samples is known exactly, unlike either mean error.
    assert result["me_err"] < 1e-12
    assert result["n_samples"] == 400
    assert result["rmse_first"] == pytest.approx(plain(first, range(400))[0])
    with pytest.raises(DataError, match="in common"):
        mt.paired_difference(first.rows(np.arange(5)), first.rows(np.arange(5, 9)))
    with pytest.raises(DataError, match="one regressor"):
        mt.paired_difference(first.rows(np.array([0, 0])), first)
