"""Predictions as the paper's figures take them: averages of galaxies, and metrics of selections."""

from __future__ import annotations

import numpy as np

from dustcast.learning.metrics import metrics_table
from dustcast.sample import GLOBAL
from dustcast.tables import Table, stack_tables

ALL, AVERAGES, SHARED, NEARBY = "all", "averages", "shared", "nearby"


def galaxy_averages(predictions):
    """Return the mean truth and prediction of each galaxy at each scale.

    Parameters
    ----------
    predictions : Table
        Held-out predictions; those of whole galaxies are left out.

    Returns
    -------
    Table
        One row a regressor, target, scale and galaxy: id (``{galaxy}/{scale}``), galaxy, scale,
        fold, regressor, target, weight (1), truth, prediction (means in which the pixels count
        equally), n_samples, and sigma (NaN: the errors of pixels are correlated).
    """
    part = predictions.rows(predictions["scale"] != GLOBAL)
    names = ("regressor", "target", "scale", "galaxy")
    group, first = _groups(part, names)
    n_samples = np.bincount(group, minlength=len(first))
    mean = {
        name: np.bincount(group, part[name], len(first)) / n_samples
        for name in ("truth", "prediction")
    }
    rows = part.rows(first)
    sample_id = [f"{g}/{s}" for g, s in zip(rows["galaxy"], rows["scale"])]
    return Table(
        {"id": np.array(sample_id, dtype=object)}
        | {name: rows[name] for name in ("galaxy", "scale", "fold", "regressor", "target")}
        | {"weight": np.ones(len(first)), "n_samples": n_samples}
        | mean
        | {"sigma": np.full(len(first), np.nan)}
    )


def selection_metrics(predictions, *, named, nearby, shared, n_bootstrap=1000, seed=123):
    """Return the metrics of the parts of the predictions that the paper speaks of.

    Parameters
    ----------
    predictions : Table
        Held-out predictions of one experiment.
    named : sequence of str
        Galaxies that have rows of their own.
    nearby : sequence of str
        Galaxies that have rows together.
    shared : sequence of str
        Scales: galaxies with samples at all of these have rows at each.
    n_bootstrap, seed : int
        See `metrics.bootstrap_metrics`.

    Returns
    -------
    Table
        selection and the columns of `metrics.metrics_table` but experiment. Selections: ``all``
        (each scale; scale ``all`` pools the pixels without whole galaxies), ``averages`` (of
        `galaxy_averages`), ``nearby``, ``shared``, and the names of galaxies. A selection that
        is empty has no rows.
    """
    pixels = predictions.rows(predictions["scale"] != GLOBAL)
    whole = predictions.rows(predictions["scale"] == GLOBAL)
    galaxy = np.asarray(predictions["galaxy"], dtype=str)
    present = [
        set(galaxy[np.asarray(predictions["scale"], dtype=str) == scale]) for scale in shared
    ]
    common = set.intersection(*present) if present else set()
    at_shared = predictions.rows(
        np.isin(galaxy, sorted(common)) & np.isin(predictions["scale"].astype(str), list(shared))
    )
    parts = {
        ALL: pixels,
        AVERAGES: galaxy_averages(predictions),
        NEARBY: pixels.rows(np.isin(pixels["galaxy"].astype(str), list(nearby))),
        SHARED: at_shared,
        **{name: pixels.rows(pixels["galaxy"] == name) for name in named},
    }
    tables = []
    settings = {"n_bootstrap": n_bootstrap, "seed": seed}
    for name, part in [(ALL, whole), *parts.items()]:
        table = metrics_table(part, **settings)
        del table["experiment"]
        label = {"selection": np.full(table.n_rows, name, dtype=object)}
        tables.append(Table(label | dict(table)))
    return stack_tables(tables)


def told_scale(features, model, pixel_scale_pc, fold):
    """Return predictions of pixels, and those where the model is told another pixel scale.

    Parameters
    ----------
    features : Table
        Test samples of one scale, with the column log_scale.
    model : FoldModel
        A model that did not see them. One without the pixel scale among its features predicts
        the same twice.
    pixel_scale_pc : float
        What the model is told.
    fold : int
        For the column of this name.

    Returns
    -------
    Table
        The columns of `experiments.predict_fold`, and told (the prediction for the other scale).
    """
    from dustcast.learning.experiments import predict_fold

    table = predict_fold(features, model, fold)
    other = Table(features, units=features.units, meta=features.meta)
    other["log_scale"] = np.full(features.n_rows, np.log10(pixel_scale_pc))
    return Table(dict(table) | {"told": predict_fold(other, model, fold)["prediction"]})


def told_metrics(table, *, n_bootstrap=1000, seed=123):
    """Return the metrics of told minus prediction: what another pixel scale changes.

    Parameters and columns as in `metrics.metrics_table`.
    """
    columns = dict(table) | {"truth": table["prediction"], "prediction": table["told"]}
    return metrics_table(Table(columns), n_bootstrap=n_bootstrap, seed=seed)


def _groups(table, names):
    """Return the group of each row by some columns, in order of first occurrence, and its row."""
    keys = list(zip(*(table[name] for name in names)))
    number = {key: k for k, key in enumerate(dict.fromkeys(keys))}
    group = np.array([number[key] for key in keys], dtype=int)
    first = np.full(len(number), -1)
    first[group[::-1]] = np.arange(len(group))[::-1]
    return group, first
