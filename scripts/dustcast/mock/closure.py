"""How much error each stage adds, measured against the known truth of a mock survey.

With r the residual of a sample, weights that give every galaxy the same say, and <r>_g the mean of
a galaxy: between^2 = mean over galaxies of <r>_g^2, within^2 = weighted mean of (r - <r>_g)^2, so
that between^2 + within^2 = bias^2 + scatter^2 is the mean square of the residuals.
"""

from __future__ import annotations

import numpy as np

from dustcast.tables import aligned, stack_tables, table_of
from dustcast.temperature import dust_temperature

COLUMNS = ("stage", "quantity", "scale", "band", "n", "bias", "scatter", "within", "between")
EXTENSIVE = {
    "log_Ldust": "dust.luminosity",
    "log_Mdust": "dust.mass",
    "log_Lstar": "stellar.lum",
    "log_Mstar": "stellar.m_star",
}
TARGETS = ("sLd", "sMd", "Td")
# Fits are also judged by how well the dust was seen: the S/N of this band, above and below a limit.
DUST_BAND, DUST_SNR = "SPIRE_250", 5.0


def split_error(residual, galaxy):
    """Return bias, scatter, within and between of some residuals.

    Parameters
    ----------
    residual : ndarray of shape (n,)
        Finite differences from the truth.
    galaxy : ndarray of str, shape (n,)
        Galaxy of each.

    Returns
    -------
    dict of str to float
        NaN without samples.
    """
    if len(residual) == 0:
        return dict.fromkeys(("bias", "scatter", "within", "between"), np.nan)
    _, group = np.unique(np.asarray(galaxy, dtype=str), return_inverse=True)
    count = np.bincount(group)
    mean = np.bincount(group, residual) / count
    bias, between2 = mean.mean(), np.mean(mean**2)
    within2 = np.mean(np.bincount(group, (residual - mean[group]) ** 2) / count)
    return {
        "bias": float(bias),
        "scatter": float(np.sqrt(max(between2 + within2 - bias**2, 0.0))),
        "within": float(np.sqrt(within2)),
        "between": float(np.sqrt(between2)),
    }


def fit_rows(stage, scale, fit, truth, photometry):
    """Return the rows of a fit against truth: all samples, and by the S/N of `DUST_BAND`.

    Parameters
    ----------
    stage : str
        fit_full or fit_short.
    scale : str
        Of the tables.
    fit, truth, photometry : Table
        Of ``sed/{scale}/``, ``mock/truth/`` and ``photometry/``.

    Returns
    -------
    list of dict
        With `COLUMNS`.
    """
    if fit.n_rows == 0:
        return []
    truth, photometry = (
        aligned(table, fit["id"], f"the {name} at {scale}", "run the rule that simulates it anew")
        for name, table in (("truth", truth), ("photometry", photometry))
    )
    residuals = _fit_residuals(fit, truth)
    flux = photometry.get(DUST_BAND, np.full(fit.n_rows, np.nan))
    error = photometry.get(f"{DUST_BAND}_err", np.full(fit.n_rows, np.nan))
    known = np.isfinite(flux)
    bright = known & (flux > DUST_SNR * error)
    groups = {
        ("", ""): np.ones(fit.n_rows, dtype=bool),
        (f" at S/N > {DUST_SNR:g}", DUST_BAND): bright,
        (f" at S/N < {DUST_SNR:g}", DUST_BAND): known & ~bright,
    }
    rows = []
    for (suffix, band), keep in groups.items():
        for quantity, residual in residuals.items():
            if band and quantity in ("log_Lstar", "log_Mstar"):
                continue  # the stars do not depend on it
            rows.append(_row(stage, quantity + suffix, scale, band, residual[keep], fit, keep))
    return rows


def _fit_residuals(fit, truth):
    """Return the residuals of a fit by quantity: dex, and K of Td."""
    values = {name: (fit[f"bayes.{name}"], truth[name]) for name in EXTENSIVE.values()}
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = {name: np.log10(a) - np.log10(b) for name, (a, b) in values.items()}
    found = {quantity: logs[name] for quantity, name in EXTENSIVE.items()}
    found["sLd"] = logs["dust.luminosity"] - logs["stellar.lum"]
    found["sMd"] = logs["dust.mass"] - logs["stellar.m_star"]
    temperature = dust_temperature(fit["bayes.dust.umin"])
    found["Td"] = temperature - truth["Td"]
    return found


def prediction_rows(predictions, truths):
    """Return the rows of predictions against the fit that was learned, and against truth.

    Parameters
    ----------
    predictions : Table
        Of one regressor (`dustcast.learning.experiments.predict_fold`).
    truths : dict of str to Table
        ``mock/truth/{scale}.parquet`` by scale.
    """
    rows = []
    for scale, truth in truths.items():
        for target in TARGETS:
            keep = (predictions["scale"] == scale) & (predictions["target"] == target)
            part = predictions.rows(keep)
            if part.n_rows == 0:
                continue
            true = aligned(truth, part["id"], f"the truth at {scale}")[target]
            every = np.ones(part.n_rows, dtype=bool)
            for stage, reference in (("predict_fit", part["truth"]), ("predict_truth", true)):
                residual = part["prediction"] - reference
                rows.append(_row(stage, target, scale, "", residual, part, every))
    return rows


def stage_rows(tables):
    """Return the rows of the stages of the images, galaxies being their samples.

    Parameters
    ----------
    tables : list of Table
        ``mock/stages/{galaxy}.parquet``: stage, quantity, scale, band, galaxy, residual.
    """
    table = stack_tables(tables)
    if table.n_rows == 0:
        return []
    names = ("stage", "quantity", "scale", "band")
    keys = list(zip(*(table[name] for name in names)))
    rows = []
    for key in dict.fromkeys(keys):
        keep = np.array([other == key for other in keys])
        rows.append(_row(*key, table["residual"][keep], table, keep))
    return rows


def closure_table(rows):
    """Return rows as a table with `COLUMNS`."""
    return table_of(rows, COLUMNS, text=("stage", "quantity", "scale", "band"))


def _row(stage, quantity, scale, band, residual, table, keep):
    """Return one row; residuals that are not finite (no dust in the fit) do not count."""
    finite = np.isfinite(residual)
    split = split_error(residual[finite], table["galaxy"][keep][finite])
    names = {"stage": stage, "quantity": quantity, "scale": scale, "band": band}
    return names | {"n": int(finite.sum())} | split
