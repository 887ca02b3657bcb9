"""Band dropout: which bands are missing, whose truth a sample has, metrics by subset."""

import numpy as np
import pytest

from dustcast.learning import dropout
from dustcast.tables import Table

BANDS = ["GALEX_FUV", "GALEX_NUV", "WISE_3.4", "WISE_12", "SDSS_g"]


def text(*values):
    return np.array(values, dtype=object)


@pytest.fixture
def photometry():
    count = 400
    rng = np.random.default_rng(1)
    names = text(*(f"g{k}" for k in range(count)))
    columns = {"id": text(*(f"{name}/global" for name in names)), "galaxy": names}
    for band in [*BANDS, "SPIRE_250"]:
        columns[band] = rng.uniform(1, 2, count)
        columns[f"{band}_err"] = np.full(count, 0.1)
    # One galaxy has a single band, one none of the subset's.
    for band in BANDS[1:]:
        columns[band][0] = columns[f"{band}_err"][0] = np.nan
    columns["WISE_3.4"][1] = np.nan
    return Table(columns, units={"WISE_12": "mJy"})


def test_a_named_subset_keeps_its_bands_and_no_others(photometry):
    found = dropout.drop_bands(
        photometry, BANDS, {"w1": ["WISE_3.4"]}, n_random=0, every={}, seed=0
    )
    # The galaxies without that band have no row.
    np.testing.assert_array_equal(found["galaxy"], photometry["galaxy"][2:])
    assert found["id"][0] == "g2/global/w1"
    np.testing.assert_array_equal(found["WISE_3.4"], photometry["WISE_3.4"][2:])
    for band in ("GALEX_FUV", "WISE_12", "SPIRE_250", "SPIRE_250_err"):
        assert np.isnan(found[band]).all()
    assert found.units == {"WISE_12": "mJy"}
    assert np.isfinite(photometry["WISE_12"][2])


def test_random_subsets_never_gain_a_band_and_never_lose_all(photometry):
    found = dropout.drop_bands(photometry, BANDS, {}, n_random=3, every={}, seed=7)
    assert found.n_rows == 3 * photometry.n_rows
    before = np.tile(np.array([np.isfinite(photometry[band]) for band in BANDS]).T, (3, 1))
    kept = np.array([np.isfinite(found[band]) for band in BANDS]).T
    assert not np.any(kept & ~before)
    assert kept.any(axis=1).all()
    # From a single band to all of them, and differently for each draw.
    counts = kept[:, :].sum(axis=1)
    assert set(counts.tolist()) == {1, 2, 3, 4, 5}
    first, second = kept[:400], kept[400:800]
    assert np.mean(np.any(first != second, axis=1)) > 0.5
    # Bands of one instrument go together more often than those of two.
    both = np.mean(kept[:, 0] == kept[:, 1])
    assert both > np.mean(kept[:, 0] == kept[:, 4]) + 0.05


def test_random_subsets_depend_on_the_seed_alone(photometry):
    first, again, other = (
        dropout.drop_bands(photometry, BANDS, {}, n_random=1, every={}, seed=seed)
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first["WISE_12"], again["WISE_12"])
    assert not np.array_equal(first["WISE_12"], other["WISE_12"], equal_nan=True)


def test_the_share_of_bands_kept_is_that_of_the_definition(photometry):
    found = dropout.drop_bands(photometry, BANDS, {}, n_random=20, every={}, seed=0)
    # A band stays with probability q: mean of a uniform draw from KEPT.
    share = np.mean(np.isfinite(found["SDSS_g"][found["galaxy"] != "g0"]))
    assert share == pytest.approx(np.mean(dropout.KEPT), abs=0.03)


def test_samples_with_bands_removed_have_the_truth_of_their_galaxy():
    truth = Table({"id": text("a/global", "b/global"), "sLd": np.array([1.0, 2.0])})
    ids = text("b/global/w1", "a/global", "c/global", "b/global", "d/18arcsec/3_4")
    found = dropout.repeat_truth(truth, ids)
    assert found["id"].tolist() == ["b/global/w1", "a/global", "b/global"]
    assert found["sLd"].tolist() == [2, 1, 2]


def test_metrics_by_subset():
    ids = text("a/global", "b/global", "a/global/w1", "b/global/random1", "a/global/random2")
    n = len(ids)
    predictions = Table(
        {
            "id": ids,
            "galaxy": text("a", "b", "a", "b", "a"),
            "scale": np.full(n, "global", dtype=object),
            "regressor": np.full(n, "xgboost", dtype=object),
            "target": np.full(n, "sLd", dtype=object),
            "truth": np.zeros(n),
            "prediction": np.array([1.0, -1.0, 2.0, 3.0, 4.0]),
            "sigma": np.ones(n),
        }
    )
    table = dropout.subset_metrics(predictions, experiment="x", n_bootstrap=100)
    rmse = dict(zip(table["subset"], table["rmse"]))
    assert rmse == pytest.approx(
        # Each galaxy counts the same where subsets are pooled: (7 + 5) / 2.
        {"observed": 1, "w1": 2, "random": np.sqrt(12.5), "all": np.sqrt((7 + 5) / 2)}
    )


def test_every_third_galaxy_has_the_subsets_that_it_has_among_all(photometry):
    whole, thinned = (
        dropout.drop_bands(photometry, BANDS, {}, n_random=2, every={dropout.RANDOM: every}, seed=7)
        for every in (1, 3)
    )
    chosen = np.isin(whole["galaxy"], photometry["galaxy"][::3])
    assert thinned["id"].tolist() == whole["id"][chosen].tolist()
    np.testing.assert_array_equal(thinned["WISE_12"], whole["WISE_12"][chosen])
