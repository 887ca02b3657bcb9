"""Experiments: which features, trained on whom, and what the held-out galaxies say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from dustcast.bands import REFERENCE_BAND
from dustcast.learning.features import TARGETS, choose_geometric, concatenate, sample_weights
from dustcast.learning.regressors import (
    fit_regressor,
    load_model,
    make_regressor,
    out_of_fold,
    save_model,
)
from dustcast.learning.uncertainty import SigmaModel, fit_sigma
from dustcast.tables import DataError, Table, stack_tables

EXPERIMENT_DEFAULTS = {
    "drop_bands": [],
    "reference": None,
    "observed": False,
    "flux_errors": False,
    "scales": None,
    "log_scale": None,
    "radius": False,
    "hubble_stage": False,
    "neighbours": False,
    "shared": None,
    "temperature": "mean",
}
"""Settings of `select_features`."""

TRAINING_SAMPLE_DEFAULTS = {
    "train_scales": None,
    "leave_out": (),
    "train_share": 1.0,
    "max_rows": None,
}
"""Settings of `training_sample`."""

TRAINING_DEFAULTS = {"parameters": {}, "sigma": {}, "n_inner": 5}
"""Settings of `train_fold`: of the regressor, of the sigma model, number of inner folds."""

_BAND_PREFIXES = ("c_", "o_", "e_", "s_")


def feature_columns(features):
    """Return the names of the inputs in a table of features, in its order.

    log_scale is one of them only where the table has two or more scales.
    """
    names = [name for name in features if name.startswith(_BAND_PREFIXES) or name == "log_w1"]
    if "log_scale" in features and len(set(features["scale"])) > 1:
        names.append("log_scale")
    return names


def select_features(features, experiment):
    """Return what one experiment reads of a table of features.

    Parameters
    ----------
    features : Table
        From `features.build_features`, of one scale or several.
    experiment : dict
        Any of: ``drop_bands``, bands that are not to be used; ``reference``, the band that colours
        refer to instead of the table's own (needed if that one is dropped); ``observed``, use the
        features of observed fluxes and errors (default no); ``flux_errors``, use the errors of
        the Bayesian fluxes (default no); ``scales``, the scales to keep (default all);
        ``log_scale``, use the pixel scale (default: where two or more scales remain);
        ``radius``, ``hubble_stage``, use r / R25 or the galaxy's stage; ``neighbours``, use the
        mean colours and brightness of the up to eight pixels around; ``shared``, scales at all
        of which a galaxy must have samples; ``temperature``, whether Td is that of the ``mean``
        of Umin (the default, as in the paper) or of its ``geometric`` mean.

    Returns
    -------
    features : Table
        Rows of those scales, with colours and log_w1 (the brightness of the reference band)
        rewritten where the reference changes. Columns that are not inputs are kept.
    names : list of str
        Columns that are inputs.

    Raises
    ------
    DataError
        If a key or band is unknown, or the reference band is dropped and none named instead.
    """
    unknown = set(experiment) - set(EXPERIMENT_DEFAULTS)
    if unknown:
        raise DataError(
            f"experiment: unknown key {', '.join(sorted(unknown))}: "
            f"choose from {', '.join(EXPERIMENT_DEFAULTS)}"
        )
    chosen = EXPERIMENT_DEFAULTS | dict(experiment)
    old = features.meta.get("reference", REFERENCE_BAND)
    new = chosen["reference"] or old
    dropped = set(chosen["drop_bands"])
    bands = {old} | {name[2:] for name in features if name.startswith("c_")}
    missing = sorted((dropped | {new}) - bands)
    if missing:
        raise DataError(f"experiment: the features have no band {', '.join(missing)}")
    if new in dropped:
        raise DataError(f"experiment: {new} is dropped: name another reference band")

    table = features
    if chosen["scales"]:
        table = table.rows(np.isin(table["scale"].astype(str), list(chosen["scales"])))
    if chosen["shared"]:
        table = table.rows(_at_all(table, chosen["shared"]))
    table = Table(table, units=features.units, meta=features.meta | {"reference": new})
    if chosen["temperature"] == "geometric":
        choose_geometric(table)
    if new != old:
        shift = table.pop(f"c_{new}")
        for name in [name for name in table if name.startswith("c_")]:
            table[name] = table[name] - shift
        table[f"c_{old}"] = -shift
        table["log_w1"] = table["log_w1"] + shift
    for name in [name for name in table if name.startswith(_BAND_PREFIXES)]:
        optional = {"o": "observed", "e": "observed", "s": "flux_errors"}.get(name[0])
        if name[2:] in dropped or (optional and not chosen[optional]):
            del table[name]
    names = feature_columns(table)
    for key, column in (("radius", "r_r25"), ("hubble_stage", "hubble_stage")):
        if chosen[key]:
            if column not in table:
                raise DataError(
                    f"experiment: {key} is asked for, but the features have no {column}"
                )
            names.append(column)
    if chosen["neighbours"]:
        around = _neighbour_means(table, [n for n in names if n.startswith("c_") or n == "log_w1"])
        table.update(around)
        names += list(around)
    for key, prefix in (("observed", "o_"), ("flux_errors", "s_")):
        if chosen[key] and not any(name.startswith(prefix) for name in names):
            raise DataError(f"experiment: {key} is asked for, but the features were built without")
    if chosen["log_scale"] is not None:
        names = [name for name in names if name != "log_scale"]
        names += ["log_scale"] if chosen["log_scale"] else []
    return table, names


def training_sample(features, galaxies, training=None, seed=0):
    """Return the samples that a fold trains on.

    Parameters
    ----------
    features : Table
        Features of all samples.
    galaxies : collection of str
        Galaxies of the other folds.
    training : dict, optional
        Any of: ``train_scales``, the scales to train on (default all); ``leave_out``, galaxies
        that no model trains on; ``train_share``, the part of the galaxies to train on;
        ``max_rows``, the most samples, drawn so that galaxies stay about equal.
    seed : int
        Seed of the galaxies and samples that are drawn.

    Returns
    -------
    Table
        Rows of `features`, in their order.
    """
    chosen = TRAINING_SAMPLE_DEFAULTS | dict(training or {})
    names = sorted(set(galaxies) - set(chosen["leave_out"]))
    rng = np.random.default_rng(seed)
    if chosen["train_share"] < 1:
        size = max(1, round(chosen["train_share"] * len(names)))
        # One order for every share: a smaller sample is part of a larger one.
        names = rng.permutation(names)[:size].tolist()
    rows = np.isin(np.asarray(features["galaxy"], dtype=str), np.asarray(names, dtype=str))
    if chosen["train_scales"]:
        rows &= np.isin(np.asarray(features["scale"], dtype=str), list(chosen["train_scales"]))
    rows = np.flatnonzero(rows)
    if chosen["max_rows"] and len(rows) > chosen["max_rows"]:
        weight = sample_weights(features["galaxy"][rows])
        drawn = rng.choice(rows, chosen["max_rows"], replace=False, p=weight / weight.sum())
        rows = np.sort(drawn)
    return features.rows(rows)


def _at_all(table, scales):
    """Return where the galaxy of a row has samples at every one of some scales."""
    galaxy, scale = (np.asarray(table[name], dtype=str) for name in ("galaxy", "scale"))
    common = set.intersection(*(set(galaxy[scale == wanted]) for wanted in scales))
    return np.isin(galaxy, np.asarray(sorted(common), dtype=str))


def _neighbour_means(table, names):
    """Return n_<name>: means over the samples that touch a pixel, NaN where there is none."""
    key = {}
    for row, sample_id in enumerate(table["id"]):
        place, _, end = str(sample_id).rpartition("/")
        if "_" in end:
            x, y = end.split("_")
            key[place, int(x), int(y)] = row
    total = np.zeros((len(names), table.n_rows))
    count = np.zeros(table.n_rows)
    values = np.array([table[name] for name in names], float).reshape(len(names), -1)
    for dx, dy in ((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j):
        pairs = [
            (row, key[place, x + dx, y + dy])
            for (place, x, y), row in key.items()
            if (place, x + dx, y + dy) in key
        ]
        if pairs:
            here, there = np.array(pairs).T
            total[:, here] += values[:, there]
            count[here] += 1
    mean = total / np.where(count > 0, count, np.nan)
    return {f"n_{name}": mean[k] for k, name in enumerate(names)}


def feature_matrix(features, names):
    """Return the columns `names` of a table as an array of shape (n_samples, len(names)).

    Raises
    ------
    DataError
        If a column is missing, or holds an infinity.
    """
    missing = [name for name in names if name not in features]
    if missing:
        raise DataError(
            f"the model needs the features {', '.join(missing)}, which the table lacks: "
            "build features with the bands and settings of the model"
        )
    matrix = np.column_stack([np.asarray(features[name], float) for name in names])
    if np.isinf(matrix).any():
        name = names[int(np.argmax(np.isinf(matrix).any(axis=0)))]
        raise DataError(f"the feature {name} holds infinities: a missing value is NaN")
    return matrix


@dataclasses.dataclass
class FoldModel:
    """A regressor of one target and the model of its uncertainty.

    Attributes
    ----------
    target : str
        sLd, sMd or Td.
    feature_names : list of str
        Inputs, in the order in which both models take them.
    regressor : str
        Name in `regressors.DEFAULTS`.
    settings : dict
        See `train_fold`.
    seed : int
        Seed of everything random in training.
    mean : estimator
        Predicts the target.
    sigma : SigmaModel
        Predicts its uncertainty.
    """

    target: str
    feature_names: list
    regressor: str
    settings: dict
    seed: int
    mean: object
    sigma: SigmaModel

    def predict(self, features):
        """Return prediction and sigma, each of shape (n_samples,), for a table of features.

        Columns are found by name, so neither their order nor further columns matter.
        """
        if features.n_rows == 0:
            return np.empty(0), np.empty(0)
        inputs = feature_matrix(features, self.feature_names)
        sigma = self.sigma.predict(inputs, features.get("scale"))
        return np.asarray(self.mean.predict(inputs), float), sigma

    def save(self, folder):
        """Write model.skops or model.ubj, sigma.ubj and settings.json into `folder`."""
        self.sigma.save(Path(folder) / "sigma.ubj")
        settings = {
            "target": self.target,
            "feature_names": list(self.feature_names),
            "regressor": self.regressor,
            "settings": self.settings,
            "seed": int(self.seed),
        }
        save_model(self.mean, folder, settings)

    @classmethod
    def load(cls, folder):
        """Read a model that `save` wrote; DataError if it is incomplete or not to be trusted."""
        mean, settings = load_model(folder)
        sigma = SigmaModel.load(Path(folder) / "sigma.ubj")
        own = ("target", "feature_names", "regressor", "settings", "seed")
        missing = [name for name in own if name not in settings]
        if missing:
            raise DataError(f"{folder}/settings.json lacks {', '.join(missing)}: train it again")
        model = cls(**{name: settings[name] for name in own}, mean=mean, sigma=sigma)
        expected = getattr(mean, "n_features_in_", len(model.feature_names))
        if expected != len(model.feature_names):
            raise DataError(f"{folder}: model and settings.json disagree on the features")
        return model


def train_fold(features, feature_names, target, train_galaxies, regressor, settings=None, seed=0):
    """Train a regressor and its uncertainty model on some galaxies.

    Parameters
    ----------
    features : Table
        Features of one scale or several; rows of other galaxies are not looked at.
    feature_names : list of str
        Inputs.
    target : str
        Column to predict: sLd, sMd or Td.
    train_galaxies : collection of str
        Galaxies to train on.
    regressor : str
        Name in `regressors.DEFAULTS`.
    settings : dict, optional
        ``parameters`` of the regressor (`regressors.make_regressor`), ``sigma``
        (`uncertainty.fit_sigma`), ``n_inner``: inner folds for the residuals.
    seed : int
        Seed of everything random.

    Returns
    -------
    FoldModel

    Raises
    ------
    DataError
        If there is nothing to train on, a target is not finite, or a setting is unknown.
    """
    chosen = TRAINING_DEFAULTS | dict(settings or {})
    if set(chosen) != set(TRAINING_DEFAULTS):
        unknown = ", ".join(sorted(set(chosen) - set(TRAINING_DEFAULTS)))
        raise DataError(
            f"training: unknown setting {unknown}: choose from {', '.join(TRAINING_DEFAULTS)}"
        )
    galaxy = np.asarray(features["galaxy"], dtype=str)
    rows = np.isin(galaxy, np.asarray(sorted(train_galaxies), dtype=str))
    if not rows.any():
        raise DataError(f"training {target}: no sample of the {len(train_galaxies)} galaxies")
    train = features.rows(rows)
    galaxy = galaxy[rows]
    truth = np.asarray(train[target], float)
    if not np.isfinite(truth).all():
        raise DataError(
            f"training: the target {target} is not finite for {galaxy[~np.isfinite(truth)][0]}"
        )
    inputs = feature_matrix(train, feature_names)
    weight = sample_weights(galaxy)

    mean = make_regressor(regressor, chosen["parameters"], seed)
    fit_regressor(mean, inputs, truth, weight, galaxy)
    unseen = out_of_fold(mean, inputs, truth, weight, galaxy, n_inner=chosen["n_inner"], seed=seed)
    # Errors are judged scale by scale: one with few samples of a galaxy has the same say in sigma.
    weight = sample_weights(galaxy, train["scale"])
    sigma = fit_sigma(
        inputs, unseen - truth, weight, galaxy, chosen["sigma"], seed, pixel_scale=train["scale"]
    )
    return FoldModel(target, list(feature_names), regressor, chosen, seed, mean, sigma)


def predict_fold(features, model, fold):
    """Return predictions of one model for a table of features, as rows of a predictions table.

    Parameters
    ----------
    features : Table
        The test samples.
    model : FoldModel
        A model that did not see them.
    fold : int
        Number of the fold, for the column of this name.

    Returns
    -------
    Table
        id, galaxy, scale, fold, regressor, target, weight (1 / n(galaxy, scale)), truth,
        truth_err, prediction, sigma.
    """
    prediction, sigma = model.predict(features)
    n_rows = features.n_rows
    unknown = np.full(n_rows, np.nan)
    return Table(
        {
            "id": np.asarray(features["id"], dtype=object),
            "galaxy": np.asarray(features["galaxy"], dtype=object),
            "scale": np.asarray(features["scale"], dtype=object),
            "fold": np.full(n_rows, fold, dtype=np.int64),
            "regressor": np.full(n_rows, model.regressor, dtype=object),
            "target": np.full(n_rows, model.target, dtype=object),
            "weight": sample_weights(features["galaxy"], features["scale"]),
            "truth": np.asarray(features.get(model.target, unknown), float),
            "truth_err": np.asarray(features.get(f"{model.target}_err", unknown), float),
            "prediction": prediction,
            "sigma": sigma,
        }
    )


def cross_validate(
    features,
    folds,
    regressor,
    targets=TARGETS,
    settings=None,
    seed=0,
    feature_names=None,
    training=None,
):
    """Predict every galaxy by a model that was trained on the other folds.

    Parameters
    ----------
    features : Table
        Features of one scale or several, all with targets.
    folds : dict of str to int
        Test fold of each galaxy (`folds.split_folds`).
    regressor : str
        Name in `regressors.DEFAULTS`.
    targets : sequence of str
        Columns to predict.
    settings, seed
        See `train_fold`.
    feature_names : list of str, optional
        Inputs (default: `feature_columns`).
    training : dict, optional
        See `training_sample`.

    Returns
    -------
    Table
        Columns of `predict_fold`; rows by target, then fold, then in the order of `features`.

    Raises
    ------
    DataError
        If a galaxy of the features has no fold.
    """
    names = feature_columns(features) if feature_names is None else feature_names
    galaxy = np.asarray(features["galaxy"], dtype=str)
    homeless = sorted(set(galaxy.tolist()) - set(folds))
    if homeless:
        raise DataError(f"folds: no fold for {homeless[0]} ({len(homeless)} galaxies in all)")
    fold_of = np.array([folds[name] for name in galaxy.tolist()], dtype=int)
    parts = []
    for target in targets:
        for fold in sorted(set(fold_of.tolist())):
            train = {name for name, other in folds.items() if other != fold}
            sample = training_sample(features, train, training, seed)
            model = train_fold(sample, names, target, train, regressor, settings, seed)
            parts.append(predict_fold(features.rows(fold_of == fold), model, fold))
    return stack_tables(parts)


def read_features(tables, selection):
    """Return what an experiment reads: the features of its scales, and the names of the inputs.

    Parameters
    ----------
    tables : iterable of Table
        Features, one table a scale.
    selection : dict
        See `select_features`.
    """
    return select_features(concatenate(list(tables)), selection)


def read_folds(table):
    """Return the test fold of each galaxy from folds.csv (dict of str to int)."""
    return {str(name): int(fold) for name, fold in zip(table["galaxy"], table["fold"])}


def rows_of_fold(features, folds, fold):
    """Return the samples of the galaxies whose test fold is `fold`."""
    return features.rows(np.array([folds[name] == fold for name in features["galaxy"]], dtype=bool))
