"""The predicted uncertainty of a prediction.

A second model learns sigma from residuals, by gradient boosting with the negative log-likelihood
of a Gaussian as its objective (Dobbels & Baes 2021, section 2.3). Residuals must come from models
that did not see the galaxy (`regressors.out_of_fold`): those of the training samples themselves
are three times too small (chi2 near 9).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from dustcast.learning.folds import inner_splits
from dustcast.tables import DataError, atomic

DEFAULTS = {
    "max_rounds": 80,
    "learning_rate": 0.1,
    "max_depth": 2,
    "min_child_weight": 10.0,
    "reg_lambda": 10.0,
    "subsample": 0.8,
    "colsample_bynode": 0.5,
    "n_inner": 5,
    "validation": "cross",
    "validation_fraction": 0.2,
    "min_galaxies_holdout": 100,
    "scale_prior": 100.0,
}
"""Settings of the sigma model; see `fit_sigma`."""

_BOOSTER_KEYS = (
    "learning_rate",
    "max_depth",
    "min_child_weight",
    "reg_lambda",
    "subsample",
    "colsample_bynode",
)


def negative_log_likelihood(log_variance, residual, weight):
    """Return the weighted Gaussian negative log-likelihood of each sample, less a constant.

    NLL = w/2 (s + r^2 exp(-s)) with s = ln sigma^2.
    """
    return 0.5 * weight * (log_variance + residual**2 * np.exp(-log_variance))


def gradient_and_hessian(log_variance, residual, weight):
    """Return derivatives of `negative_log_likelihood` with respect to s = ln sigma^2.

    Parameters
    ----------
    log_variance, residual, weight : numpy.ndarray, shape (n,)
        s, residual and weight of each sample.

    Returns
    -------
    gradient : numpy.ndarray, shape (n,)
        w/2 (1 - q), with q = r^2 exp(-s).
    hessian : numpy.ndarray, shape (n,)
        w/2 max(q, 1). The second derivative is w q/2 and its expectation (Fisher) w/2. Newton
        steps with the former explode where q is near 0, with the latter where q is large; with
        the greater of both a step in s is never beyond 1 either way.
    """
    q = residual**2 * np.exp(-log_variance)
    return 0.5 * weight * (1 - q), 0.5 * weight * np.maximum(q, 1.0)


class SigmaModel:
    """Predicts the standard deviation of a residual from the features.

    Parameters
    ----------
    booster : xgboost.Booster
        Predicts s = ln (sigma / scale)^2.
    scale : float
        Unit of the residuals in training: their weighted root mean square.
    factor : float
        Correction from galaxies that the booster did not train on: sqrt(chi2).
    factors : dict of str to float, optional
        The same by pixel scale, for a model of several; other scales have `factor`.
    """

    def __init__(self, booster, scale, factor, factors=None):
        self.booster = booster
        self.scale = float(scale)
        self.factor = float(factor)
        self.factors = dict(factors or {})

    def predict(self, inputs, pixel_scale=None):
        """Return sigma in the unit of the residuals.

        Parameters
        ----------
        inputs : numpy.ndarray, shape (n_samples, n_features)
            Features.
        pixel_scale : array_like of str, shape (n_samples,), optional
            Name of the pixel scale of each sample; without it all have `factor`.

        Returns
        -------
        numpy.ndarray, shape (n_samples,)
        """
        import xgboost

        log_variance = self.booster.predict(xgboost.DMatrix(inputs, nthread=1), output_margin=True)
        factor = self.factor
        if self.factors and pixel_scale is not None:
            factor = np.array([self.factors.get(str(name), self.factor) for name in pixel_scale])
        return self.scale * factor * np.exp(0.5 * log_variance.astype(float))

    def save(self, path):
        """Write the model in xgboost's own format (scale and factors are attributes in it)."""
        attributes = {"scale": self.scale, "factor": self.factor}
        if self.factors:
            attributes["factors"] = self.factors
        self.booster.set_attr(**{name: json.dumps(value) for name, value in attributes.items()})
        with atomic(path) as temporary:
            self.booster.save_model(temporary)

    @classmethod
    def load(cls, path):
        """Read a model that `save` wrote.

        Raises
        ------
        DataError
            If the file is missing or is not such a model.
        """
        import xgboost

        path = Path(path)
        if not path.is_file():
            raise DataError(f"{path} does not exist: train the model again")
        try:
            booster = xgboost.Booster({"nthread": 1}, model_file=path)
            scale, factor = (json.loads(booster.attr(name)) for name in ("scale", "factor"))
            factors = json.loads(booster.attr("factors") or "{}")
        except (xgboost.core.XGBoostError, TypeError, ValueError) as fault:
            reason = str(fault).strip().splitlines()[-1]
            raise DataError(f"{path} is no uncertainty model ({reason}): train it again") from None
        return cls(booster, scale, factor, factors)


def fit_sigma(inputs, residual, weight, galaxy, settings=None, seed=0, pixel_scale=None):
    """Learn sigma from residuals.

    Parameters
    ----------
    inputs : numpy.ndarray, shape (n_samples, n_features)
        Features; NaN where missing.
    residual : numpy.ndarray, shape (n_samples,)
        Prediction minus truth, by models that did not see the sample's galaxy.
    weight : numpy.ndarray, shape (n_samples,)
        Positive weights on any scale: the same as in the regression.
    galaxy : array_like of str, shape (n_samples,)
        Galaxy of each sample; every split below is by galaxy.
    settings : dict, optional
        What differs from `DEFAULTS`: xgboost's parameters; ``max_rounds``, of which the best
        number is found on ``n_inner`` inner folds; ``validation``: "cross" takes chi2 from those
        folds together, each predicted by a booster that did not see it, and trains the booster
        on all; "holdout" keeps a ``validation_fraction`` of the galaxies from the booster and
        takes chi2 from them (as the paper does, which costs training galaxies and leaves the
        factor uncertain: chi2 of 714 held-out galaxies scattered by 0.08 about 1 with it and by
        0.03 with "cross"). With fewer than ``min_galaxies_holdout`` galaxies it is always
        "cross": chi2 of a handful means nothing. ``scale_prior``: how many galaxies the chi2 of
        all pixel scales together is worth beside the chi2 of one. Chi2 of single galaxies
        scatters by about 1.5 and that of scales by about 0.15, hence (1.5 / 0.15)^2.
    seed : int
        Seed of the splits and the booster.
    pixel_scale : array_like of str, shape (n_samples,), optional
        Name of the pixel scale of each sample. Where there are two or more, each has a factor
        of its own: the trees see the scale only as one input of many.

    Returns
    -------
    SigmaModel

    Raises
    ------
    DataError
        If a setting is unknown.
    """
    unknown = set(settings or {}) - set(DEFAULTS)
    if unknown:
        raise DataError(
            f"sigma model: unknown setting {', '.join(sorted(unknown))}: "
            f"choose from {', '.join(DEFAULTS)}"
        )
    chosen = DEFAULTS | dict(settings or {})
    if chosen["validation"] not in ("holdout", "cross"):
        raise DataError(f"sigma model: validation is {chosen['validation']!r}: holdout or cross")
    galaxy = np.asarray(galaxy)
    weight = weight / np.mean(weight)
    scale = np.sqrt(np.average(residual**2, weights=weight)) or 1.0
    pixel_scale = np.asarray([""] * len(galaxy) if pixel_scale is None else pixel_scale, dtype=str)
    sample = _Samples(inputs, residual / scale, weight, galaxy, pixel_scale)
    holdout = chosen["validation"] == "holdout"
    if holdout and len(np.unique(galaxy)) >= chosen["min_galaxies_holdout"]:
        n_splits = round(1 / chosen["validation_fraction"])
        train, test = inner_splits(galaxy, n_splits, seed)[0]
        sample, validation = sample.rows(train), sample.rows(test)
        rounds, _ = _tune(sample, chosen, seed)
        booster, _ = _boost(sample, chosen, rounds, seed)
        log_variance = booster.predict(validation.matrix(), output_margin=True)
    else:
        rounds, log_variance = _tune(sample, chosen, seed)
        booster, _ = _boost(sample, chosen, rounds, seed)
        validation = sample
    factor = np.sqrt(validation.chi2(log_variance)) or 1.0
    factors = _scale_factors(validation, log_variance, chosen["scale_prior"])
    return SigmaModel(booster, scale, factor, factors)


def _scale_factors(validation, log_variance, prior):
    """Return the factor of each pixel scale, none where there is one scale only."""
    names = np.unique(validation.pixel_scale).tolist()
    if len(names) < 2:
        return {}
    chi2, factors = validation.chi2(log_variance), {}
    for name in names:
        rows = validation.pixel_scale == name
        part = validation.rows(rows)
        n_galaxies = len(np.unique(part.galaxy))
        total = n_galaxies * part.chi2(log_variance[rows]) + prior * chi2
        factors[name] = float(np.sqrt(total / (n_galaxies + prior))) or 1.0
    return factors


class _Samples:
    """What the booster trains on: features, residuals in units of their scatter, weights."""

    def __init__(self, inputs, residual, weight, galaxy, pixel_scale):
        self.inputs = inputs
        self.residual = residual
        self.weight = weight
        self.galaxy = galaxy
        self.pixel_scale = pixel_scale

    def rows(self, keep):
        columns = (self.inputs, self.residual, self.weight, self.galaxy, self.pixel_scale)
        return _Samples(*(column[keep] for column in columns))

    def matrix(self):
        import xgboost

        # Weights enter through the objective, once.
        return xgboost.DMatrix(self.inputs, label=self.residual, nthread=1)

    def chi2(self, log_variance):
        return np.average(self.residual**2 * np.exp(-log_variance), weights=self.weight)


def _boost(sample, chosen, rounds, seed, test=None):
    """Train `rounds` trees.

    Returns
    -------
    booster : xgboost.Booster
    curve : list of numpy.ndarray
        s of the samples `test` (if any) after each round.
    """
    import xgboost

    def objective(predicted, _):
        return gradient_and_hessian(predicted, sample.residual, sample.weight)

    matrix = sample.matrix()
    watched = [] if test is None else [test.matrix()]
    booster = xgboost.Booster(
        {name: chosen[name] for name in _BOOSTER_KEYS}
        | {"seed": seed, "nthread": 1, "tree_method": "hist", "base_score": 0.0}
        | {"disable_default_eval_metric": True},
        # A booster adds only its newest tree to the predictions of matrices that it knows.
        cache=[matrix, *watched],
    )
    curve = []
    for number in range(rounds):
        booster.update(matrix, number, fobj=objective)
        curve += [booster.predict(known, output_margin=True) for known in watched]
    return booster, curve


def _tune(sample, chosen, seed):
    """Return the best number of rounds, and s of each sample by a booster that did not see it."""
    unseen = np.zeros((chosen["max_rounds"], len(sample.residual)))
    for train, test in inner_splits(sample.galaxy, chosen["n_inner"], seed):
        _, curve = _boost(
            sample.rows(train), chosen, chosen["max_rounds"], seed, test=sample.rows(test)
        )
        unseen[:, test] = curve
    loss = negative_log_likelihood(unseen, sample.residual, sample.weight).sum(axis=1)
    best = int(np.argmin(loss))
    return best + 1, unseen[best]
