"""Averages of galaxies and metrics of selections, against sums over rows."""

import numpy as np
import pytest

from dustcast.learning.metrics import weighted_metrics
from dustcast.learning.selections import (
    galaxy_averages,
    selection_metrics,
    told_metrics,
    told_scale,
)
from dustcast.tables import Table


def predictions(seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(9):
        for scale in ("400pc", "3kpc", "global") if number < 6 else ("3kpc", "global"):
            n = 1 if scale == "global" else int(rng.integers(1, 7))
            for k in range(n):
                tail = "global" if scale == "global" else f"{scale}/{k}_0"
                rows.append((f"G{number}/{tail}", f"G{number}", scale, number % 4))
    n = len(rows)
    ids, galaxy, scale, fold = (np.array(c, dtype=object) for c in zip(*rows))
    truth = rng.normal(size=n)
    return Table(
        {
            "id": ids,
            "galaxy": galaxy,
            "scale": scale,
            "fold": fold.astype(int),
            "regressor": np.full(n, "linear", object),
            "target": np.full(n, "sMd", object),
            "truth": truth,
            "prediction": truth + rng.normal(0, 0.3, n),
            "sigma": rng.uniform(0.2, 0.4, n),
        }
    )


def test_averages_are_means_of_the_pixels():
    table = predictions()
    averages = galaxy_averages(table)
    assert averages.n_rows == 9 + 6
    assert "global" not in set(averages["scale"])
    for row in range(averages.n_rows):
        mine = (table["galaxy"] == averages["galaxy"][row]) & (
            table["scale"] == averages["scale"][row]
        )
        assert averages["n_samples"][row] == mine.sum()
        assert averages["truth"][row] == pytest.approx(table["truth"][mine].mean())
        assert averages["prediction"][row] == pytest.approx(table["prediction"][mine].mean())
        assert averages["fold"][row] == table["fold"][mine][0]


def test_selections_are_what_they_say():
    table = predictions()
    found = selection_metrics(
        table,
        named=["G1", "absent"],
        nearby=["G0", "G7", "G8"],
        shared=["400pc", "3kpc"],
        n_bootstrap=100,
    )

    def rmse(selection, scale):
        keep = (found["selection"] == selection) & (found["scale"] == scale)
        assert keep.sum() == 1
        return found["rmse"][keep][0]

    def direct(keep):
        weight = np.array([1 / np.sum(table["galaxy"][keep] == g) for g in table["galaxy"][keep]])
        columns = (table[name][keep] for name in ("truth", "prediction", "sigma"))
        return weighted_metrics(*columns, weight)["rmse"]

    at = {scale: table["scale"] == scale for scale in ("400pc", "3kpc", "global")}
    few = np.isin(table["galaxy"].astype(str), [f"G{n}" for n in range(6)])
    assert rmse("all", "global") == pytest.approx(direct(at["global"]))
    assert rmse("all", "3kpc") == pytest.approx(direct(at["3kpc"]))
    assert rmse("all", "all") == pytest.approx(direct(~at["global"]))
    assert rmse("shared", "3kpc") == pytest.approx(direct(at["3kpc"] & few))
    assert rmse("shared", "400pc") == pytest.approx(direct(at["400pc"]))
    near = np.isin(table["galaxy"].astype(str), ["G0", "G7", "G8"])
    assert rmse("nearby", "3kpc") == pytest.approx(direct(at["3kpc"] & near))
    assert rmse("G1", "400pc") == pytest.approx(direct(at["400pc"] & (table["galaxy"] == "G1")))
    assert "absent" not in set(found["selection"])
    means = galaxy_averages(table)
    means = means.rows(means["scale"] == "3kpc")
    assert rmse("averages", "3kpc") == pytest.approx(
        np.sqrt(np.mean((means["prediction"] - means["truth"]) ** 2))
    )


class Scaled:
    """A model whose prediction is the pixel scale itself."""

    target, regressor = "sMd", "linear"

    def predict(self, features):
        return features["log_scale"] * 2.0, np.ones(features.n_rows)


def test_told_scale_changes_only_the_scale():
    n = 4
    features = Table(
        {
            "id": np.array([f"G{k}/3kpc/0_0" for k in range(n)], object),
            "galaxy": np.array([f"G{k}" for k in range(n)], object),
            "scale": np.full(n, "3kpc", object),
            "log_scale": np.full(n, np.log10(3000.0)),
            "sMd": np.zeros(n),
            "sMd_err": np.ones(n),
        }
    )
    table = told_scale(features, Scaled(), 400.0, fold=2)
    np.testing.assert_allclose(table["prediction"], 2 * np.log10(3000))
    np.testing.assert_allclose(table["told"], 2 * np.log10(400))
    np.testing.assert_allclose(features["log_scale"], np.log10(3000))
    row = told_metrics(table, n_bootstrap=100)
    assert row["me"][0] == pytest.approx(2 * np.log10(400 / 3000))
    assert row["me_err"][0] == pytest.approx(0, abs=1e-12)


def test_whole_galaxies_alone_have_no_averages():
    table = predictions()
    table = table.rows(table["scale"] == "global")
    averages = galaxy_averages(table)
    assert averages.n_rows == 0
    assert "prediction" in averages
    found = selection_metrics(
        table, named=["G1"], nearby=["G1"], shared=["400pc", "3kpc"], n_bootstrap=100
    )
    assert list(found["selection"]) == ["all"]
    assert list(found["scale"]) == ["global"]
