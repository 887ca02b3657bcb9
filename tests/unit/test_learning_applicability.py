"""Applicability: shares inside, what is far, and what sigma says."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from dustcast.learning import applicability as ap
from dustcast.tables import DataError

RNG = np.random.default_rng(5)
# Two strongly correlated features, one independent.
MIX = np.array([[1.0, 0.95, 0.0], [0.0, 0.2, 0.0], [0.0, 0.0, 3.0]])


def draw(count):
    return RNG.normal(size=(count, 3)) @ MIX + np.array([5.0, -2.0, 0.0])


@pytest.fixture(scope="module")
def trained():
    inputs = draw(1500)
    galaxy = np.array([f"g{k // 2}" for k in range(1500)])
    targets = {"sMd": RNG.normal(scale=0.5, size=1500)}
    return ap.fit_applicability(["a", "b", "c"], inputs, galaxy, targets)


def test_new_galaxies_like_the_training_are_inside_as_often_as_promised(trained):
    classes = trained.classify(draw(4000))
    assert np.mean(classes == ap.INSIDE) == pytest.approx(0.95, abs=0.015)
    assert np.mean(classes == ap.OUTSIDE) == pytest.approx(0.005, abs=0.005)


def test_far_away_is_outside_and_the_way_there_passes_the_edge(trained):
    way = np.array([5.0, -2.0, 0.0]) + np.linspace(0, 40, 400)[:, None] * np.array([0, 0, 1.0])
    classes = trained.classify(way)
    assert classes[0] == ap.INSIDE
    assert classes[-1] == ap.OUTSIDE
    assert set(classes.tolist()) == {0, 1, 2}
    assert np.all(np.diff(trained.distance(way)[100:]) > 0)


def test_a_colour_against_the_correlation_is_outside_though_each_feature_is_common(trained):
    # One sigma each way along two features that always go together: five sigma of their difference.
    odd = np.array([[5.0 + 1.0, -2.0 - 1.0, 0.0]])
    assert trained.classify(odd)[0] == ap.OUTSIDE


def test_distance_is_that_of_an_independent_search(trained):
    inputs = draw(50)
    tree = cKDTree(trained.points)
    coordinates = (inputs - trained.mean) @ trained.axes
    expected = tree.query(coordinates, k=ap.N_NEIGHBOURS)[0][:, -1]
    np.testing.assert_allclose(trained.distance(inputs), expected, rtol=1e-6)


def test_a_sigma_as_large_as_the_scatter_is_never_inside(trained):
    inputs = np.repeat([[5.0, -2.0, 0.0]], 2, axis=0)
    classes = trained.classify(inputs, np.array([0.1, 0.49]), "sMd")
    assert classes.tolist() == [ap.INSIDE, ap.EDGE]


def test_missing_features_count_as_the_mean(trained):
    assert trained.classify(np.array([[np.nan, np.nan, np.nan]]))[0] == ap.INSIDE


def test_written_and_read_back(trained, tmp_path):
    trained.save(tmp_path / "a.npz")
    again = ap.Applicability.load(tmp_path / "a.npz")
    inputs = draw(100)
    np.testing.assert_allclose(again.distance(inputs), trained.distance(inputs), rtol=1e-5)
    assert again.thresholds == trained.thresholds
    assert again.scatter == trained.scatter
    (tmp_path / "b.npz").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="train the model again"):
        ap.Applicability.load(tmp_path / "b.npz")
