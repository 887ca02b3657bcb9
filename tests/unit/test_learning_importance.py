"""Importance and partial dependence against what the target was made of."""

import numpy as np
import pytest

from dustcast.learning.experiments import FoldModel, train_fold
from dustcast.learning.importance import (
    _donors,
    feature_groups,
    partial_dependence,
    permutation_importance,
)
from dustcast.tables import Table

NAMES = ["c_WISE_12", "c_WISE_22", "c_SDSS_r", "log_w1"]


class Line:
    """A regressor whose truth is known: 2 x0 - x1."""

    def predict(self, inputs):
        return 2 * inputs[:, 0] - inputs[:, 1]


def model(target="sLd"):
    return FoldModel(target, NAMES, "line", {}, 0, mean=Line(), sigma=None)


@pytest.fixture
def bed():
    rng = np.random.default_rng(5)
    n_galaxy, n_pixel = 60, 12
    galaxy = np.repeat([f"G{k:02d}" for k in range(n_galaxy)], n_pixel)
    # Galaxies differ, pixels of one galaxy hardly.
    x = np.repeat(rng.normal(size=(n_galaxy, 4)), n_pixel, axis=0)
    x += 0.01 * rng.normal(size=x.shape)
    table = Table(dict(zip(NAMES, x.T)))
    table["galaxy"] = galaxy.astype(object)
    table["scale"] = np.full(len(galaxy), "18arcsec", dtype=object)
    table["sLd"] = 2 * x[:, 0] - x[:, 1] + 0.3 * rng.normal(size=len(x))
    folds = {name: k % 4 for k, name in enumerate(dict.fromkeys(galaxy))}
    return table, folds


def rows_of(table, kind="feature"):
    return {
        name: dict(zip(table, values))
        for name, *values in zip(table["feature"], *table.values())
        if dict(zip(table, values))["kind"] == kind
    }


def test_rise_is_that_of_independent_features(bed):
    table, folds = bed
    found = permutation_importance(table, folds, [(k, model()) for k in range(4)], n_repeats=20)
    rows = rows_of(found)
    # Another galaxy's x0 adds 2^2 * 2 var(x0) to the squared error, x1 adds 2 var(x1).
    for name, slope in (("c_WISE_12", 2), ("c_WISE_22", 1)):
        expected = np.sqrt(0.3**2 + slope**2 * 2 * np.var(table[name])) - 0.3
        assert rows[name]["increase"] == pytest.approx(expected, rel=0.1)
        assert 0 < rows[name]["increase_err"] < 0.2 * expected
    for name in ("c_SDSS_r", "log_w1"):
        assert rows[name]["increase"] == 0
    assert rows["log_w1"]["rmse"] == pytest.approx(0.3, rel=0.05)
    assert rows["log_w1"]["n_galaxies"] == 60
    both = rows_of(found, "instrument")
    assert list(both) == ["WISE"]
    expected = np.sqrt(0.3**2 + 2 * np.var(2 * table["c_WISE_12"] - table["c_WISE_22"])) - 0.3
    assert both["WISE"]["increase"] == pytest.approx(expected, rel=0.1)


def test_samples_get_features_of_another_galaxy_at_their_scale():
    rng = np.random.default_rng(1)
    galaxy = np.repeat(["A", "B", "C"], 6)
    scale = np.tile(["1kpc", "3kpc", "global"], 6)
    scale[6:12] = "3kpc"
    donor = _donors(galaxy, scale, rng)
    assert (galaxy[donor] != galaxy).all()
    same = scale[donor] == scale
    # Only B lacks scales, so only who is given to by B may get another one.
    assert same[galaxy[donor] != "B"].all()
    assert len({(a, b) for a, b in zip(galaxy, galaxy[donor])}) == 3


def test_curves_are_those_of_the_model(bed):
    table, folds = bed
    models = [(k, model()) for k in range(4)]
    importance = permutation_importance(table, folds, models)
    found = partial_dependence(table, folds, models, importance, n_shown=3)
    assert found["feature"][found["rank"] == 0].tolist() == ["c_WISE_12"] * 15
    for name, slope in (("c_WISE_12", 2.0), ("c_WISE_22", -1.0)):
        own = found.rows(found["feature"] == name)
        line = slope * (own["value"] - own["value"].mean())
        np.testing.assert_allclose(own["effect"], line, atol=1e-9)
        np.testing.assert_allclose(own["effect_err"], 0, atol=1e-9)
        low, high = np.quantile(table[name], [0.02, 0.98])
        assert own["value"].min() == pytest.approx(low, abs=0.1)
        assert own["value"].max() == pytest.approx(high, abs=0.1)


def test_trained_model_and_same_seed(bed):
    table, folds = bed
    train = [name for name, fold in folds.items() if fold != 0]
    settings = {"parameters": {"n_estimators": 10}}
    fitted = train_fold(table, NAMES, "sLd", train, "random_forest", settings)
    first, second = (permutation_importance(table, folds, [(0, fitted)]) for _ in range(2))
    rows = rows_of(first)
    rise = {name: row["increase"] for name, row in rows.items()}
    assert rise["c_WISE_12"] > rise["c_WISE_22"] > max(rise["c_SDSS_r"], rise["log_w1"], 0)
    for name in first:
        assert list(first[name]) == list(second[name])


def test_no_samples_make_empty_tables(bed):
    table, folds = bed
    empty = table.rows(np.zeros(table.n_rows, bool))
    importance = permutation_importance(empty, folds, [(0, model())])
    assert importance.n_rows == 0
    assert partial_dependence(empty, folds, [(0, model())], importance).n_rows == 0


def test_groups_are_features_and_instruments():
    groups = feature_groups([*NAMES, "log_scale", "o_WISE_12", "r_r25"])
    assert groups["instrument", "WISE"] == ["c_WISE_12", "c_WISE_22", "o_WISE_12"]
    assert [name for kind, name in groups if kind == "instrument"] == ["WISE"]
    assert groups["feature", "log_scale"] == ["log_scale"]
