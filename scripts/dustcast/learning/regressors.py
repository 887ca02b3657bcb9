"""Regressors by name: how each is made, fitted, stacked, stored and read back.

A regressor has scikit-learn's ``fit(X, y, sample_weight)`` and ``predict(X)``. All are seeded and
use one thread, so that equal input gives equal output; parallelism is the workflow's affair (one
job a target and fold). Missing features (NaN) are allowed everywhere: trees send them down a
branch, the others take the median of the training samples.
"""

from __future__ import annotations

import copy
import json
import warnings
import zipfile
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.preprocessing import StandardScaler

from dustcast.learning.folds import inner_splits
from dustcast.provenance import versions
from dustcast.tables import DataError, atomic, write_text

DEFAULTS = {
    # Dobbels & Baes 2021 do not state theirs; leaves of five and a third of the features are
    # Breiman's advice for regression, and no worse than any other on inner folds here.
    "random_forest": {"n_estimators": 300, "min_samples_leaf": 5, "max_features": 1 / 3},
    "extra_trees": {"n_estimators": 300, "min_samples_leaf": 2, "max_features": 0.6},
    "hist_gradient_boosting": {
        "learning_rate": 0.03,
        "max_iter": 200,
        "max_depth": 3,
        "min_samples_leaf": 10,
        "l2_regularization": 1.0,
        "max_features": 0.4,
        # The library's own early stopping splits at random, through galaxies.
        "early_stopping": False,
    },
    "xgboost": {
        "n_estimators": 300,
        "learning_rate": 0.03,
        "max_depth": 3,
        "subsample": 0.6,
        "colsample_bynode": 0.4,
        "min_child_weight": 5,
        "reg_lambda": 3,
    },
    "svr": {"C": 10.0, "epsilon": 0.2, "gamma": 0.01, "max_rows": 6000, "relevance": 0.25},
    "gaussian_process": {
        "nu": 1.5,
        "length_scale": 3.0,
        "noise": 0.3,
        "max_rows": 1500,
        "relevance": 0.25,
    },
    "mlp": {
        "hidden_layer_sizes": [32],
        "alpha": 1.0,
        "learning_rate_init": 3e-3,
        "max_iter": 100,
        "n_networks": 4,
        "relevance": 0.25,
    },
    "linear": {"alpha": 10.0},
    "ensemble": {
        "base": ["gaussian_process", "svr", "mlp", "random_forest", "xgboost"],
        "n_inner": 5,
        "shrinkage": 1.0,
    },
}
"""Settings of each regressor, by the names of its library; a configuration may change any."""

LIBRARIES = ("numpy", "scikit-learn")
"""With xgboost (whose distribution has many names): what decides a stored model's predictions."""

# What a stored model may contain besides numpy arrays and the scikit-learn estimators that skops
# knows: each was looked up, holds numbers only, and runs no code of the file when it is read.
TRUSTED_TYPES = (
    "dustcast.learning.regressors.NoiseByWeight",
    "dustcast.learning.regressors.ScaledRegressor",
    "dustcast.learning.regressors.WeightedGaussianProcess",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.Matern",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.Sum",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
)


def make_regressor(name, settings=None, seed=0):
    """Return an unfitted regressor.

    Parameters
    ----------
    name : str
        A key of `DEFAULTS`.
    settings : dict, optional
        What differs from the defaults. Trees, boosting, ``svr``, ``mlp`` and ``linear`` take any
        parameter of their class in scikit-learn or xgboost; ``svr`` and ``gaussian_process`` also
        ``max_rows`` (their cost grows with the square and the cube of the number of samples:
        more are thinned by weight), these two and ``mlp`` ``relevance`` (see
        `ScaledRegressor`), ``mlp`` ``n_networks``, whose mean it is. ``ensemble`` takes
        ``base``, ``n_inner``, ``shrinkage`` (see `StackedEnsemble`) and the settings of a base
        regressor under its name.
    seed : int
        Seed of everything random.

    Returns
    -------
    estimator

    Raises
    ------
    DataError
        If the name or a setting is unknown.
    """
    if name not in DEFAULTS:
        raise DataError(f"no regressor is called {name!r}: choose from {', '.join(DEFAULTS)}")
    chosen = copy.deepcopy(DEFAULTS[name]) | dict(settings or {})
    try:
        return _BUILDERS[name](chosen, int(seed))
    except TypeError as fault:
        raise DataError(f"regressor {name}: a setting is unknown to it ({fault})") from None


def fit_regressor(model, inputs, target, weight, galaxy):
    """Fit a regressor in place and return it.

    Parameters
    ----------
    model : estimator
        From `make_regressor`.
    inputs : numpy.ndarray, shape (n_samples, n_features)
        Features; NaN where missing.
    target : numpy.ndarray, shape (n_samples,)
        Finite true values.
    weight : numpy.ndarray, shape (n_samples,)
        Positive weights on any scale.
    galaxy : array_like of str, shape (n_samples,)
        Galaxy of each sample, for the inner splits of an ensemble.

    Returns
    -------
    estimator
        `model`, fitted.
    """
    # Penalties (C, reg_lambda, alpha) are relative to weights of mean one.
    weight = weight / np.mean(weight)
    if isinstance(model, StackedEnsemble):
        return model.fit(inputs, target, sample_weight=weight, groups=galaxy)
    with warnings.catch_warnings():
        # A network stopped by max_iter is regularised on purpose; a kernel parameter at its bound
        # is a feature that does not matter.
        warnings.filterwarnings("ignore", module="sklearn")
        return model.fit(inputs, target, sample_weight=weight)


def out_of_fold(model, inputs, target, weight, galaxy, *, n_inner=5, seed=0):
    """Return predictions for the training samples by models that did not see their galaxy.

    Parameters
    ----------
    model : estimator
        From `make_regressor`, fitted or not; it is not changed. A fitted ensemble has these
        predictions already.
    inputs, target, weight, galaxy
        As in `fit_regressor`.
    n_inner : int
        Number of inner folds.
    seed : int
        Seed of the inner folds.

    Returns
    -------
    numpy.ndarray, shape (n_samples,)
    """
    known = getattr(model, "out_of_fold_", None)
    if known is not None and len(known) == len(target):
        return known
    predicted = np.empty(len(target))
    for train, test in inner_splits(galaxy, n_inner, seed):
        fitted = fit_regressor(
            _fresh(model), inputs[train], target[train], weight[train], np.asarray(galaxy)[train]
        )
        predicted[test] = fitted.predict(inputs[test])
    return predicted


class ScaledRegressor(RegressorMixin, BaseEstimator):
    """A regressor that needs complete, standardised features and a standardised target.

    Parameters
    ----------
    estimator : estimator
        What is fitted; must take sample weights.
    max_rows : int or None
        Largest number of training samples. Of more, this many are drawn without replacement with
        probabilities proportional to the weights, and count equally from then on.
    relevance : float
        Power of a feature's importance (in a small forest of extremely randomised trees on the
        same samples) by which it is stretched after standardisation. 0 treats all alike; more
        keeps the many uninformative features of observed errors from drowning the colours in the
        distances that kernels and networks see.
    seed : int
        Seed of the draw and the forest.
    """

    def __init__(self, estimator, max_rows=None, relevance=0.0, seed=0):
        self.estimator = estimator
        self.max_rows = max_rows
        self.relevance = relevance
        self.seed = seed

    def fit(self, X, y, sample_weight=None):
        """Fit to features `X` (n_samples, n_features; NaN allowed) and target `y`."""
        weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
        if self.max_rows and len(y) > self.max_rows:
            draw = np.random.default_rng(self.seed)
            rows = np.sort(
                draw.choice(len(y), self.max_rows, replace=False, p=weight / weight.sum())
            )
            X, y, weight = X[rows], y[rows], np.ones(len(rows))
        known = np.isfinite(X)
        self.medians_ = np.array(
            [np.median(x[k]) if k.any() else 0.0 for x, k in zip(X.T, known.T)]
        )
        complete = self._complete(X)
        self.scaler_ = StandardScaler().fit(complete, sample_weight=weight)
        self.target_mean_ = float(np.average(y, weights=weight))
        scatter = np.sqrt(np.average((y - self.target_mean_) ** 2, weights=weight))
        self.target_scale_ = float(scatter) or 1.0
        self.n_features_in_ = X.shape[1]
        self.stretch_ = self._stretch(complete, y, weight)
        self.estimator_ = clone(self.estimator).fit(
            self.scaler_.transform(complete) * self.stretch_,
            (y - self.target_mean_) / self.target_scale_,
            sample_weight=weight,
        )
        return self

    def predict(self, X):
        """Return predictions for features `X` (n_samples, n_features)."""
        scaled = self.scaler_.transform(self._complete(X)) * self.stretch_
        return self.target_mean_ + self.target_scale_ * self.estimator_.predict(scaled)

    def _complete(self, X):
        return np.where(np.isnan(X), self.medians_, X)

    def _stretch(self, complete, y, weight):
        """Return the factor of each standardised feature, of mean square 1."""
        if not self.relevance:
            return np.ones(complete.shape[1])
        forest = ExtraTreesRegressor(100, min_samples_leaf=3, random_state=self.seed, n_jobs=1)
        importance = forest.fit(complete, y, sample_weight=weight).feature_importances_
        share = np.maximum(importance / (importance.mean() or 1.0), 0.01) ** self.relevance
        return share / np.sqrt(np.mean(share**2))


class NoiseByWeight(WhiteKernel):
    """White noise of variance noise_level / weight for each training sample.

    Parameters
    ----------
    noise_level : float
        Noise variance of a sample of weight 1; learned.
    noise_level_bounds : (float, float)
        Range of the search.
    weight : numpy.ndarray, shape (n_samples,), optional
        Weights of the training samples (default 1). No other samples have noise.
    """

    def __init__(self, noise_level=1.0, noise_level_bounds=(1e-5, 1e5), weight=None):
        super().__init__(noise_level, noise_level_bounds)
        self.weight = weight

    def __call__(self, X, Y=None, eval_gradient=False):
        """Return the kernel matrix, and its derivative by ln noise_level."""
        if Y is not None or self.weight is None:
            return super().__call__(X, Y, eval_gradient)
        matrix = np.diag(self.noise_level / self.weight)
        return (matrix, matrix[:, :, None]) if eval_gradient else matrix


class WeightedGaussianProcess(RegressorMixin, BaseEstimator):
    """Gaussian process with a Matern kernel, whose samples may have weights.

    The noise variance of a sample is inverse to its weight; the kernel's parameters maximise the
    marginal likelihood.

    Parameters
    ----------
    nu : float
        Smoothness of the Matern kernel.
    length_scale, noise : float
        Where the search starts, for standardised features and target.
    """

    def __init__(self, nu=1.5, length_scale=3.0, noise=0.3):
        self.nu = nu
        self.length_scale = length_scale
        self.noise = noise

    def fit(self, X, y, sample_weight=None):
        """Fit to complete, standardised features and target."""
        signal = ConstantKernel() * Matern(self.length_scale, nu=self.nu)
        process = GaussianProcessRegressor(signal + NoiseByWeight(self.noise, weight=sample_weight))
        self.process_ = process.fit(X, y)
        return self

    def predict(self, X):
        """Return the posterior mean."""
        # A map has more pixels than a kernel matrix of all at once has room for.
        blocks = np.array_split(X, max(1, len(X) // 4096))
        return np.concatenate([self.process_.predict(block) for block in blocks])


class StackedEnsemble(RegressorMixin, BaseEstimator):
    """A weighted mean of regressors, weighted by how they predict galaxies they did not see.

    Parameters
    ----------
    learners : list of (str, estimator)
        Base regressors by name.
    n_inner : int
        Inner folds, by galaxy, from which the weights are learned.
    shrinkage : float
        Pull of the weights towards equal ones, in units of the mean squared error of a base
        regressor: base regressors differ less than their errors on a few hundred galaxies.
    seed : int
        Seed of the inner folds.

    Attributes
    ----------
    weights_ : numpy.ndarray, shape (n_learners,)
        Non-negative, sum 1.
    out_of_fold_ : numpy.ndarray, shape (n_samples,)
        Prediction of each training sample by base regressors and weights that were learned
        without its galaxy.
    """

    def __init__(self, learners, n_inner=5, shrinkage=0.1, seed=0):
        self.learners = learners
        self.n_inner = n_inner
        self.shrinkage = shrinkage
        self.seed = seed

    def fit(self, X, y, sample_weight=None, groups=None):
        """Fit to features `X`, target `y`; `groups` is the galaxy of each sample."""
        weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
        groups = np.arange(len(y)) if groups is None else np.asarray(groups)
        splits = inner_splits(groups, self.n_inner, self.seed)
        unseen = np.empty((len(y), len(self.learners)))
        for train, test in splits:
            for k, (_, learner) in enumerate(self.learners):
                fitted = fit_regressor(
                    _fresh(learner), X[train], y[train], weight[train], groups[train]
                )
                unseen[test, k] = fitted.predict(X[test])
        self.weights_ = self._combine(unseen, y, weight)
        self.out_of_fold_ = np.empty(len(y))
        for train, test in splits:
            share = self._combine(unseen[train], y[train], weight[train])
            self.out_of_fold_[test] = unseen[test] @ share
        self.fitted_ = [
            (name, fit_regressor(_fresh(learner), X, y, weight, groups))
            for name, learner in self.learners
        ]
        return self

    def predict(self, X):
        """Return predictions for features `X` (n_samples, n_features)."""
        # Summed in a fixed order; a learner of no weight costs nothing.
        total = np.zeros(len(X))
        for share, (_, learner) in zip(self.weights_, self.fitted_):
            if share > 0:
                total += share * learner.predict(X)
        return total

    def _combine(self, unseen, y, weight):
        """Return non-negative weights of sum 1 of least squared error, shrunk to equal ones."""
        from scipy.optimize import nnls

        count = unseen.shape[1]
        # With weights of sum 1 the residual of the mean is the mean of the residuals, and the
        # constraint is one more equation of overwhelming weight.
        residual = np.sqrt(weight / weight.sum())[:, None] * (unseen - y[:, None])
        typical = np.sqrt(np.mean(np.sum(residual**2, axis=0))) or 1.0
        ridge = np.sqrt(self.shrinkage / count)
        matrix = np.vstack([residual / typical, ridge * np.eye(count), np.full((1, count), 1e3)])
        goal = np.concatenate([np.zeros(len(y)), np.full(count, ridge / count), [1e3]])
        share, _ = nnls(matrix, goal)
        return share / share.sum()


def save_model(model, folder, settings):
    """Store a fitted regressor: skops or xgboost's own format, and settings.json.

    Parameters
    ----------
    model : estimator
        Fitted regressor of `make_regressor`.
    folder : str or Path
        Made if missing. An ensemble stores its base regressors in folders below it.
    settings : dict
        What made the model, JSON-serialisable: at least its feature names. Library versions are
        added. Written last: where it stands, the model is complete.
    """
    import skops.io
    import xgboost

    folder = Path(folder)
    record = dict(settings) | {"versions": versions(*LIBRARIES) | {"xgboost": xgboost.__version__}}
    if isinstance(model, StackedEnsemble):
        for (name, learner), share in zip(model.fitted_, model.weights_):
            save_model(learner, folder / name, {"weight": float(share)})
        record |= {"format": "ensemble", "base": [name for name, _ in model.fitted_]}
        record |= {"base_weights": [float(share) for share in model.weights_]}
    elif type(model).__module__.startswith("xgboost"):
        with atomic(folder / "model.ubj") as temporary:
            model.save_model(temporary)
        record["format"] = "ubj"
    else:
        with atomic(folder / "model.skops") as temporary:
            skops.io.dump(model, temporary, compression=zipfile.ZIP_DEFLATED, compresslevel=6)
        record["format"] = "skops"
    text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False)
    write_text(folder / "settings.json", text + "\n")


def load_model(folder):
    """Read a stored regressor.

    Parameters
    ----------
    folder : str or Path
        Written by `save_model`.

    Returns
    -------
    model : estimator
        Ready to predict.
    settings : dict
        What settings.json holds.

    Raises
    ------
    DataError
        If the folder is incomplete, or a file contains a type that a model has no use for.
    """
    folder = Path(folder)
    try:
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        kind = settings["format"]
        if kind == "ensemble":
            names = settings["base"]
            model = StackedEnsemble([(name, None) for name in names])
            model.fitted_ = [(name, load_model(folder / name)[0]) for name in names]
            model.weights_ = np.array(settings["base_weights"])
        elif kind == "ubj":
            from xgboost import XGBRegressor

            model = XGBRegressor(n_jobs=1)
            model.load_model(_existing(folder / "model.ubj"))
        else:
            model = _load_skops(_existing(folder / "model.skops"))
    except (FileNotFoundError, KeyError, json.JSONDecodeError, zipfile.BadZipFile) as fault:
        raise DataError(
            f"{folder} holds no complete model ({type(fault).__name__}: {fault}): train it again"
        ) from None
    return model, settings


def _existing(path):
    if not path.is_file():
        raise FileNotFoundError(path.name)
    return path


def _load_skops(path):
    import skops.io

    strange = set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED_TYPES)
    if strange:
        raise DataError(
            f"{path} contains {', '.join(sorted(strange))}, which no model here needs: "
            "it is not read; train the model again"
        )
    return skops.io.load(path, trusted=list(TRUSTED_TYPES))


def _fresh(model):
    """Return an unfitted regressor of the same settings."""
    if isinstance(model, StackedEnsemble):
        learners = [(name, clone(learner)) for name, learner in model.learners]
        return StackedEnsemble(learners, model.n_inner, model.shrinkage, model.seed)
    return clone(model)


def _forest(settings, seed):
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(**settings, random_state=seed, n_jobs=1)


def _extra_trees(settings, seed):
    return ExtraTreesRegressor(**settings, random_state=seed, n_jobs=1)


def _hist_gradient_boosting(settings, seed):
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(**settings, random_state=seed)


def _xgboost(settings, seed):
    from xgboost import XGBRegressor

    # XGBRegressor takes any keyword and only warns of one it does not know.
    unknown = set(settings) - set(XGBRegressor().get_params())
    if unknown:
        raise TypeError(", ".join(sorted(unknown)))
    return XGBRegressor(**settings, random_state=seed, n_jobs=1, tree_method="hist")


def _svr(settings, seed):
    from sklearn.svm import SVR

    own = {name: settings.pop(name) for name in ("max_rows", "relevance")}
    return ScaledRegressor(SVR(**settings), **own, seed=seed)


def _gaussian_process(settings, seed):
    own = {name: settings.pop(name) for name in ("max_rows", "relevance")}
    return ScaledRegressor(WeightedGaussianProcess(**settings), **own, seed=seed)


def _mlp(settings, seed):
    from sklearn.ensemble import VotingRegressor
    from sklearn.neural_network import MLPRegressor

    count, relevance = settings.pop("n_networks"), settings.pop("relevance")
    settings["hidden_layer_sizes"] = tuple(settings["hidden_layer_sizes"])
    networks = [MLPRegressor(**settings, random_state=seed + k) for k in range(count)]
    mean = VotingRegressor([(str(k), network) for k, network in enumerate(networks)])
    return ScaledRegressor(mean, relevance=relevance, seed=seed)


def _linear(settings, seed):
    from sklearn.linear_model import Ridge

    return ScaledRegressor(Ridge(**settings, random_state=seed))


def _ensemble(settings, seed):
    base = settings.pop("base")
    own = {name: settings.pop(name) for name in DEFAULTS["ensemble"] if name in settings}
    unknown = set(settings) - set(base)
    if unknown:
        raise TypeError(", ".join(sorted(unknown)))
    if not base or len(set(base)) < len(base) or "ensemble" in base:
        raise DataError(f"regressor ensemble: base is {base}: name other regressors, each once")
    learners = [(name, make_regressor(name, settings.get(name), seed)) for name in base]
    return StackedEnsemble(learners, **own, seed=seed)


_BUILDERS = {
    "random_forest": _forest,
    "extra_trees": _extra_trees,
    "hist_gradient_boosting": _hist_gradient_boosting,
    "xgboost": _xgboost,
    "svr": _svr,
    "gaussian_process": _gaussian_process,
    "mlp": _mlp,
    "linear": _linear,
    "ensemble": _ensemble,
}
