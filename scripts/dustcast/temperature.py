"""The radiation field that warms the dust, as a fit has it: for what is learned and for maps."""

from __future__ import annotations


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
