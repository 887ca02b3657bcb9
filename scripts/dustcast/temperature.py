"""The radiation field Umin, what a fit says of it, and the temperature of dust in it."""

from __future__ import annotations

from dustcast.units import DUST_TEMPERATURE_EXPONENT, DUST_TEMPERATURE_UMIN_1_K


def dust_temperature(umin):
    """Return the temperature in K of THEMIS dust in a radiation field of strength `umin`.

    The temperatures of the official DustPedia table follow from its umin so, to 0.01 K
    (Nersesian et al. 2019, Eq. 1).
    """
    return DUST_TEMPERATURE_UMIN_1_K * umin**DUST_TEMPERATURE_EXPONENT


def log_umin(full):
    """Return posterior mean and standard deviation of ln Umin.

    Parameters
    ----------
    full : Table
        ``bayes.dust.umin_log`` and its ``_err`` (of log10), or ``bayes.dust.umin`` with ``_err``
        (optional), from which follow those of the log-normal distribution of that mean and
        standard deviation.

    Returns
    -------
    mean, sigma : numpy.ndarray of shape (n,)
        NaN where the fit gives no positive mean.
    """
    import numpy as np

    if "bayes.dust.umin_log" in full:
        return tuple(np.log(10) * full[f"bayes.dust.umin_log{end}"] for end in ("", "_err"))
    mean = np.asarray(full["bayes.dust.umin"], float)
    mean = np.where(mean > 0, mean, np.nan)
    error = np.asarray(full.get("bayes.dust.umin_err", np.zeros(len(mean))), float)
    variance = np.log1p(np.where(np.isfinite(error), error / mean, 0) ** 2)
    return np.log(mean) - variance / 2, np.sqrt(variance)
