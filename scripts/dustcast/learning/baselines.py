"""What predictions must beat, and where they stand: baselines, and metrics in bins of the data."""

from __future__ import annotations

import numpy as np

from dustcast.learning.features import TARGETS, sample_weights, targets_from_fit
from dustcast.learning.metrics import metrics_table
from dustcast.tables import Table, aligned, places, stack_tables

LINEAR_INPUTS = ("c_WISE_12", "c_WISE_22")
"""Colours of the linear baseline."""

SNR_EDGES = (1.0, 3.0, 5.0)
"""Edges of the bins of the signal-to-noise ratio of `SNR_BAND`."""

SNR_BAND = "SPIRE_250"


def baselines(features, short, folds):
    """Return predictions that need no model of ours, for the same galaxies and folds.

    Parameters
    ----------
    features : Table
        Features of one scale or several, with targets.
    short : Table
        Short fits of the same samples: id and the columns of `features.targets_from_fit`.
    folds : dict of str to int
        Test fold of each galaxy.

    Returns
    -------
    Table
        The columns of `experiments.predict_fold`; regressor is ``short_fit`` (the dust that
        the short fit infers, with its own error as sigma), ``constant`` (the weighted mean of the
        training galaxies) or ``linear_w3_w4`` (least squares on `LINEAR_INPUTS`, left out where the
        features lack them). sigma of the last two is the weighted RMS error in training.
    """
    fitted = targets_from_fit(aligned(short, features["id"], "the short fit"))
    fold_of = np.array([folds[name] for name in features["galaxy"]], int)
    weight = sample_weights(features["galaxy"])
    ones = np.ones((features.n_rows, 1))
    designs = {"constant": ones}
    if all(name in features for name in LINEAR_INPUTS):
        inputs = [np.asarray(features[name], float) for name in LINEAR_INPUTS]
        designs["linear_w3_w4"] = np.column_stack([ones, *inputs])
    tables = []
    for target in TARGETS:
        truth = np.asarray(features[target], float)
        found = {"short_fit": (fitted[target], fitted[f"{target}_err"])}
        for name, design in designs.items():
            prediction, sigma = np.full((2, len(truth)), np.nan)
            for fold in np.unique(fold_of):
                train = fold_of != fold
                root = np.sqrt(weight[train])
                solution = np.linalg.lstsq(
                    design[train] * root[:, None], truth[train] * root, rcond=None
                )[0]
                prediction[~train] = design[~train] @ solution
                error = design[train] @ solution - truth[train]
                sigma[~train] = np.sqrt(np.average(error**2, weights=weight[train]))
            found[name] = (prediction, sigma)
        for name, (prediction, sigma) in found.items():
            table = {key: features[key] for key in ("id", "galaxy", "scale")}
            table |= {"fold": fold_of, "regressor": np.full(len(truth), name, object)}
            table |= {"target": np.full(len(truth), target, object)}
            table |= {"weight": sample_weights(features["galaxy"], features["scale"])}
            table |= {"truth": truth, "truth_err": features[f"{target}_err"]}
            tables.append(Table(table | {"prediction": prediction, "sigma": sigma}))
    return stack_tables(tables)


def against_true_values(predictions, true):
    """Return predictions whose truth is what is true of simulated samples, instead of a fit.

    Parameters
    ----------
    predictions : Table
        id, target, truth (other columns are kept).
    true : Table
        id, sLd, sMd and Td of the samples.

    Returns
    -------
    Table
        Without samples of which the true value is not known.
    """
    rows = places(true["id"], predictions["id"])
    values = np.full(predictions.n_rows, np.nan)
    for target in TARGETS:
        mine = (predictions["target"] == target) & (rows >= 0)
        values[mine] = np.asarray(true[target], float)[rows[mine]]
    table = Table(dict(predictions) | {"truth": values})
    return table.rows(np.isfinite(values))


def binned_metrics(predictions, photometry, *, n_bootstrap=1000, seed=123):
    """Return metrics of all, and in bins of far-infrared signal to noise and error of the truth.

    Where the far-infrared is faint the truth is mostly the prior of the full fit, and a low RMSE
    there says little.

    Parameters
    ----------
    predictions : Table
        Held-out predictions, with truth_err.
    photometry : Table
        id, and SPIRE_250 with its error; samples without a measurement are a bin of their own.
    n_bootstrap, seed : int
        See `metrics.bootstrap_metrics`.

    Returns
    -------
    Table
        by (``all``, ``snr_spire_250`` or ``truth_err``), bin, then the columns of
        `metrics.metrics_table` but experiment. Bins of truth_err are quarters of the samples of a
        target.
    """
    flux, error = (
        np.asarray(photometry.get(name, np.full(photometry.n_rows, np.nan)), float)
        for name in (SNR_BAND, f"{SNR_BAND}_err")
    )
    known = np.isfinite(flux) & (error > 0)
    snr = dict(zip(photometry["id"], np.where(known, flux / np.where(known, error, 1), np.nan)))
    ratio = np.array([snr.get(name, np.nan) for name in predictions["id"]])
    names = ["<1", "1-3", "3-5", ">5", "unmeasured"]
    by_snr = np.where(np.isnan(ratio), 4, np.digitize(ratio, SNR_EDGES))
    by_error = np.full(predictions.n_rows, -1)
    truth_err = np.asarray(predictions["truth_err"], float)
    for target in dict.fromkeys(predictions["target"]):
        mine = (predictions["target"] == target) & np.isfinite(truth_err)
        if mine.any():
            by_error[mine] = np.digitize(
                truth_err[mine], np.quantile(truth_err[mine], (0.25, 0.5, 0.75))
            )
    quarters = ["quarter 1", "quarter 2", "quarter 3", "quarter 4"]
    tables = []
    for by, bins, labels in (
        ("all", np.zeros(predictions.n_rows, dtype=int), ["all"]),
        ("snr_spire_250", by_snr, names),
        ("truth_err", by_error, quarters),
    ):
        for number, label in enumerate(labels):
            part = predictions.rows(bins == number)
            table = metrics_table(part, n_bootstrap=n_bootstrap, seed=seed)
            del table["experiment"]
            front = {"by": np.full(table.n_rows, by, object)}
            front |= {"bin": np.full(table.n_rows, label, object)}
            tables.append(Table(front | dict(table)))
    return stack_tables(tables)
