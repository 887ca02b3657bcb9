"""How good predictions are: root mean square error, R2, mean error and chi2.

Samples are weighted so that every galaxy counts the same; errors come from resampling galaxies,
because the samples of one galaxy are not independent.
"""

from __future__ import annotations

import numpy as np

from dustcast.learning.features import sample_weights
from dustcast.tables import DataError, Table, places, stack_tables, table_of

METRICS = ("rmse", "r2", "me", "chi2")

MIN_GALAXIES = 3
"""With fewer galaxies a bootstrap over galaxies says nothing: errors are NaN."""


def weighted_metrics(truth, prediction, sigma, weight):
    """Return the metrics of some samples.

    Parameters
    ----------
    truth, prediction, sigma, weight : array_like, shape (n,)
        True and predicted values, predicted uncertainty, weights on any scale.

    Returns
    -------
    dict of str to float
        rmse = sqrt(<r^2>), r2 = 1 - <r^2> / <(t - <t>)^2>, me = <r>, chi2 = <r^2 / sigma^2>, with
        r = prediction - truth and <> the weighted mean.
    """
    sums = _sums(*(np.asarray(a, float) for a in (truth, prediction, sigma, weight)))
    return {name: float(value) for name, value in _from_sums(sums.sum(axis=0)).items()}


def bootstrap_metrics(truth, prediction, sigma, weight, galaxy, *, n_bootstrap=1000, seed=123):
    """Return metrics with their errors.

    Parameters
    ----------
    truth, prediction, sigma, weight : array_like, shape (n,)
        As in `weighted_metrics`.
    galaxy : array_like of str, shape (n,)
        Galaxy of each sample.
    n_bootstrap : int
        Number of resamples of the galaxies.
    seed : int
        Seed of the resamples.

    Returns
    -------
    dict of str to float
        rmse, rmse_err, r2, r2_err, me, me_err, chi2, chi2_err. An error is the standard deviation
        over resamples, NaN with fewer than `MIN_GALAXIES` galaxies.
    """
    columns = (np.asarray(a, float) for a in (truth, prediction, sigma, weight))
    per_galaxy = _sums_per_galaxy(*columns, galaxy)
    values = _from_sums(per_galaxy.sum(axis=0))
    spread = dict.fromkeys(METRICS, np.nan)
    if len(per_galaxy) >= MIN_GALAXIES:
        # A metric depends on the samples through sums only, so that a resample is one product of
        # how often each galaxy was drawn with the sums of the galaxies.
        resampled = _from_sums((galaxy_draws(len(per_galaxy), n_bootstrap, seed) @ per_galaxy).T)
        spread = {name: np.std(resampled[name], ddof=1) for name in METRICS}
    result = {}
    for name in METRICS:
        result |= {name: float(values[name]), f"{name}_err": float(spread[name])}
    return result


def metrics_table(predictions, *, experiment="", n_bootstrap=1000, seed=123):
    """Return the metrics of an experiment: one row a regressor, target and scale.

    Parameters
    ----------
    predictions : Table
        galaxy, scale, regressor, target, truth, prediction, sigma (other columns are not read).
    experiment : str
        Name for the first column.
    n_bootstrap, seed : int
        See `bootstrap_metrics`.

    Returns
    -------
    Table
        experiment, regressor, target, scale, n_galaxies, n_samples, rmse, rmse_err, r2, r2_err,
        me, me_err, chi2, chi2_err. With two or more scales a row ``all`` pools them: the weight of
        a sample is 1 / n(galaxy, scale) in a row of one scale and 1 / n(galaxy) in that row.
    """
    rows = []
    for key, part in _parts(predictions):
        one = bootstrap_metrics(
            part["truth"],
            part["prediction"],
            part["sigma"],
            sample_weights(part["galaxy"]),
            part["galaxy"],
            n_bootstrap=n_bootstrap,
            seed=seed,
        )
        count = {"n_galaxies": len(np.unique(part["galaxy"].astype(str))), "n_samples": part.n_rows}
        rows.append({"experiment": experiment} | key | count | one)
    names = ["experiment", "regressor", "target", "scale", "n_galaxies", "n_samples"]
    return _table(rows, names + [name + end for name in METRICS for end in ("", "_err")])


def galaxy_metrics_table(predictions, *, experiment=""):
    """Return the metrics of each galaxy, without errors.

    Parameters
    ----------
    predictions : Table
        As in `metrics_table`.
    experiment : str
        Name for the first column.

    Returns
    -------
    Table
        experiment, regressor, target, scale, galaxy, n_samples, rmse, r2, me, chi2; samples of a
        galaxy count equally. r2 is NaN for a galaxy of one sample or of one true value.
    """
    rows = []
    for key, part in _parts(predictions):
        names, group = np.unique(part["galaxy"].astype(str), return_inverse=True)
        columns = (part[name] for name in ("truth", "prediction", "sigma"))
        # R2 compares with the galaxy's own mean, so the common zero point must not matter.
        sums = _sums_per_galaxy(*columns, np.ones(part.n_rows), part["galaxy"])
        values = _from_sums(sums.T)
        counts = np.bincount(group)
        for k, name in enumerate(names):
            one = {metric: float(values[metric][k]) for metric in METRICS}
            if counts[k] == 1:
                one["r2"] = np.nan
            label = {"galaxy": str(name), "n_samples": int(counts[k])}
            rows.append({"experiment": experiment} | key | label | one)
    names = ["experiment", "regressor", "target", "scale", "galaxy", "n_samples", *METRICS]
    return _table(rows, names)


def seeds_table(by_seed):
    """Return the metrics of an experiment on several splits of the galaxies.

    Parameters
    ----------
    by_seed : dict of int to Table
        Seed of the folds to a table as from `metrics_table`.

    Returns
    -------
    Table
        The rows of all tables, with the column fold_seed in front.
    """
    return stack_tables(
        [
            Table({"fold_seed": np.full(table.n_rows, seed)} | dict(table))
            for seed, table in by_seed.items()
        ]
    )


def paired_difference(first, second, *, n_bootstrap=1000, seed=123):
    """Return how two sets of predictions of the same samples differ.

    Parameters
    ----------
    first, second : Table
        Predictions of one target by two regressors or experiments; samples are matched by id,
        and those that only one has are left out.
    n_bootstrap, seed : int
        Resamples of the galaxies, the same for both: what makes a galaxy hard for both cancels.

    Returns
    -------
    dict of str to float
        n_galaxies, n_samples, and for each metric the difference first - second, its ``_err``
        (NaN with fewer than `MIN_GALAXIES` galaxies) and the two values ``_first``, ``_second``.

    Raises
    ------
    DataError
        If a table repeats an id, holds several targets, or the two have no sample in common.
    """
    for table in (first, second):
        if len(set(table["id"])) < table.n_rows or len(set(table["target"])) > 1:
            raise DataError("paired difference: give the predictions of one regressor and target")
    rows = places(second["id"], first["id"])
    if not (rows >= 0).any():
        raise DataError("paired difference: the two sets of predictions have no sample in common")
    first, second = first.rows(rows >= 0), second.rows(rows[rows >= 0])
    galaxy = first["galaxy"]
    weight = sample_weights(galaxy)
    sums = [
        _sums_per_galaxy(t["truth"], t["prediction"], t["sigma"], weight, galaxy)
        for t in (first, second)
    ]
    values = [_from_sums(s.sum(axis=0)) for s in sums]
    n_galaxies = len(sums[0])
    spread = dict.fromkeys(METRICS, np.nan)
    if n_galaxies >= MIN_GALAXIES:
        draws = galaxy_draws(n_galaxies, n_bootstrap, seed)
        one, two = (_from_sums((draws @ s).T) for s in sums)
        spread = {name: np.std(one[name] - two[name], ddof=1) for name in METRICS}
    result = {"n_galaxies": n_galaxies, "n_samples": first.n_rows}
    for name in METRICS:
        result |= {
            name: float(values[0][name] - values[1][name]),
            f"{name}_err": float(spread[name]),
            f"{name}_first": float(values[0][name]),
            f"{name}_second": float(values[1][name]),
        }
    return result


def _sums(truth, prediction, sigma, weight):
    """Return what each sample adds to the sums (w, w t, w t^2, w r, w r^2, w r^2/sigma^2)."""
    residual = prediction - truth
    # Without a common zero point <t^2> - <t>^2 would lose digits.
    truth = truth - (np.mean(truth) if len(truth) else 0.0)
    terms = (np.ones_like(truth), truth, truth**2, residual, residual**2, (residual / sigma) ** 2)
    return weight[:, None] * np.stack(terms, axis=1)


def _sums_per_galaxy(truth, prediction, sigma, weight, galaxy):
    _, group = np.unique(np.asarray(galaxy, dtype=str), return_inverse=True)
    terms = _sums(truth, prediction, sigma, weight)
    return np.stack([np.bincount(group, weights=term) for term in terms.T], axis=1)


def _from_sums(sums):
    """Return the metrics for sums of shape (6,) or (6, n)."""
    total, truth, truth2, residual, residual2, chi2 = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = truth2 / total - (truth / total) ** 2
        r2 = 1 - residual2 / total / variance
        return {
            "rmse": np.sqrt(residual2 / total),
            "r2": np.where(variance > 0, r2, np.nan),
            "me": residual / total,
            "chi2": chi2 / total,
        }


def galaxy_draws(n_galaxies, n_bootstrap, seed):
    """Return how often each galaxy is drawn in each resample.

    Returns
    -------
    ndarray of int, shape (n_bootstrap, n_galaxies)
    """
    share = np.full(n_galaxies, 1 / n_galaxies)
    return np.random.default_rng(seed).multinomial(n_galaxies, share, size=n_bootstrap)


def _parts(predictions):
    """Yield ({regressor, target, scale}, rows), in the order in which they first occur."""
    for regressor in dict.fromkeys(predictions.get("regressor", ())):
        of_regressor = predictions.rows(predictions["regressor"] == regressor)
        for target in dict.fromkeys(of_regressor["target"]):
            part = of_regressor.rows(of_regressor["target"] == target)
            scales = list(dict.fromkeys(part["scale"]))
            key = {"regressor": regressor, "target": target}
            for scale in scales:
                yield key | {"scale": scale}, part.rows(part["scale"] == scale)
            if len(scales) > 1:
                yield key | {"scale": "all"}, part


def _table(rows, names):
    return table_of(rows, names, text=("experiment", "regressor", "target", "scale", "galaxy"))
