"""Who trains and who tests: every split is by galaxy, never by sample or scale."""

from __future__ import annotations

from collections import Counter

import numpy as np

from dustcast.sample import overlapping
from dustcast.tables import DataError


def split_folds(galaxies, n_folds=4, seed=123, groups=None, n_scales=None):
    """Return the test fold of each galaxy.

    Parameters
    ----------
    galaxies : sequence of str
        Unique names. Their order matters: without `groups` the folds are exactly those of
        scikit-learn's ``KFold(n_folds, shuffle=True, random_state=seed)`` on this sequence, as in
        Dobbels et al. 2020.
    n_folds : int
        Number of folds, 2 or more.
    seed : int
        Seed of the shuffle.
    groups : iterable of collections of str, optional
        Galaxies whose light overlaps; those of one group, and of groups with a common member,
        share a fold. Names that are not in `galaxies` only link groups.
    n_scales : dict of str to int, optional
        At how many scales each galaxy has samples. Folds then hold as many galaxies of each number
        as can be, not those of KFold: few galaxies are near enough for the finest scales.

    Returns
    -------
    dict of str to int
        Galaxy to fold (0 ... n_folds - 1), in the order of `galaxies`.

    Raises
    ------
    DataError
        If a name occurs twice, or there are fewer groups of galaxies than folds.
    """
    from sklearn.model_selection import KFold

    galaxies = [str(name) for name in galaxies]
    if len(set(galaxies)) < len(galaxies):
        twice = sorted({name for name in galaxies if galaxies.count(name) > 1})
        raise DataError(f"folds: the galaxy {twice[0]} is listed more than once")
    leader = _leaders(groups or ())
    units = {}
    for name in galaxies:
        units.setdefault(leader.get(name, name), []).append(name)
    if n_folds < 2 or len(units) < n_folds:
        raise DataError(
            f"folds: {len(units)} separate galaxies cannot be split into {n_folds} folds: "
            "take at least two folds and at most one a galaxy"
        )
    units = list(units.values())
    if n_scales is None:
        splitter = KFold(n_folds, shuffle=True, random_state=seed)
        tests = [test for _, test in splitter.split(units)]
    else:
        tests = _dealt([max(n_scales[name] for name in unit) for unit in units], n_folds, seed)
    fold_of = {
        name: fold for fold, test in enumerate(tests) for unit in test for name in units[unit]
    }
    return {name: fold_of[name] for name in galaxies}


def _dealt(n_scales, n_folds, seed):
    """Return the units of each fold: dealt in turn, in random order, those of most scales first."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(n_scales))
    order = shuffled[np.argsort(-np.asarray(n_scales)[shuffled], kind="stable")]
    tests = [[] for _ in range(n_folds)]
    for start in range(0, len(order), n_folds):
        for unit, fold in zip(order[start : start + n_folds], rng.permutation(n_folds)):
            tests[fold].append(unit)
    return tests


def sample_folds(photometry, galaxies, *, n_folds, seed, share_folds, balance_folds):
    """Return the test fold of each galaxy of a photometry table, in its order.

    Parameters
    ----------
    photometry : Table
        Its column galaxy says who takes part.
    galaxies : dict of str to Galaxy
        As from `dustcast.sample.galaxy_table`.
    n_folds, seed : int
        See `split_folds`.
    share_folds : bool
        Whether galaxies whose D25 ellipses overlap share a fold.
    balance_folds : bool
        Whether every fold gets its part of the galaxies of each scale.

    Returns
    -------
    dict of str to int
    """
    names = list(dict.fromkeys(photometry["galaxy"]))
    groups = overlapping([galaxies[name] for name in names]) if share_folds else None
    n_scales = None
    if balance_folds:
        seen = set(zip(photometry["galaxy"], photometry["scale"]))
        n_scales = Counter(galaxy for galaxy, _ in seen)
    return split_folds(names, n_folds, seed, groups=groups, n_scales=n_scales)


def inner_splits(groups, n, seed):
    """Return splits of training samples that keep each galaxy whole.

    Everything that a model decides inside training (stacking, early stopping, tuning,
    validation) uses these splits: a model that sees other samples of a galaxy it is judged on
    learns the galaxy instead of the relation.

    Parameters
    ----------
    groups : array_like, shape (n_samples,)
        Galaxy of each sample.
    n : int
        Number of splits; fewer if there are fewer galaxies.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    list of (numpy.ndarray, numpy.ndarray)
        Row indices of training and test samples. Every row is in exactly one test set.

    Raises
    ------
    DataError
        If there is only one galaxy.
    """
    from sklearn.model_selection import KFold

    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(names) < 2:
        raise DataError("training needs samples of at least two galaxies")
    splitter = KFold(min(n, len(names)), shuffle=True, random_state=seed)
    splits = []
    for _, test in splitter.split(names):
        inside = np.isin(group, test)
        splits.append((np.flatnonzero(~inside), np.flatnonzero(inside)))
    return splits


def _leaders(groups):
    """Return one common name for all members of groups that are linked by a member."""
    leader = {}
    for group in groups:
        members = {str(name) for name in group}
        merged = members | {
            name for name, old in leader.items() if old in {leader.get(m) for m in members}
        }
        leader |= dict.fromkeys(merged, min(merged, default=""))
    return leader
