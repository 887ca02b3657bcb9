"""Sigma in two parts: known parts come back, and the statistics are what they should be."""

import numpy as np
import pytest

from dustcast.learning.split import (
    ALL_FOLDS,
    SigmaSplit,
    fit_split,
    galaxy_statistics,
    positions,
    read_split,
    split_tables,
)
from dustcast.tables import DataError, Table


def sample(n_galaxies=150, side=9, s_g=0.2, s_p=0.15, length=2.0, nugget=0.3, seed=0):
    """Draw residuals from the model itself, by Cholesky factors of the full covariance."""
    rng = np.random.default_rng(seed)
    y, x = (a.ravel() for a in np.mgrid[:side, :side])
    distance = np.hypot(x[:, None] - x, y[:, None] - y)
    correlation = (1 - nugget) * np.exp(-distance / length) + nugget * np.eye(len(x))
    factor = np.linalg.cholesky(correlation)
    parts = []
    for number in range(n_galaxies):
        scale = 10 ** rng.normal(0, 0.15)
        common = scale * s_g * rng.normal()
        residual = common + scale * s_p * (factor @ rng.normal(size=len(x)))
        sigma = np.full(len(x), scale * np.hypot(s_g, s_p))
        parts.append((residual, sigma, np.full(len(x), f"G{number}"), x, y))
    return [np.concatenate(column) for column in zip(*parts)], correlation


def test_known_parts_come_back():
    # Length and common part are hard to tell apart in one sample: the mean of four is not biased.
    found = []
    for seed in range(4):
        drawn, correlation = sample(seed=seed)
        split = fit_split(*drawn)
        n = len(correlation)
        s_g, s_p = split.predict(np.array([0.25]))
        assert s_g[0] == pytest.approx(0.20, rel=0.15)
        assert s_p[0] == pytest.approx(0.15, rel=0.08)
        n_eff = split.n_eff(drawn[3][:n], drawn[4][:n])
        found.append((split.length, split.nugget, n_eff))
    expected = (2.0, 0.3, n**2 / correlation.sum())
    np.testing.assert_allclose(np.mean(found, axis=0), expected, rtol=0.2)


def test_n_eff_is_that_of_the_correlation_matrix():
    split = SigmaSplit(0.0, 1.0, 0.0, 1.0, 1.0, length=1.7, nugget=0.2)
    y, x = (a.ravel() for a in np.mgrid[:11, :13])
    distance = np.hypot(x[:, None] - x, y[:, None] - y)
    matrix = np.where(distance == 0, 1.0, 0.8 * np.exp(-distance / 1.7))
    assert split.n_eff(x, y) == pytest.approx(len(x) ** 2 / matrix.sum())
    assert split.n_eff([3], [4]) == 1
    # 2500 samples, of which 400 stand for all.
    y, x = (a.ravel() for a in np.mgrid[:50, :50])
    distance = np.hypot(x[:, None] - x, y[:, None] - y)
    exact = len(x) ** 2 / np.where(distance == 0, 1.0, 0.8 * np.exp(-distance / 1.7)).sum()
    assert split.n_eff(x, y) == pytest.approx(exact, rel=0.15)


def test_statistics_of_unseen_galaxies_are_those_of_a_gaussian():
    train, _ = sample(seed=1)
    test, _ = sample(n_galaxies=300, seed=2)
    table = galaxy_statistics(*test, fit_split(*train))
    assert table.n_rows == 300
    assert 0.60 < np.mean(np.abs(table["z_g"]) < 1) < 0.76
    assert np.std(table["z_g"]) == pytest.approx(1, abs=0.12)
    assert np.mean(table["chi2_within"] / (1 - 1 / table["n_eff"])) == pytest.approx(1, abs=0.06)
    # What the single sigma says of a galaxy is mostly whether its common part is large.
    spread = {
        name: np.subtract(*np.quantile(table[name], [0.84, 0.16]))
        for name in ("chi2", "chi2_within")
    }
    assert spread["chi2_within"] < 0.7 * spread["chi2"]


def test_statistics_by_hand():
    split = SigmaSplit(np.log(0.5), 1.0, np.log(2.0), 1.0, 1.0, length=1.0, nugget=1.0)
    residual = np.array([1.0, 2.0, 3.0, -1.0])
    table = galaxy_statistics(
        residual, np.ones(4), ["A", "A", "A", "B"], [0, 1, 2, 0], [0, 0, 0, 0], split
    )
    assert list(table["galaxy"]) == ["A", "B"]
    np.testing.assert_allclose(table["n_eff"], [3, 1])
    np.testing.assert_allclose(table["chi2"], [14 / 3, 1])
    np.testing.assert_allclose(table["z_g"], [2 / np.sqrt(0.25 + 4 / 3), -1 / np.sqrt(0.25 + 4)])
    np.testing.assert_allclose(table["chi2_within"], [2 / 3 / 4, np.nan])


def test_independent_samples_have_no_common_part():
    drawn, _ = sample(s_g=1e-6, s_p=0.2, nugget=1.0, seed=3)
    split = fit_split(*drawn)
    s_g, s_p = split.predict(0.2)
    assert s_g < 0.03
    assert s_p == pytest.approx(0.2, rel=0.05)


def test_one_sample_a_galaxy_cannot_be_divided():
    n = 30
    with pytest.raises(DataError, match="0 galaxies have two or more samples"):
        fit_split(np.ones(n), np.ones(n), np.arange(n), np.zeros(n), np.zeros(n))


def predictions(n_galaxies, scale="1kpc"):
    drawn, _ = sample(n_galaxies=n_galaxies, side=4)
    residual, sigma, galaxy, x, y = drawn
    n = len(x)
    return Table(
        {
            "id": np.array([f"{g}/{scale}/{i}_{j}" for g, i, j in zip(galaxy, x, y)], object),
            "galaxy": galaxy.astype(object),
            "scale": np.full(n, scale, object),
            "fold": np.array([int(g[1:]) % 4 for g in galaxy]),
            "regressor": np.full(n, "linear", object),
            "target": np.full(n, "sMd", object),
            "truth": np.zeros(n),
            "prediction": residual,
            "sigma": sigma,
        }
    )


def test_galaxies_are_judged_by_splits_that_did_not_see_them():
    table = predictions(48)
    splits, galaxies, summary = split_tables(table)
    assert list(splits["fold"]) == [ALL_FOLDS, 0, 1, 2, 3]
    assert galaxies.n_rows == 48
    # Galaxy G1 by hand: fold 1, so the split of the folds 0, 2, 3.
    others = table.rows(table["fold"] != 1)
    x, y = positions(others["id"])
    split = fit_split(others["prediction"], others["sigma"], others["galaxy"], x, y)
    assert read_split(splits, "linear", "sMd", "1kpc", 1) == split
    mine = table.rows(table["galaxy"] == "G1")
    expected = galaxy_statistics(
        mine["prediction"], mine["sigma"], mine["galaxy"], *positions(mine["id"]), split
    )
    row = list(galaxies["galaxy"]).index("G1")
    for name in ("n_eff", "me", "z_g", "chi2_within", "chi2"):
        assert galaxies[name][row] == expected[name][0]
    assert summary.n_rows == 1
    assert summary["within_one"][0] == np.mean(np.abs(galaxies["z_g"]) < 1)
    assert summary["chi2_within_50"][0] == np.median(galaxies["chi2_within"])


def test_scales_of_too_few_galaxies_are_left_out_with_the_reason():
    splits, galaxies, summary = split_tables(predictions(6))
    assert splits.n_rows == galaxies.n_rows == 0
    assert "z_g" in galaxies
    assert summary.n_rows == 1
    assert np.isnan(summary["within_one"][0])
    assert "galaxies have two or more samples" in summary["reason"][0]
    with pytest.raises(DataError, match="no sigma of galaxies and pixels for sMd at 1kpc"):
        read_split(splits, "linear", "sMd", "1kpc", 1)


def test_positions_are_read_from_ids():
    x, y = positions(["NGC1/18arcsec/3_12", "NGC1/18arcsec/0_7"])
    np.testing.assert_array_equal(x, [3, 0])
    np.testing.assert_array_equal(y, [12, 7])
    with pytest.raises(DataError, match="NGC1/global"):
        positions(["NGC1/global"])
