"""The uncertainty of a prediction in two parts: what a whole galaxy shares, and each pixel's own.

A residual is r = b + e: b is common to all samples of a galaxy, with standard deviation s_g; e
varies within it, with standard deviation s_p, and is alike in neighbouring samples. The mean of
n samples then has the variance s_g^2 + s_p^2 / n_eff, which does not vanish with n.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np

from dustcast.learning.features import sample_weights
from dustcast.sample import GLOBAL
from dustcast.tables import DataError, Table, stack_tables

MIN_GALAXIES = 8
"""Galaxies of two or more samples without which two parts cannot be told apart."""

SLOPE_SCATTER = 0.5
"""Prior of a slope about 1: a handful of galaxies must not decide how s_g grows with sigma."""

ALL_FOLDS = -1
"""Value of the column fold for a split that was fitted to all galaxies."""

_LABELS = ("regressor", "target", "scale", "fold")
_STATISTICS = (
    *("galaxy", "n_samples", "n_eff", "me", "sigma_galaxy", "sigma_pixel"),
    *("chi2", "z_g", "chi2_within"),
)
_PERCENTILES = tuple(
    (f"{name}_{percent}", name, percent)
    for name in ("chi2", "chi2_within")
    for percent in (16, 50, 84)
)
_MAX_SAMPLES = 400  # of a galaxy, of which all pairs are looked at
_N_BINS = 12


@dataclass(frozen=True)
class SigmaSplit:
    """How a predicted sigma divides into s_g and s_p; made by `fit_split`.

    Attributes
    ----------
    galaxy_level, galaxy_slope : float
        s_g = typical exp(galaxy_level) (sigma / typical)^galaxy_slope.
    pixel_level, pixel_slope : float
        The same for s_p.
    typical : float
        Weighted root mean square of sigma where it was fitted.
    length : float
        Correlation length of e, in the unit of the positions.
    nugget : float
        Part of the variance of e that neighbours do not share, 0 to 1: two samples at a distance
        h > 0 have the correlation (1 - nugget) exp(-h / length).
    """

    galaxy_level: float
    galaxy_slope: float
    pixel_level: float
    pixel_slope: float
    typical: float
    length: float
    nugget: float

    def predict(self, sigma):
        """Return s_g and s_p of samples with the predicted uncertainty `sigma`, any shape."""
        ratio = np.log(np.asarray(sigma, float) / self.typical)
        return tuple(
            self.typical * np.exp(level + slope * ratio)
            for level, slope in (
                (self.galaxy_level, self.galaxy_slope),
                (self.pixel_level, self.pixel_slope),
            )
        )

    def n_eff(self, x, y, seed=0):
        """Return how many independent samples the samples at positions x, y are worth.

        n^2 / sum of the correlations of all pairs, a sample with itself included; for more than
        400 samples the mean correlation of two is that of 400 random ones.
        """
        n = len(x)
        if n < 2:
            return float(n)
        keep = _some(n, np.random.default_rng(seed))
        distance = _distances(np.asarray(x, float)[keep], np.asarray(y, float)[keep])
        mean = (1 - self.nugget) * np.mean(np.exp(-distance / self.length))
        return n / (1 + (n - 1) * mean)


_PARAMETERS = tuple(field.name for field in fields(SigmaSplit))


def fit_split(residual, sigma, galaxy, x, y, seed=0):
    """Divide a predicted sigma into a galaxy's and a pixel's part.

    Parameters
    ----------
    residual : array_like, shape (n,)
        Prediction minus truth, by models that did not see the sample's galaxy.
    sigma : array_like, shape (n,)
        Predicted uncertainty of each sample (`uncertainty.SigmaModel.predict`).
    galaxy : array_like of str, shape (n,)
        Galaxy of each sample. Every galaxy counts the same.
    x, y : array_like, shape (n,)
        Positions within the galaxy, in pixels: samples of one scale only.
    seed : int
        Seed of the choice of samples in large galaxies.

    Returns
    -------
    SigmaSplit

    Raises
    ------
    DataError
        If fewer than `MIN_GALAXIES` galaxies have two samples.

    Notes
    -----
    1. Half the mean square difference of two residuals, in units of sigma, against their distance
       (the variogram, in which b cancels) gives length and nugget.
    2. s_p maximises the likelihood of r - <r>, whose variance is s_p^2 (1 - 1/n_eff).
    3. s_g maximises that of <r>, whose variance is s_g^2 + s_p^2 / n_eff.
    """
    residual, sigma = np.asarray(residual, float), np.asarray(sigma, float)
    x, y = np.asarray(x, float), np.asarray(y, float)
    names, group = np.unique(np.asarray(galaxy, dtype=str), return_inverse=True)
    members = [np.flatnonzero(group == k) for k in range(len(names))]
    resolved = [rows for rows in members if len(rows) > 1]
    if len(resolved) < MIN_GALAXIES:
        raise DataError(
            f"sigma of galaxies and pixels: {len(resolved)} galaxies have two or more samples, "
            f"{MIN_GALAXIES} are needed: take a finer scale or more galaxies"
        )
    rng = np.random.default_rng(seed)
    length, nugget = _correlation(residual / sigma, x, y, resolved, rng)
    weight = sample_weights(galaxy)
    typical = np.sqrt(np.average(sigma**2, weights=weight))
    shape = SigmaSplit(0.0, 1.0, 0.0, 1.0, float(typical), length, nugget)
    n_eff = np.array([shape.n_eff(x[rows], y[rows], seed) for rows in members])

    mean = np.array([residual[rows].mean() for rows in members])
    within = np.concatenate(resolved)
    lost = 1 - 1 / n_eff[group[within]]
    log_ratio = np.log(sigma / typical)
    pixel = _fit_power(
        (residual - mean[group])[within] / typical,
        log_ratio[within],
        weight[within],
        lambda variance: variance * lost,
    )
    shape = SigmaSplit(0.0, 1.0, *pixel, float(typical), length, nugget)
    noise = np.array([np.mean(shape.predict(sigma[rows])[1] ** 2) for rows in members]) / n_eff
    ratio = np.log([_rms(sigma[rows]) / typical for rows in members])
    common = _fit_power(
        mean / typical,
        ratio,
        np.ones(len(members)),
        lambda variance: variance + noise / typical**2,
    )
    return SigmaSplit(*common, *pixel, float(typical), length, nugget)


def galaxy_statistics(residual, sigma, galaxy, x, y, split, seed=0):
    """Return for each galaxy whether its mean residual and its scatter are as predicted.

    Parameters
    ----------
    residual, sigma, galaxy, x, y
        As in `fit_split`.
    split : SigmaSplit
        Fitted to other galaxies.
    seed : int
        See `SigmaSplit.n_eff`.

    Returns
    -------
    Table
        galaxy, n_samples, n_eff, me (mean residual), sigma_galaxy, sigma_pixel (root mean
        squares over its samples), chi2 = <r^2 / sigma^2>, z_g = me / sqrt(s_g^2 + s_p^2 / n_eff)
        and chi2_within = <(r - me)^2 / s_p^2> (NaN for one sample).
    """
    residual, sigma = np.asarray(residual, float), np.asarray(sigma, float)
    x, y = np.asarray(x, float), np.asarray(y, float)
    common, own = split.predict(sigma)
    names, group = np.unique(np.asarray(galaxy, dtype=str), return_inverse=True)
    rows_of = [np.flatnonzero(group == k) for k in range(len(names))]
    n_eff = np.array([split.n_eff(x[rows], y[rows], seed) for rows in rows_of])
    mean = np.array([residual[rows].mean() for rows in rows_of])
    s_g = np.array([_rms(common[rows]) for rows in rows_of])
    s_p = np.array([_rms(own[rows]) for rows in rows_of])
    within = [
        np.mean(((residual[rows] - residual[rows].mean()) / own[rows]) ** 2)
        if len(rows) > 1
        else np.nan
        for rows in rows_of
    ]
    return Table(
        {
            "galaxy": names.astype(object),
            "n_samples": np.array([len(rows) for rows in rows_of]),
            "n_eff": n_eff,
            "me": mean,
            "sigma_galaxy": s_g,
            "sigma_pixel": s_p,
            "chi2": np.array([np.mean((residual[r] / sigma[r]) ** 2) for r in rows_of]),
            "z_g": mean / np.sqrt(s_g**2 + s_p**2 / n_eff),
            "chi2_within": np.array(within),
        }
    )


def positions(sample_id):
    """Return x and y in pixels of samples of a scale, which their ids end with.

    Raises
    ------
    DataError
        If an id is that of a whole galaxy.
    """
    try:
        pairs = [
            [int(part) for part in str(name).rsplit("/", 1)[1].split("_")] for name in sample_id
        ]
        x, y = np.array(pairs, dtype=float).reshape(-1, 2).T
    except (IndexError, ValueError):
        raise DataError(f"{sample_id[0]} is no pixel: its id does not end with x_y") from None
    return x, y


def split_tables(predictions):
    """Divide the sigma of an experiment at each scale, and judge every galaxy by it.

    Parameters
    ----------
    predictions : Table
        id, galaxy, scale, fold, regressor, target, truth, prediction, sigma of held-out samples.

    Returns
    -------
    splits : Table
        regressor, target, scale, fold, n_galaxies and the attributes of `SigmaSplit`: fitted to
        all galaxies (fold `ALL_FOLDS`), and for each fold to the galaxies of the other folds.
    galaxies : Table
        regressor, target, scale, fold and the columns of `galaxy_statistics`, each galaxy judged
        by the split of its fold.
    summary : Table
        regressor, target, scale, n_galaxies, within_one (share of galaxies with abs(z_g) < 1),
        16th, 50th and 84th percentile over galaxies of chi2 and chi2_within, and reason: why a
        scale has no numbers.
    """
    splits, judged, summary = [], [], []
    for regressor, target, scale in _parts(predictions):
        part = predictions.rows(
            (predictions["regressor"] == regressor)
            & (predictions["target"] == target)
            & (predictions["scale"] == scale)
        )
        columns = (part["prediction"] - part["truth"], part["sigma"], part["galaxy"])
        columns += positions(part["id"])
        label = {"regressor": regressor, "target": target, "scale": scale}
        fold_of = np.asarray(part["fold"], int)
        row = label | {"n_galaxies": len(set(part["galaxy"])), "within_one": np.nan}
        row |= {name: np.nan for name, _, _ in _PERCENTILES} | {"reason": ""}
        summary.append(row)
        try:
            fitted = {
                fold: fit_split(*(column[fold_of != fold] for column in columns))
                for fold in (ALL_FOLDS, *np.unique(fold_of).tolist())
            }
        except DataError as fault:
            row["reason"] = str(fault)
            continue
        tables = []
        for fold, split in fitted.items():
            here = label | {"fold": fold}
            splits.append(here | {"n_galaxies": len(set(part["galaxy"][fold_of != fold]))})
            splits[-1] |= asdict(split)
            if fold != ALL_FOLDS:
                mine = fold_of == fold
                table = galaxy_statistics(*(column[mine] for column in columns), split)
                tables.append(_labelled(table, here))
        together = stack_tables(tables)
        judged.append(together)
        row["within_one"] = float(np.mean(np.abs(together["z_g"]) < 1))
        for name, statistic, percent in _PERCENTILES:
            values = together[statistic][np.isfinite(together[statistic])]
            row[name] = float(np.percentile(values, percent))
    empty = Table({name: np.array([]) for name in (*_LABELS, *_STATISTICS)})
    percentiles = (name for name, _, _ in _PERCENTILES)
    return (
        _from_rows(splits, (*_LABELS, "n_galaxies", *_PARAMETERS)),
        stack_tables([*judged, empty]),
        _from_rows(summary, (*_LABELS[:3], "n_galaxies", "within_one", *percentiles, "reason")),
    )


def read_split(splits, regressor, target, scale, fold=ALL_FOLDS):
    """Return the `SigmaSplit` of a row of the first table of `split_tables`.

    Parameters
    ----------
    splits : Table
        As written to metrics/{experiment}_split.csv.
    regressor, target, scale : str
        Of the row.
    fold : int
        Fold whose galaxies it must not have seen.

    Raises
    ------
    DataError
        If there is no such row.
    """
    keys = zip(*(splits.get(name, ()) for name in ("regressor", "target", "scale", "fold")))
    wanted = (regressor, target, scale, str(fold))
    for row, key in enumerate(keys):
        if tuple(map(str, key)) == wanted:
            return SigmaSplit(*(float(splits[name][row]) for name in _PARAMETERS))
    raise DataError(f"there is no sigma of galaxies and pixels for {target} at {scale}")


def _parts(predictions):
    """Return (regressor, target, scale) of the resolved samples, in the order of the rows."""
    keys = zip(*(predictions[name] for name in ("regressor", "target", "scale")))
    return [key for key in dict.fromkeys(keys) if key[2] != GLOBAL]


def _labelled(table, label):
    """Return a table with constant columns in front."""
    front = {
        name: np.full(table.n_rows, value, dtype=object if isinstance(value, str) else None)
        for name, value in label.items()
    }
    return Table(front | dict(table))


def _from_rows(rows, names):
    """Return rows as a table; text where a row holds text."""
    return Table(
        {
            name: np.array(
                [row[name] for row in rows],
                dtype=object if rows and isinstance(rows[0][name], str) else None,
            )
            for name in names
        }
    )


def _correlation(residual, x, y, members, rng):
    """Return correlation length and nugget from the variogram of scaled residuals."""
    from scipy.optimize import least_squares

    pairs = []
    for rows in members:
        keep = rows[_some(len(rows), rng)]
        distance = _distances(x[keep], y[keep])
        first, second = np.triu_indices(len(keep), 1)
        half_square = 0.5 * (residual[keep][first] - residual[keep][second]) ** 2
        pairs.append((distance, half_square, np.full(len(distance), 1 / len(distance))))
    distance, half_square, weight = map(np.concatenate, zip(*pairs))
    if np.min(distance) <= 0:
        raise DataError("sigma of galaxies and pixels: two samples of a galaxy share a position")
    # Beyond the median distance pairs say little of correlation and much of single galaxies.
    far = np.median(distance)
    edges = np.geomspace(distance.min() * 0.999, distance.max() * 1.001, _N_BINS + 1)
    which = np.digitize(distance, edges) - 1
    total = np.bincount(which, weight, _N_BINS)
    used = total > 0
    lag = np.bincount(which, weight * distance, _N_BINS)[used] / total[used]
    gamma = np.bincount(which, weight * half_square, _N_BINS)[used] / total[used]
    level = np.average(half_square, weights=weight) or 1.0

    def misfit(parameters):
        sill, nugget, log_length = parameters
        model = sill * (1 - (1 - nugget) * np.exp(-lag / np.exp(log_length)))
        return np.sqrt(total[used]) * (model - gamma / level)

    # A length that the galaxies do not hold would be a part of b.
    limits = np.log([0.1 * distance.min(), max(far, distance.min())])
    start = (1.0, 0.5, np.mean(limits))
    found = least_squares(misfit, start, bounds=((0.0, 0.0, limits[0]), (np.inf, 1.0, limits[1])))
    return float(np.exp(found.x[2])), float(found.x[1])


def _fit_power(residual, log_ratio, weight, variance_of):
    """Return level and slope of ln s = level + slope log_ratio that make residuals likeliest.

    `variance_of` turns s^2 into the variance of a residual. Weights are those of galaxies, whose
    number the prior of the slope is weighed against.
    """
    from scipy.optimize import minimize

    def loss(parameters):
        level, slope = parameters
        variance = variance_of(np.exp(2 * (level + slope * log_ratio)))
        likelihood = 0.5 * np.sum(weight * (np.log(variance) + residual**2 / variance))
        return likelihood + 0.5 * ((slope - 1) / SLOPE_SCATTER) ** 2

    start = (np.log(max(np.sqrt(np.average(residual**2, weights=weight)), 1e-6)), 1.0)
    # The logarithm of an absent part has no end; a thousandth of sigma is none.
    found = minimize(loss, start, method="L-BFGS-B", bounds=((-7.0, 7.0), (-3.0, 5.0)))
    return float(found.x[0]), float(found.x[1])


def _distances(x, y):
    """Return the distances of all pairs."""
    first, second = np.triu_indices(len(x), 1)
    return np.hypot(x[first] - x[second], y[first] - y[second])


def _some(n, rng):
    """Return the indices of at most `_MAX_SAMPLES` of n samples."""
    return np.arange(n) if n <= _MAX_SAMPLES else rng.choice(n, _MAX_SAMPLES, replace=False)


def _rms(values):
    return np.sqrt(np.mean(values**2))
