"""Experiments beside the fiducial: what a change does to held-out galaxies, and how surely."""

from __future__ import annotations

import numpy as np

from dustcast.learning.metrics import METRICS, paired_difference
from dustcast.tables import DataError, table_of

_TEXT = ("experiment", "regressor", "target", "scale", "reason")
_COLUMNS = (
    *("experiment", "regressor", "target", "scale", "n_galaxies", "n_samples"),
    *(
        f"{metric}{end}"
        for metric in METRICS
        for end in ("", "_fiducial", "_difference", "_err", "_significance")
    ),
    "reason",
)


def compare(experiments, fiducial, regressor, *, n_bootstrap=1000, seed=123):
    """Return the metrics of experiments beside those of the fiducial on the same samples.

    Parameters
    ----------
    experiments : dict of str to Table
        Predictions by experiment.
    fiducial : Table
        Predictions of the fiducial.
    regressor : str
        Regressor of the fiducial that all are compared with.
    n_bootstrap, seed : int
        Resamples of the galaxies, the same for both (`metrics.paired_difference`).

    Returns
    -------
    Table
        One row an experiment, regressor, target and scale: experiment, regressor, target, scale,
        n_galaxies, n_samples (that both predict), and for each metric its value, ``_fiducial``,
        ``_difference`` (the experiment's minus the fiducial's), ``_err`` of the difference and
        ``_significance`` (difference over error). reason says why a row has no numbers.
    """
    own = fiducial.rows(fiducial["regressor"] == regressor)
    rows = []
    for name, predictions in experiments.items():
        keys = zip(*(predictions[key] for key in ("regressor", "target", "scale")))
        for key in dict.fromkeys(keys):
            row = dict(zip(("experiment", "regressor", "target", "scale"), (name, *key)))
            rows.append(dict.fromkeys(_COLUMNS, np.nan) | row | {"reason": ""})
            pair = [_part(predictions, *key), _part(own, regressor, *key[1:])]
            try:
                found = paired_difference(*pair, n_bootstrap=n_bootstrap, seed=seed)
            except DataError as fault:
                rows[-1] |= {"n_galaxies": 0, "n_samples": 0, "reason": str(fault)}
                continue
            rows[-1] |= {key: found[key] for key in ("n_galaxies", "n_samples")}
            for metric in METRICS:
                difference, error = found[metric], found[f"{metric}_err"]
                rows[-1] |= {
                    metric: found[f"{metric}_first"],
                    f"{metric}_fiducial": found[f"{metric}_second"],
                    f"{metric}_difference": difference,
                    f"{metric}_err": error,
                    f"{metric}_significance": difference / error if error > 0 else np.nan,
                }
    return table_of(rows, _COLUMNS, text=_TEXT)


def _part(predictions, regressor, target, scale):
    """Return the predictions of a regressor, target and scale."""
    wanted = {"regressor": regressor, "target": target, "scale": scale}
    rows = np.ones(predictions.n_rows, bool)
    for name, value in wanted.items():
        rows &= predictions[name] == value
    return predictions.rows(rows)
