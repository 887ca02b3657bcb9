"""Predictions of synthetic observations whose dust is known."""

from __future__ import annotations

import numpy as np

from dustcast.learning.features import TARGETS, sample_weights
from dustcast.sample import number
from dustcast.tables import DataError, Table, stack_tables


def with_truth(predictions, objects, regressor):
    """Return predictions beside what is true, for `metrics.metrics_table`.

    Parameters
    ----------
    predictions : Table
        id, galaxy, scale, ``{target}`` and ``{target}_sigma``, from `shipping.MapModel.predict`.
    objects : dict of str to dict of str to str
        True values by id and target (sLd and sMd in dex, Td in K); an empty field is unknown.
    regressor : str
        Name of the model.

    Returns
    -------
    Table
        id, galaxy, scale, regressor, target, weight (galaxies count the same), truth, prediction,
        sigma: a row a sample and target whose truth is known.

    Raises
    ------
    DataError
        If no true value is known, or one is no number.
    """
    parts = []
    for target in TARGETS:
        truth = np.array([_known(objects, str(name), target) for name in predictions["id"]])
        rows = predictions.rows(np.isfinite(truth))
        count = rows.n_rows
        parts.append(
            Table(
                {
                    "id": rows["id"],
                    "galaxy": rows["galaxy"],
                    "scale": rows["scale"],
                    "regressor": np.full(count, regressor, dtype=object),
                    "target": np.full(count, target, dtype=object),
                    "weight": sample_weights(rows["galaxy"]),
                    "truth": truth[np.isfinite(truth)],
                    "prediction": np.asarray(rows[target], float),
                    "sigma": np.asarray(rows[f"{target}_sigma"], float),
                }
            )
        )
    table = stack_tables(parts)
    if not table.n_rows:
        raise DataError(
            f"synthetic.truth gives no object {', '.join(TARGETS[:-1])} or {TARGETS[-1]}: add the "
            "columns of what is known"
        )
    return table


def _known(objects, name, target):
    text = objects[name].get(target)
    return number(text, f"synthetic.truth: {name}: {target}") if text else np.nan


def as_text(metrics):
    """Return a table of metrics as lines of text, for the terminal."""
    lines = [f"{'target':<8}{'scale':<12}{'n':>7}{'RMSE':>18}{'R2':>8}{'ME':>18}{'chi2':>15}"]
    for k in range(metrics.n_rows):
        row = {name: metrics[name][k] for name in metrics}
        pairs = {
            name: f"{row[name]:.3f} +- {row[name + '_err']:.3f}" for name in ("rmse", "me", "chi2")
        }
        lines.append(
            f"{row['target']:<8}{row['scale']:<12}{row['n_samples']:>7}{pairs['rmse']:>18}"
            f"{row['r2']:>8.3f}{pairs['me']:>18}{pairs['chi2']:>15}"
        )
    return "\n".join(lines)
