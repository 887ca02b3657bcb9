"""Which features matter for which property, and how predictions depend on them."""

from __future__ import annotations

import numpy as np

from dustcast.learning.experiments import feature_matrix, rows_of_fold
from dustcast.learning.features import sample_weights
from dustcast.learning.metrics import MIN_GALAXIES, galaxy_draws
from dustcast.tables import table_of

N_REPEATS = 5
N_VALUES = 15
N_SHOWN = 6
MAX_ROWS = 4000
"""Samples of a fold that are predicted again, drawn so that galaxies stay about equal."""

_IMPORTANCE = ("kind", "feature", "rmse", "increase", "increase_err", "n_galaxies")
_TEXT = ("target", "kind", "feature")
_DEPENDENCE = ("feature", "rank", "value", "effect", "effect_err")


def feature_groups(names):
    """Return features by what can be switched off together: each feature, and each instrument.

    Parameters
    ----------
    names : list of str
        Inputs of a model.

    Returns
    -------
    dict of (str, str) to list of str
        By kind (``feature``, ``instrument``) and name. Features of bands belong to the instrument
        that the band's name begins with; an instrument with one feature is left out.
    """
    groups = {("feature", name): [name] for name in names}
    instruments = {}
    for name in names:
        prefix, _, band = name.partition("_")
        if len(prefix) == 1 and "_" in band:
            instruments.setdefault(band.split("_")[0], []).append(name)
    return groups | {
        ("instrument", name): members for name, members in instruments.items() if len(members) > 1
    }


def permutation_importance(
    features, folds, models, *, n_repeats=N_REPEATS, max_rows=MAX_ROWS, n_bootstrap=1000, seed=123
):
    """Return how much worse galaxies are predicted with the features of other galaxies.

    A sample gets the features of a group from a sample of another galaxy of its fold, at its own
    scale where that galaxy has one (permutation importance of Breiman 2001, by galaxy: samples of
    one galaxy are alike, and permuting them would hide what a feature is worth).

    Parameters
    ----------
    features : Table
        Features with galaxy, scale and the models' targets, from `experiments.read_features`.
    folds : dict of str to int
        Fold of each galaxy.
    models : iterable of (int, FoldModel)
        Fold and the model that has not seen it.
    n_repeats : int
        Permutations; their squared errors are averaged.
    max_rows : int
        As `MAX_ROWS`.
    n_bootstrap : int
        Resamples of the galaxies.
    seed : int
        Seed of samples, permutations and resamples.

    Returns
    -------
    Table
        target, then kind and feature (`feature_groups`), rmse (weighted, of the untouched
        features), increase (rise of the RMSE), increase_err (standard deviation over resamples;
        NaN with fewer than `metrics.MIN_GALAXIES` galaxies), n_galaxies.
    """
    parts = {}
    for fold, model in models:
        rng = np.random.default_rng([seed, fold])
        rows = _drawn(rows_of_fold(features, folds, fold), max_rows, rng)
        if rows.n_rows:
            found = _squared_errors(rows, model, n_repeats, rng)
            for key, columns in found.items():
                parts.setdefault((model.target, *key), []).append(columns)
    out = []
    for (target, kind, name), pieces in parts.items():
        # One row a galaxy: sums of weight, of weighted squared errors before and after.
        sums = np.concatenate(pieces)
        weight, before, after = sums.T
        row = {"target": target, "kind": kind, "feature": name, "n_galaxies": len(sums)}
        row["rmse"] = np.sqrt(before.sum() / weight.sum())
        row["increase"] = np.sqrt(after.sum() / weight.sum()) - row["rmse"]
        row["increase_err"] = np.nan
        if len(sums) >= MIN_GALAXIES:
            drawn = galaxy_draws(len(sums), n_bootstrap, seed) @ sums
            change = np.sqrt(drawn[:, 2] / drawn[:, 0]) - np.sqrt(drawn[:, 1] / drawn[:, 0])
            row["increase_err"] = change.std(ddof=1)
        out.append(row)
    return table_of(out, ("target", *_IMPORTANCE), _TEXT)


def partial_dependence(
    features, folds, models, importance, *, n_shown=N_SHOWN, max_rows=MAX_ROWS, seed=123
):
    """Return how mean predictions change with one feature (Friedman 2001, section 8.2).

    Parameters
    ----------
    features, folds, models, max_rows, seed
        As `permutation_importance`.
    importance : Table
        Its result: the most important features of each target are taken.
    n_shown : int
        How many of them.

    Returns
    -------
    Table
        target, feature, rank (0 for the most important), value (of the feature: weighted
        percentiles from 2 to 98), effect (weighted mean prediction with every sample at that
        value, minus its mean over the values; mean over folds), effect_err (standard deviation
        over the folds).
    """
    chosen = {}
    for target in dict.fromkeys(importance["target"]):
        own = importance.rows((importance["target"] == target) & (importance["kind"] == "feature"))
        order = np.argsort(-np.asarray(own["increase"], float), kind="stable")
        chosen[target] = [str(own["feature"][k]) for k in order[:n_shown]]
    weight = sample_weights(features["galaxy"]) if features.n_rows else np.empty(0)
    values_of = {
        name: _percentiles(np.asarray(features[name], float), weight)
        for name in dict.fromkeys(name for names in chosen.values() for name in names)
    }
    curves = {}
    for fold, model in models:
        rng = np.random.default_rng([seed, fold])
        rows = _drawn(rows_of_fold(features, folds, fold), max_rows, rng)
        if not rows.n_rows:
            continue
        inputs = feature_matrix(rows, model.feature_names)
        row_weight = sample_weights(rows["galaxy"])
        for name in chosen.get(model.target, ()):
            values = values_of[name]
            column = model.feature_names.index(name)
            curve = np.empty(len(values))
            for k, value in enumerate(values):
                changed = inputs.copy()
                changed[:, column] = value
                curve[k] = np.average(model.mean.predict(changed), weights=row_weight)
            curves.setdefault((model.target, name), []).append(curve - curve.mean())
    out = []
    for target, names in chosen.items():
        for rank, name in enumerate(names):
            found = np.array(curves[target, name])
            error = found.std(axis=0, ddof=1) if len(found) > 1 else np.full(found.shape[1], np.nan)
            for value, effect, effect_err in zip(values_of[name], found.mean(axis=0), error):
                row = {"target": target, "feature": name, "rank": rank, "value": value}
                out.append(row | {"effect": effect, "effect_err": effect_err})
    return table_of(out, ("target", *_DEPENDENCE), _TEXT)


def _drawn(rows, max_rows, rng):
    """Return at most so many rows, in their order."""
    if rows.n_rows <= max_rows:
        return rows
    weight = sample_weights(rows["galaxy"])
    drawn = rng.choice(rows.n_rows, max_rows, replace=False, p=weight / weight.sum())
    return rows.rows(np.sort(drawn))


def _squared_errors(rows, model, n_repeats, rng):
    """Return for each group of features, by galaxy, the weight and the squared errors."""
    galaxy = np.asarray(rows["galaxy"], dtype=str)
    scale = np.asarray(rows["scale"], dtype=str)
    weight = sample_weights(galaxy)
    truth = np.asarray(rows[model.target], float)
    inputs = feature_matrix(rows, model.feature_names)
    names, index = np.unique(galaxy, return_inverse=True)

    def by_galaxy(values):
        return np.bincount(index, weights=weight * values, minlength=len(names))

    before = by_galaxy((model.mean.predict(inputs) - truth) ** 2)
    donors = [_donors(galaxy, scale, rng) for _ in range(n_repeats)]
    found = {}
    for key, members in feature_groups(model.feature_names).items():
        columns = [model.feature_names.index(name) for name in members]
        after = np.zeros(len(names))
        for donor in donors:
            changed = inputs.copy()
            changed[:, columns] = inputs[donor][:, columns]
            after += by_galaxy((model.mean.predict(changed) - truth) ** 2) / n_repeats
        found[key] = np.column_stack([by_galaxy(np.ones(len(galaxy))), before, after])
    return found


def _donors(galaxy, scale, rng):
    """Return for each sample the row of another galaxy whose features it gets.

    The galaxies are put into a ring in a random order, and each gives to the next.
    """
    ring = rng.permutation(np.unique(galaxy))
    giver = dict(zip(ring, np.roll(ring, 1)))
    places = {}
    for row, key in enumerate(zip(galaxy, scale)):
        places.setdefault(key, []).append(row)
        places.setdefault((key[0], None), []).append(row)
    donor = np.empty(len(galaxy), int)
    for row, (name, where) in enumerate(zip(galaxy, scale)):
        rows = places.get((giver[name], where)) or places[giver[name], None]
        donor[row] = rows[rng.integers(len(rows))]
    return donor


def _percentiles(values, weight):
    """Return different values of a feature at even steps of its weighted distribution."""
    known = np.isfinite(values)
    if not known.any():
        return np.empty(0)
    values, weight = values[known], weight[known]
    order = np.argsort(values, kind="stable")
    share = (np.cumsum(weight[order]) - 0.5 * weight[order]) / weight.sum()
    return np.unique(np.interp(np.linspace(0.02, 0.98, N_VALUES), share, values[order]))
