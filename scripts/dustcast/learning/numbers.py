"""The numbers that the paper states about its results, computed from a run's tables.

resources/paper_numbers.csv lists them, each with the function of this module that computes it.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field

import numpy as np

from dustcast.learning.features import sample_weights
from dustcast.learning.metrics import galaxy_draws
from dustcast.learning.selections import galaxy_averages
from dustcast.sample import GLOBAL
from dustcast.tables import DataError, Table, aligned
from dustcast.units import ARCSEC_RAD, SOLAR_MASS_KG

MODE_BOUNDARY_K = 25.0
"""Between the modes of Td near 20 K (late types) and 30 K (others): Dobbels & Baes 2021, 3.1."""

LEAST_FLUX = 0.8
"""Part of the WISE 3.4 flux of a whole galaxy that its pixels must hold for their sum to count."""

N_BINS = 5  # of a radial profile, out to R25

_REFERENCE = "WISE_3.4"


class Unavailable(Exception):
    """A run cannot say what a number is; the message says why."""


@dataclass
class Run:
    """What the numbers are computed from.

    Attributes
    ----------
    predictions : Table
        Held-out predictions of one experiment by one regressor.
    selections : dict of str to Table
        Metrics by experiment (`selections.selection_metrics`), each of its first regressor.
    experiment, scale : str
        The experiment of `predictions`, and the scale of figures of one scale.
    galaxies : Table
        sample/galaxies.csv.
    photometry : Table
        id, r_r25 and WISE_3.4 of the samples of `scale` and of whole galaxies.
    features : Table
        id, c_WISE_22 and c_WISE_4.6 of the samples of `scale`.
    short, full : Table
        id, bayes.stellar.m_star, bayes.dust.mass of the fits of the same samples as `photometry`.
    told : Table
        Metrics of `selections.told_metrics`.
    names : dict of str to str
        Galaxies by the names under which the list speaks of them (``first``, ``second``).
    n_bootstrap, seed : int
        Resamples of galaxies.
    """

    predictions: Table
    selections: dict
    experiment: str
    scale: str
    galaxies: Table
    photometry: Table = field(default_factory=Table)
    features: Table = field(default_factory=Table)
    short: Table = field(default_factory=Table)
    full: Table = field(default_factory=Table)
    told: Table = field(default_factory=Table)
    names: dict = field(default_factory=dict)
    n_bootstrap: int = 1000
    seed: int = 123

    def of(self, target, scale=None, galaxy=None):
        """Return the predictions of a target at a scale (default: that of the figures)."""
        scale = scale or self.scale
        rows = (self.predictions["target"] == target) & (self.predictions["scale"] == scale)
        if galaxy:
            rows &= self.predictions["galaxy"] == self.galaxy(galaxy)
        if not rows.any():
            where = f" of {self.galaxy(galaxy)}" if galaxy else ""
            raise Unavailable(f"no samples{where} at {scale}")
        return self.predictions.rows(rows)

    def galaxy(self, name):
        """Return the galaxy of this run that the list calls `name`."""
        name = self.names.get(name, name)
        if not name:
            raise Unavailable("figures.highlight names no such galaxy")
        return name


def metric(run, name, target, scale="", selection="all", experiment=""):
    """Return a metric of a selection with its error."""
    experiment, scale = experiment or run.experiment, scale or run.scale
    if experiment not in run.selections:
        raise Unavailable(f"the run has no experiment {experiment}")
    table = run.selections[experiment]
    selection = run.galaxy(selection)
    wanted = {"selection": selection, "target": target, "scale": scale}
    rows = np.ones(table.n_rows, bool)
    for key, value in wanted.items():
        rows &= np.asarray(table[key]).astype(str) == value
    if not rows.any():
        raise Unavailable(f"{experiment} has no samples of {selection} at {scale}")
    return float(table[name][rows][0]), float(table.get(f"{name}_err", table[name])[rows][0])


def between_share(run, target):
    """Return the RMSE of averages of galaxies over that of pixels."""
    part = run.of(target)
    averages = galaxy_averages(part)

    def ratio(pixels, means):
        return _rmse(means, np.ones(means.n_rows)) / _rmse(pixels, sample_weights(pixels["galaxy"]))

    # Sums of squares by galaxy, so that a resample is a product.
    galaxy, group = np.unique(part["galaxy"].astype(str), return_inverse=True)
    square = (part["prediction"] - part["truth"]) ** 2
    within = np.bincount(group, square) / np.bincount(group)
    order = np.argsort(averages["galaxy"].astype(str))
    between = ((averages["prediction"] - averages["truth"]) ** 2)[order]
    draws = _draws(run, len(galaxy))
    return ratio(part, averages), _spread(np.sqrt((draws @ between) / (draws @ within)))


def galaxy_percentile(run, target, percent):
    """Return a percentile over galaxies of their mean chi2."""
    part = run.of(target)
    chi2 = _galaxy_means(part, ((part["prediction"] - part["truth"]) / part["sigma"]) ** 2)
    percent = float(percent)
    rng = np.random.default_rng(run.seed)
    resampled = rng.choice(chi2, (run.n_bootstrap, len(chi2)))
    return np.percentile(chi2, percent), _spread(np.percentile(resampled, percent, axis=1))


def smallest_sigma(run, target):
    """Return the smallest predicted sigma."""
    return np.min(run.of(target)["sigma"]), np.nan


def summed_mass(run, of):
    """Return the RMSE in dex of the dust masses of galaxies from sums over their pixels.

    ``of`` is predicted (predicted sMd times the stellar mass of the short fit) or fitted (dust
    mass of the full fit); the truth is the full fit to the whole galaxy. Galaxies whose pixels
    hold less than `LEAST_FLUX` of the WISE 3.4 flux do not count.
    """
    return _rms_with_error(run, summed_mass_residuals(run, of))


def summed_mass_residuals(run, of):
    """Return log10 of the summed over the true dust mass of each galaxy (see `summed_mass`)."""
    part = run.of("sMd")
    short, full = (_by_id(table) for table in (run.short, run.full))
    flux = _column(run.photometry, _REFERENCE)
    names, group = np.unique(part["galaxy"].astype(str), return_inverse=True)
    if of == "predicted":
        star = _picked(short, "bayes.stellar.m_star", part["id"])
        mass = 10 ** part["prediction"] * star
    else:
        mass = _picked(full, "bayes.dust.mass", part["id"]) / SOLAR_MASS_KG
    summed = np.bincount(group, mass)
    whole = [f"{name}/{GLOBAL}" for name in names]
    truth = _picked(full, "bayes.dust.mass", whole) / SOLAR_MASS_KG
    seen = np.bincount(group, np.nan_to_num([flux.get(name, 0.0) for name in part["id"]]))
    expected = np.array([flux.get(name, np.nan) for name in whole], float)
    with np.errstate(invalid="ignore", divide="ignore"):
        residual = np.log10(summed / truth)[seen >= LEAST_FLUX * expected]
    residual = residual[np.isfinite(residual)]
    if not len(residual):
        raise Unavailable(
            f"no galaxy of which pixels at {run.scale} hold {LEAST_FLUX:.0%} of WISE 3.4"
        )
    return residual


def told_metric(run, name, target):
    """Return a metric of what another pixel scale changes in the prediction."""
    if not run.told:
        raise Unavailable("the run has no pixels of figures.told.scale")
    row = list(run.told["target"]).index(target)
    return float(run.told[name][row]), float(run.told[f"{name}_err"][row])


def residual_correlation(run, first, second):
    """Return the weighted correlation of the residuals of two targets."""
    one, two = run.of(first), run.of(second)
    two = aligned(two, one["id"], f"the predictions of {second}")
    columns = (one["prediction"] - one["truth"], two["prediction"] - two["truth"])
    return _correlation_with_error(run, one["galaxy"], *columns)


def right_mode(run):
    """Return the weighted share of pixels whose Td is predicted on the right side of 25 K."""
    part = run.of("Td")
    right = (part["prediction"] > MODE_BOUNDARY_K) == (part["truth"] > MODE_BOUNDARY_K)
    shares = _galaxy_means(part, right.astype(float))
    return shares.mean(), _spread(_draws(run, len(shares)) @ shares / len(shares))


def colour_correlation(run):
    """Return the weighted correlation of true Td with log10(W4 / W2)."""
    part = run.of("Td")
    if "c_WISE_22" not in run.features or "c_WISE_4.6" not in run.features:
        raise Unavailable("the features have no colour of WISE 22 and 4.6")
    table = _by_id(run.features)
    colour = _picked(table, "c_WISE_22", part["id"]) - _picked(table, "c_WISE_4.6", part["id"])
    return _correlation_with_error(run, part["galaxy"], part["truth"], colour)


def radial_slope(run, target, galaxy, of):
    """Return the slope of the truth or the prediction of a galaxy with r / R25."""
    part = run.of(target, galaxy=galaxy)
    radius = _picked(_by_id(run.photometry), "r_r25", part["id"])
    if part.n_rows < 3 or not np.ptp(radius) > 0:
        raise Unavailable(f"{run.galaxy(galaxy)} has too few pixels at {run.scale}")
    slope, _ = np.polyfit(radius, part[of], 1)
    return slope, np.nan


def profiles(run, galaxies, targets=("Td", "sMd")):
    """Return radial profiles: medians of truth and prediction in rings of r / R25.

    Returns
    -------
    Table
        galaxy, target, scale, r_r25 (middle of the ring), n_samples, truth, prediction.
    """
    rows = []
    radius_of = _column(run.photometry, "r_r25")
    edges = np.linspace(0, 1, N_BINS + 1)
    for name in galaxies:
        for target in targets:
            try:
                part = run.of(target, galaxy=name)
            except Unavailable:
                continue
            ring = np.digitize([radius_of[key] for key in part["id"]], edges) - 1
            for k in range(N_BINS):
                mine = ring == k
                if mine.any():
                    middle = 0.5 * (edges[k] + edges[k + 1])
                    medians = (np.median(part[key][mine]) for key in ("truth", "prediction"))
                    rows.append((name, target, run.scale, middle, int(mine.sum()), *medians))
    names = ("galaxy", "target", "scale", "r_r25", "n_samples", "truth", "prediction")
    columns = list(zip(*rows)) if rows else [[]] * len(names)
    return Table(
        {
            name: np.array(column, dtype=object if number < 3 else None)
            for number, (name, column) in enumerate(zip(names, columns))
        }
    )


def n_galaxies(run, scale=""):
    """Return the number of galaxies with samples, at a scale or at any."""
    table = run.predictions
    rows = table["scale"] == scale if scale else np.ones(table.n_rows, bool)
    return len(set(table["galaxy"][rows])), np.nan


def n_shared(run, scales):
    """Return the number of galaxies with samples at all of some scales (joined by +)."""
    table = run.predictions
    parts = [set(table["galaxy"][table["scale"] == scale]) for scale in scales.split("+")]
    return len(set.intersection(*parts)), np.nan


def fold_galaxies(run, part):
    """Return the median number of galaxies a fold that are tested, or that train."""
    folds = [
        len(set(run.predictions["galaxy"][run.predictions["fold"] == fold]))
        for fold in np.unique(run.predictions["fold"])
    ]
    return np.median([n if part == "test" else sum(folds) - n for n in folds]), np.nan


def training_pixels(run):
    """Return the median number of pixels of the scale of the figures that a fold trains on."""
    counts = np.bincount(np.asarray(run.of("sMd")["fold"], int))
    counts = counts[counts > 0]
    return np.median(counts.sum() - counts), np.nan


def n_pixels(run, galaxy=""):
    """Return the number of pixels of all scales, or of a galaxy at the scale of the figures."""
    if galaxy:
        return run.of("sMd", galaxy=galaxy).n_rows, np.nan
    rows = (run.predictions["target"] == "sMd") & (run.predictions["scale"] != GLOBAL)
    return int(rows.sum()), np.nan


def distance_share(run, low, high):
    """Return the share of galaxies between two distances in Mpc."""
    distance = np.asarray(run.galaxies["distance"], float)
    return np.mean((distance >= float(low)) & (distance <= float(high))), np.nan


def median_d25(run):
    """Return the median D25 of the galaxies in kpc."""
    angle = np.asarray(run.galaxies["d25_arcsec"], float) * ARCSEC_RAD
    return np.median(angle * np.asarray(run.galaxies["distance"], float) * 1e3), np.nan


FUNCTIONS = {
    function.__name__: function
    for function in (
        *(metric, between_share, galaxy_percentile, smallest_sigma, summed_mass, told_metric),
        *(residual_correlation, right_mode, colour_correlation, radial_slope, n_galaxies),
        *(n_shared, fold_galaxies, training_pixels, n_pixels, distance_share, median_d25),
    )
}


def paper_table(run, numbers):
    """Return the paper's numbers beside those of a run.

    Parameters
    ----------
    run : Run
        The run's tables.
    numbers : list of dict
        Rows of resources/paper_numbers.csv: quantity, paper, paper_err, unit, section, function,
        arguments (``name=value`` joined by ``;``).

    Returns
    -------
    Table
        quantity, paper, paper_err, unit, section, value, error, note (why there is no value, or
        which galaxy stands for the paper's).

    Raises
    ------
    DataError
        If a row names a function or an argument that there is not.
    """
    rows = []
    for number in numbers:
        function = FUNCTIONS.get(number["function"])
        if function is None:
            raise DataError(f"paper_numbers.csv: there is no function {number['function']}")
        pairs = [pair.split("=", 1) for pair in number["arguments"].split(";") if pair]
        arguments = {key.strip(): value.strip() for key, *value in pairs for value in value}
        try:
            inspect.signature(function).bind(run, **arguments)
        except TypeError as fault:
            raise DataError(f"paper_numbers.csv, {number['quantity']}: {fault}") from None
        stands_for = [run.names[v] for v in arguments.values() if run.names.get(v)]
        note = f"of {stands_for[0]}" if stands_for else ""
        try:
            value, error = function(run, **arguments)
        except Unavailable as fault:
            value, error, note = np.nan, np.nan, str(fault)
        row = [number[key] for key in ("quantity", "paper", "paper_err", "unit", "section")]
        rows.append([*row, float(value), float(error), note])
    names = ("quantity", "paper", "paper_err", "unit", "section", "value", "error", "note")
    columns = dict(zip(names, zip(*rows)))
    return Table(
        {
            name: np.array(column, dtype=float if name in ("value", "error") else object)
            for name, column in columns.items()
        }
    )


def _rmse(table, weight):
    return np.sqrt(np.average((table["prediction"] - table["truth"]) ** 2, weights=weight))


def _galaxy_means(table, values):
    """Return the mean of some values over each galaxy's samples."""
    _, group = np.unique(table["galaxy"].astype(str), return_inverse=True)
    return np.bincount(group, values) / np.bincount(group)


def _draws(run, n):
    """Return how often each of n galaxies is drawn in each resample."""
    return galaxy_draws(n, run.n_bootstrap, run.seed)


def _spread(values):
    return np.nanstd(values, ddof=1)


def _rms_with_error(run, residual):
    square = residual**2
    draws = _draws(run, len(square))
    return np.sqrt(square.mean()), _spread(np.sqrt(draws @ square / len(square)))


def _correlation_with_error(run, galaxy, x, y):
    """Return the correlation in which every galaxy counts the same, with its bootstrap error."""
    weight = sample_weights(galaxy)
    _, group = np.unique(np.asarray(galaxy, dtype=str), return_inverse=True)
    x, y = x - x.mean(), y - y.mean()
    terms = (np.ones_like(x), x, y, x * x, y * y, x * y)
    sums = np.stack([np.bincount(group, weight * term) for term in terms], axis=1)

    def correlation(total):
        n, sx, sy, sxx, syy, sxy = total
        with np.errstate(invalid="ignore", divide="ignore"):
            return (n * sxy - sx * sy) / np.sqrt((n * sxx - sx**2) * (n * syy - sy**2))

    return correlation(sums.sum(axis=0)), _spread(correlation((_draws(run, len(sums)) @ sums).T))


def _by_id(table):
    """Return a table with the row of each id."""
    if "id" not in table:
        raise Unavailable("the run lacks the tables that this needs")
    return table, {name: row for row, name in enumerate(table["id"])}


def _column(table, name):
    """Return a column by id."""
    if name not in table:
        raise Unavailable(f"the photometry has no {name}")
    return dict(zip(table["id"], np.asarray(table[name], float)))


def _picked(indexed, name, ids):
    """Return the values of a column for some ids, NaN where there is none."""
    table, row = indexed
    values = np.append(np.asarray(table[name], float), np.nan)
    return values[[row.get(key, -1) for key in ids]]
