import numpy as np
import pytest
from sklearn.model_selection import KFold

from dustcast.learning.folds import inner_splits, sample_folds, split_folds
from dustcast.population import mock_galaxies
from dustcast.tables import DataError, Table

NAMES = [f"NGC{number:04d}" for number in range(103, 0, -1)]


@pytest.mark.parametrize("seed", [123, 7])
def test_folds_are_those_of_kfold_in_the_given_order(seed):
    folds = split_folds(NAMES, seed=seed)
    assert list(folds) == NAMES
    for fold, (_, test) in enumerate(KFold(4, shuffle=True, random_state=seed).split(NAMES)):
        assert {NAMES[row] for row in test} == {n for n, f in folds.items() if f == fold}


def test_default_seed_is_that_of_the_paper():
    assert split_folds(NAMES) == split_folds(NAMES, 4, 123)


def test_overlapping_galaxies_share_a_fold():
    chains = [["NGC0001", "NGC0050"], ["NGC0003", "NGC0070"], ["NGC0050", "X", "NGC0003"], ["Y"]]
    for seed in range(10):
        folds = split_folds(NAMES, seed=seed, groups=chains)
        assert len({folds[n] for n in ("NGC0001", "NGC0050", "NGC0003", "NGC0070")}) == 1
        assert list(folds) == NAMES
        assert set(folds.values()) == {0, 1, 2, 3}


def test_balanced_folds_share_the_galaxies_of_each_scale():
    # Five scales of the four nearest, then ever fewer.
    n_scales = {name: 5 if row < 4 else 4 if row < 15 else 1 for row, name in enumerate(NAMES)}
    for seed in range(10):
        folds = split_folds(NAMES, seed=seed, n_scales=n_scales)
        assert list(folds) == NAMES
        for least in (5, 4, 1):
            counts = np.bincount([folds[n] for n in NAMES if n_scales[n] >= least], minlength=4)
            assert counts.max() - counts.min() <= 1, (seed, least)
    assert split_folds(NAMES, seed=1, n_scales=n_scales) != folds


def test_balanced_folds_keep_overlapping_galaxies_together():
    n_scales = dict.fromkeys(NAMES, 1) | {"NGC0050": 5}
    for seed in range(5):
        folds = split_folds(NAMES, seed=seed, groups=[["NGC0001", "NGC0050"]], n_scales=n_scales)
        assert folds["NGC0001"] == folds["NGC0050"]


def test_scales_are_counted_in_the_photometry():
    galaxies = mock_galaxies(24, 1)
    rows = [(one.galaxy, scale) for one in galaxies for scale in ("18arcsec", "global")]
    rows += [(one.galaxy, "150pc") for one in galaxies[:4]]
    table = Table(
        {name: np.array(part, object) for name, part in zip(("galaxy", "scale"), zip(*rows))}
    )
    settings = {"n_folds": 4, "share_folds": True}
    known = {one.galaxy: one for one in galaxies}
    for seed in range(5):
        folds = sample_folds(table, known, seed=seed, balance_folds=True, **settings)
        assert {folds[one.galaxy] for one in galaxies[:4]} == {0, 1, 2, 3}
    plain = sample_folds(table, known, seed=1, balance_folds=False, **settings)
    assert plain == split_folds(list(known), seed=1)


def test_refusals():
    with pytest.raises(DataError, match="NGC0007 is listed more than once"):
        split_folds([*NAMES, "NGC0007"])
    with pytest.raises(DataError, match="3 separate galaxies"):
        split_folds(NAMES[:3])
    with pytest.raises(DataError, match="3 separate galaxies"):
        split_folds(NAMES[:4], groups=[NAMES[:2]])
    with pytest.raises(DataError, match="two galaxies"):
        inner_splits(["a", "a"], 5, 0)


def test_inner_splits_keep_galaxies_whole():
    galaxy = np.random.default_rng(0).choice(NAMES[:11], size=500)
    seen = np.zeros(500, int)
    for train, test in inner_splits(galaxy, 5, 3):
        assert not set(galaxy[train]) & set(galaxy[test])
        assert sorted([*train, *test]) == list(range(500))
        seen[test] += 1
    assert (seen == 1).all()
    assert len(inner_splits(["a", "b", "b"], 5, 0)) == 2
