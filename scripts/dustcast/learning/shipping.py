"""Models that leave the run that trained them: one folder that predicts any sample.

The folder holds a model of each target that was trained on all galaxies, those of the folds for
galaxies that are in the training sample, where its training samples lie, and what carries sigma
from whole galaxies to pixels and to sums over pixels.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dustcast.learning.applicability import Applicability, fit_applicability
from dustcast.learning.dropout import repeat_truth
from dustcast.learning.experiments import FoldModel, feature_matrix, train_fold
from dustcast.learning.features import (
    TARGETS,
    build_features,
    choose_geometric,
    sample_weights,
    targets_from_fit,
)
from dustcast.learning.metrics import METRICS, metrics_table
from dustcast.learning.split import fit_split, positions
from dustcast.sample import GLOBAL
from dustcast.tables import DataError, Table, aligned, places, read_csv, write_rows, write_text
from dustcast.units import SOLAR_LUMINOSITY_W, SOLAR_MASS_KG

WHOLE = "whole"
"""Folder of the model that was trained on all galaxies."""

STARS = {"sLd": "bayes.stellar.lum", "sMd": "bayes.stellar.m_star"}
"""What a specific quantity is multiplied with."""


@dataclass
class MapModel:
    """Predicts all targets for samples of any galaxy.

    Attributes
    ----------
    folder : Path
        Where its models are.
    settings : dict
        ``name``, ``bands``, ``reference``, ``w1``, ``selection`` (of
        `experiments.select_features`), ``scales`` of its training, ``split`` and ``stars`` by
        target.
    folds : dict of str to int
        Test fold of each training galaxy.
    applicability : Applicability
    """

    folder: Path
    settings: dict
    folds: dict
    applicability: Applicability

    @classmethod
    def load(cls, folder):
        """Read a folder of `ship_model`; DataError if it is incomplete or not to be trusted."""
        folder = Path(folder)
        try:
            settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
            settings = {key: settings[key] for key in SETTINGS}
        except (OSError, json.JSONDecodeError, KeyError) as fault:
            raise DataError(
                f"{folder} holds no model for maps ({type(fault).__name__}: {fault}): name a "
                "folder that rule ship_model wrote"
            ) from None
        folds = {
            row["galaxy"]: int(row["fold"])
            for row in read_csv(folder / "folds.csv", required=("galaxy", "fold"))
        }
        return cls(folder, settings, folds, Applicability.load(folder / "applicability.npz"))

    def fold_of(self, galaxy):
        """Return the fold of a galaxy that the model was trained on, None for any other.

        Names are compared without blanks, signs and case: NGC5584, ngc 5584.
        """
        known = {_plain(name): fold for name, fold in self.folds.items()}
        return known.get(_plain(galaxy))

    def predict(self, short, photometry, galaxy, full=None):
        """Predict the samples of one galaxy.

        Parameters
        ----------
        short : Table
            Short fit of the samples.
        photometry : Table
            The samples.
        galaxy : str
            Their galaxy: one of the training sample is predicted by the models of the fold that
            did not see it.
        full : Table, optional
            Full fit of the samples, for what is true of them.

        Returns
        -------
        Table
            The columns id, galaxy, scale, x, y of the photometry for each sample with a fit, and
            for each target ``{target}``, ``{target}_sigma``, ``{target}_sigma_galaxy``,
            ``{target}_sigma_pixel``, ``{target}_applic``; with `full` also what is true of the
            targets and of dust_luminosity (Lsun) and dust_mass (Msun): ``{name}_true`` and
            ``{name}_true_err``, that of the last two in dex. ``meta`` has ``fold`` (or
            `WHOLE`), ``model`` and ``exclusions``.

        Raises
        ------
        DataError
            If a table lacks a column.
        """
        settings = self.settings
        selection = settings["selection"]
        features = build_features(
            short,
            None,
            photometry,
            settings["bands"],
            reference=settings["reference"],
            observed=selection.get("observed", False),
            flux_errors=selection.get("flux_errors", False),
            w1=settings["w1"],
            max_reduced_chi2=np.inf,
        )
        fold = self.fold_of(galaxy)
        part = WHOLE if fold is None else f"fold{fold}"
        mine = aligned(photometry, features["id"], "the photometry")
        table = Table({key: mine[key] for key in ("id", "galaxy", "scale", "x", "y")})
        inputs = feature_matrix(features, self.applicability.names)
        for target in TARGETS:
            prediction, sigma = FoldModel.load(self.folder / target / part).predict(features)
            # A whole galaxy is what such a model was trained on: nothing is carried over.
            whole = np.array([scale == GLOBAL for scale in table["scale"]], dtype=bool)
            split = settings["split"][target]
            wider = sigma * np.where(whole, 1.0, split["inflation"])
            shared = np.where(whole, 1.0, split["galaxy_share"])
            table[target] = prediction
            table[f"{target}_sigma"] = wider
            table[f"{target}_sigma_galaxy"] = wider * np.sqrt(shared)
            table[f"{target}_sigma_pixel"] = wider * np.sqrt(1 - shared)
            table[f"{target}_applic"] = self.applicability.classify(inputs, sigma, target)
        if full is not None:
            table |= _truth(full, table["id"], selection.get("temperature", "mean"))
        scale = str(photometry["scale"][0]) if photometry.n_rows else ""
        table.meta = {
            "model": settings["name"],
            "fold": part,
            "exclusions": features.exclusion_rows(scale),
        }
        return table


SHARES = ("galaxy_share", "inflation", "length")
"""How sigma is carried to pixels; length is in widths of the PSF."""

SETTINGS = ("name", "bands", "reference", "w1", "selection", "scales", "split", "stars")


def ship_model(folder, features, names, trained, folds, settings, *, card):
    """Write a model for maps into a folder.

    Parameters
    ----------
    folder : str or Path
        Made anew.
    features : Table
        Features of the training samples.
    names : list of str
        Inputs.
    trained : dict of (str, int) to Path
        Folder of the model of each target and fold.
    folds : dict of str to int
        Test fold of each galaxy.
    settings : dict
        See `MapModel`.
    card : str
        The model card, written as README.md.
    """
    folder = Path(folder)
    whole = set(np.asarray(features["galaxy"], dtype=str).tolist())
    for (target, fold), source in trained.items():
        shutil.copytree(source, folder / target / f"fold{fold}", dirs_exist_ok=True)
    for target in TARGETS:
        first = FoldModel.load(folder / target / "fold0")
        model = train_fold(
            features, names, target, whole, first.regressor, first.settings, first.seed
        )
        model.save(folder / target / WHOLE)
    fit_applicability(
        names,
        feature_matrix(features, names),
        features["galaxy"],
        {target: np.asarray(features[target], float) for target in TARGETS},
    ).save(folder / "applicability.npz")
    write_rows(folder / "folds.csv", folds.items(), ("galaxy", "fold"))
    write_text(folder / "README.md", card)
    text = json.dumps({key: settings[key] for key in SETTINGS}, indent=1, sort_keys=True)
    write_text(folder / "settings.json", text + "\n")


def read_sigma_shares(path):
    """Read how sigma is carried from whole galaxies to pixels.

    Parameters
    ----------
    path : str or Path
        config/sigma_split.csv: target, galaxy_share, inflation, length, source.

    Returns
    -------
    dict of str to dict
        By target: galaxy_share (0 to 1), inflation and length (above 0), source.

    Raises
    ------
    DataError
        If a target is missing or a number is out of its range.
    """
    rows = {row["target"]: row for row in read_csv(path, required=("target", *SHARES, "source"))}
    split = {}
    for target in TARGETS:
        if target not in rows:
            raise DataError(f"{path} lacks the target {target}: add a row")
        try:
            share, inflation, length = (float(rows[target][key]) for key in SHARES)
        except ValueError as fault:
            raise DataError(f"{path}: {target}: {fault}: a number is needed") from None
        if not 0 <= share <= 1 or not (inflation > 0 and length > 0):
            raise DataError(
                f"{path}: {target}: galaxy_share is {share}, inflation {inflation}, length "
                f"{length}: a share from 0 to 1 and others above 0 are needed"
            )
        split[target] = dict(zip(SHARES, (share, inflation, length)))
        split[target]["source"] = rows[target]["source"]
    return split


def carried_sigma(whole, pixels, names, folds, regressor, settings=None, seed=0):
    """Return what sigma of models of whole galaxies is worth on pixels of others.

    Parameters
    ----------
    whole, pixels : Table
        Features of whole galaxies, and of pixels of one scale.
    names : list of str
        Inputs.
    folds : dict of str to int
        Test fold of each galaxy: its pixels are predicted by models that did not see it.
    regressor, settings, seed
        See `experiments.train_fold`.

    Returns
    -------
    Table
        target, the numbers of `carried_shares`, and of the pixels n_galaxies, n_samples, rmse,
        me. Every galaxy counts the same.
    """
    weight = sample_weights(pixels["galaxy"])
    galaxy = np.asarray(pixels["galaxy"], dtype=str)
    fold_of = np.array([folds[name] for name in galaxy.tolist()], dtype=int)
    rows = []
    for target in TARGETS:
        prediction, sigma = np.empty(pixels.n_rows), np.empty(pixels.n_rows)
        for fold in sorted(set(fold_of.tolist())):
            others = {name for name, other in folds.items() if other != fold}
            model = train_fold(whole, names, target, others, regressor, settings, seed)
            mine = fold_of == fold
            prediction[mine], sigma[mine] = model.predict(pixels.rows(mine))
        residual = prediction - pixels[target]
        rows.append(
            {
                "target": target,
                **carried_shares(residual, sigma, galaxy, pixels["id"]),
                "n_galaxies": len(set(galaxy.tolist())),
                "n_samples": pixels.n_rows,
                "rmse": np.sqrt(np.average(residual**2, weights=weight)),
                "me": np.average(residual, weights=weight),
            }
        )
    return Table({name: np.array([row[name] for row in rows]) for name in rows[0]})


def carried_shares(residual, sigma, galaxy, sample_id):
    """Return what sigma is worth on pixels, from residuals of held-out galaxies.

    Parameters
    ----------
    residual, sigma : ndarray of shape (n,)
        Prediction minus truth, and the predicted uncertainty.
    galaxy, sample_id : array_like of str, shape (n,)
        Pixels of one scale.

    Returns
    -------
    dict of str to float
        galaxy_share, the part of the variance of r / sigma that a galaxy shares, and length in
        pixels, over which the rest is alike (`split.fit_split`); inflation = sqrt(<r^2 /
        sigma^2>). In units of sigma, or few galaxies of large sigma would decide the share of all.
    """
    unit = np.ones(len(sigma))
    split = fit_split(residual / sigma, unit, galaxy, *positions(sample_id))
    common, own = (float(part[0]) ** 2 for part in split.predict(unit[:1]))
    chi2 = np.average((residual / sigma) ** 2, weights=sample_weights(galaxy))
    return {
        "galaxy_share": common / (common + own),
        "inflation": float(np.sqrt(chi2)),
        "length": split.length,
    }


def own_shares(predictions):
    """Return how sigma of a model of pixels divides, from its own held-out predictions.

    Parameters
    ----------
    predictions : Table
        Predictions of one regressor for samples that the models did not see.

    Returns
    -------
    dict of str to dict, or None
        As of `read_sigma_shares`, measured at the scale of pixels with most galaxies. None for a
        model of whole galaxies, or where too few galaxies have pixels.
    """
    scales = {}
    for name in dict.fromkeys(predictions["scale"]):
        if name != GLOBAL:
            scales[name] = len(set(predictions["galaxy"][predictions["scale"] == name]))
    if not scales:
        return None
    scale = max(scales, key=scales.get)
    split = {}
    for target in TARGETS:
        part = predictions.rows((predictions["target"] == target) & (predictions["scale"] == scale))
        residual = part["prediction"] - part["truth"]
        try:
            split[target] = carried_shares(residual, part["sigma"], part["galaxy"], part["id"])
        except DataError:
            return None
        split[target]["source"] = f"held-out pixels of {scale}"
    return split


def star_errors(predictions, short, full):
    """Return how far the short fit's stellar mass and luminosity can be trusted.

    A predicted dust mass is 10^sMd times the stellar mass of the short fit (a luminosity 10^sLd
    times the stellar luminosity), whose error adds to that of sMd and goes with it: a fit that
    finds too much stellar mass lets the model find too little dust for it.

    Parameters
    ----------
    predictions : Table
        Predictions of samples that the models did not see.
    short : Table
        Short fits of these samples.
    full : Table
        Fits whose values are taken for true, by the ids of galaxies with all their bands.

    Returns
    -------
    dict of str to dict
        For sLd and sMd: ``factor``, the root mean square of log10(short / full) over the error
        that the short fit states in dex; ``correlation`` of log10(short / full) with the residual
        of the prediction; ``scatter``, root mean square of log10(short / full) in dex of galaxies
        with all their bands; ``sum_rmse``, that of the predicted dust mass or luminosity.
    """
    found = {}
    for target, name in STARS.items():
        part = predictions.rows(predictions["target"] == target)
        rows = places(short["id"], part["id"])
        part, fitted = part.rows(rows >= 0), short.rows(rows[rows >= 0])
        true = repeat_truth(full, part["id"])
        known = np.isin(part["id"].astype(str), true["id"].astype(str))
        part, fitted = part.rows(known), fitted.rows(known)
        stars = np.log10(fitted[name] / true[name])
        stated = fitted[f"{name}_err"] / fitted[name] / np.log(10)
        residual = part["prediction"] - part["truth"]
        weight = sample_weights(part["galaxy"])
        complete = np.array([text.endswith(f"/{GLOBAL}") for text in part["id"]], dtype=bool)
        mean = [np.average(values, weights=weight) for values in (stars, residual)]
        cross = np.average((stars - mean[0]) * (residual - mean[1]), weights=weight)
        spread = [
            np.sqrt(np.average((values - value) ** 2, weights=weight))
            for values, value in zip((stars, residual), mean)
        ]
        found[target] = {
            "factor": float(np.sqrt(np.average((stars / stated) ** 2, weights=weight))),
            "correlation": float(cross / (spread[0] * spread[1])),
            "scatter": float(np.sqrt(np.mean(stars[complete] ** 2))),
            "sum_rmse": float(np.sqrt(np.mean((stars + residual)[complete] ** 2))),
        }
    return found


def model_card(settings, regressor, folds, n_samples, by_fold, subsets=None):
    """Return the model card: what the model is, what it was trained on, how good it is.

    Parameters
    ----------
    settings : dict
        See `MapModel`; also ``description``.
    regressor : str
        Its name.
    folds : dict of str to int
        Test fold of each galaxy.
    n_samples : int
        Training samples.
    by_fold : Table
        Metrics by fold (`fold_metrics`).
    subsets : Table, optional
        Metrics by subset of bands (`dropout.subset_metrics`).

    Returns
    -------
    str
        Markdown.
    """
    lines = [
        f"# Model {settings['name']}",
        "",
        f"{settings['description']} Made by rule `ship_model`; docs/maps.md says how to make it",
        "anew and how to use it.",
        "",
        f"- Regressor: {regressor}, one model a target and fold, and one of all galaxies.",
        f"- Training: {len(folds)} galaxies, {n_samples} samples, scales "
        f"{', '.join(settings['scales'])}; {len(set(folds.values()))} folds by galaxy.",
        f"- Inputs: Bayesian fluxes of the short fit in {', '.join(settings['bands'])}, relative "
        f"to {settings['reference']}; its {settings['w1'].replace('_', ' ')}"
        + ("; errors of the Bayesian fluxes." if settings["selection"].get("flux_errors") else "."),
        "- Targets: sLd, sMd in dex, Td in K (docs/method-learning.md).",
        "",
        "## Held-out galaxies, by fold",
        "",
        *_markdown(by_fold, "fold"),
        "",
    ]
    if subsets is not None:
        lines += ["## Held-out galaxies, by bands", "", *_markdown(subsets, "subset"), ""]
    lines += [
        "## Sigma of pixels and sums",
        "",
        "| target | galaxy share | inflation | length | source | stars: factor | correlation |",
        "|---|---|---|---|---|---|---|",
    ]
    for target, split in settings["split"].items():
        stars = settings["stars"].get(target)
        end = f"{stars['factor']:.2f} | {stars['correlation']:.2f}" if stars else "- | -"
        lines.append(
            f"| {target} | {split['galaxy_share']:.2f} | {split['inflation']:.2f} | "
            f"{split['length']:.2f} | {split['source']} | {end} |"
        )
    lines += [
        "",
        "## Limits",
        "",
        "- Trained on nearby galaxies (redshift 0) that Herschel saw; the map of applicability",
        "  says where a sample lies outside them.",
        "- With few bands the answer is near the mean of the training galaxies, and sigma says so.",
        "- A model of whole galaxies is carried over to pixels: their sigma is inflated as above.",
        "- The truth is a fit with one dust model; its own errors are part of sigma.",
    ]
    return "\n".join(lines) + "\n"


def fold_metrics(predictions, **options):
    """Return the metrics of predictions as from `metrics.metrics_table`, by fold."""
    labelled = Table(predictions)
    labelled["scale"] = np.array([str(fold) for fold in predictions["fold"]], dtype=object)
    table = metrics_table(labelled, **options)
    return Table({"fold" if name == "scale" else name: table[name] for name in table})


def _markdown(table, label):
    lines = [
        f"| target | {label} | galaxies | samples | RMSE | R2 | ME | chi2 and its error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for k in range(table.n_rows):
        rmse, r2, me, chi2 = (table[name][k] for name in METRICS)
        chi2_err = table["chi2_err"][k]
        digits = 2 if table["target"][k] == "Td" else 3
        counts = f"{table['n_galaxies'][k]} | {table['n_samples'][k]}"
        scores = f"{rmse:.{digits}f} | {r2:.2f} | {me:.{digits}f} | {chi2:.2f} {chi2_err:.2f}"
        lines.append(f"| {table['target'][k]} | {table[label][k]} | {counts} | {scores} |")
    return lines


def _truth(full, sample_id, temperature):
    """Return what a full fit says of samples; NaN for those that it lacks."""
    rows = places(full["id"], sample_id)
    columns = {}
    targets = targets_from_fit(full)
    if temperature == "geometric":
        choose_geometric(targets)
    for name in TARGETS:
        columns[f"{name}_true"] = targets[name]
        columns[f"{name}_true_err"] = targets[f"{name}_err"]
    units = {"luminosity": SOLAR_LUMINOSITY_W, "mass": SOLAR_MASS_KG}
    for name, unit in units.items():
        mean, error = full[f"bayes.dust.{name}"], full[f"bayes.dust.{name}_err"]
        columns[f"dust_{name}_true"] = mean / unit
        columns[f"dust_{name}_true_err"] = error / mean / np.log(10)
    return {
        name: np.where(rows < 0, np.nan, np.append(column, np.nan)[rows])
        for name, column in columns.items()
    }


def _plain(name):
    return re.sub(r"[^a-z0-9]", "", str(name).lower())
