"""From predicted ratios to dust mass and luminosity, of pixels and summed over a galaxy.

The error of a pixel has a part that all pixels of its galaxy share and a part of its own. Only the
second averages out in a sum.
"""

from __future__ import annotations

import math

import numpy as np

from dustcast.tables import Table
from dustcast.units import SOLAR_LUMINOSITY_W

LN10 = math.log(10.0)

REACH = 5.0
"""Correlation lengths beyond which pixels are taken for independent."""

QUANTITIES = {
    "dust_luminosity": ("sLd", "bayes.stellar.lum", 1 / SOLAR_LUMINOSITY_W, "solLum"),
    "dust_mass": ("sMd", "bayes.stellar.m_star", 1.0, "solMass"),
}
"""Name: the target, what it is relative to, the factor to the unit, the unit."""


def extensive(predictions, short, name, stars):
    """Return dust mass or luminosity of pixels, and its errors.

    Parameters
    ----------
    predictions : Table
        Columns of a table of predictions of pixels.
    short : Table
        Short fits, in the order of the predictions.
    name : str
        Key of `QUANTITIES`.
    stars : dict of str to dict
        By target ``factor`` and ``correlation`` of the stars' error
        (`dustcast.learning.shipping.star_errors`).

    Returns
    -------
    Table
        value (the median, in the unit of `QUANTITIES`), sigma_galaxy, sigma_pixel, sigma_stars
        (dex). The stars' error e = factor * (stated error) joins the part that a galaxy shares,
        as g^2 + e^2 + 2 c g e with the correlation c.
    """
    target, star, factor, unit = QUANTITIES[name]
    own = stars[target]
    error = own["factor"] * short[f"{star}_err"] / short[star] / LN10
    shared = predictions[f"{target}_sigma_galaxy"]
    together = shared**2 + error**2 + 2 * own["correlation"] * shared * error
    return Table(
        {
            "value": 10.0 ** predictions[target] * short[star] * factor,
            "sigma_galaxy": np.sqrt(together),
            "sigma_pixel": np.asarray(predictions[f"{target}_sigma_pixel"], float),
            "sigma_stars": np.asarray(error, float),
        },
        units={"value": unit}
        | dict.fromkeys(("sigma_galaxy", "sigma_pixel", "sigma_stars"), "dex"),
    )


def total(values, x, y, length):
    """Return a sum over pixels and its error.

    Parameters
    ----------
    values : Table
        From `extensive`.
    x, y : array_like of shape (n,)
        Pixels.
    length : float
        Over which own errors of pixels are alike, in pixels.

    Returns
    -------
    dict of str to float
        total; error_galaxy_dex, error_pixel_dex and their root of squares error_dex;
        error_independent_dex, what it would be if all errors were independent; n_independent, the
        number of pixels divided by what neighbours add to the variance.

    Notes
    -----
    With s = ln 10 sigma_pixel a pixel's mean is its median times exp(s^2 / 2), and the covariance
    of two pixels at a distance d the product of their means times exp(s_1 s_2 exp(-d / length)) -
    1. The galaxy's part moves all pixels alike: it neither averages out nor shifts the median of
    the sum.
    """
    pixel = LN10 * np.asarray(values["sigma_pixel"])
    mean = values["value"] * np.exp(pixel**2 / 2)
    sum_ = float(np.sum(mean))
    single = float(np.sum(mean**2 * np.expm1(pixel**2)))
    first, second, distance = _near(x, y, REACH * length)
    correlation = np.exp(-distance / length)
    pairs = mean[first] * mean[second] * np.expm1(pixel[first] * pixel[second] * correlation)
    variance = single + 2 * float(np.sum(pairs))
    own = math.sqrt(variance) / sum_ / LN10
    shared = float(np.sum(mean * values["sigma_galaxy"])) / sum_
    all_ = np.hypot(pixel, LN10 * values["sigma_galaxy"])
    whole = values["value"] * np.exp(all_**2 / 2)
    independent = math.sqrt(np.sum(whole**2 * np.expm1(all_**2))) / np.sum(whole) / LN10
    return {
        "total": sum_,
        "error_dex": math.hypot(shared, own),
        "error_galaxy_dex": shared,
        "error_pixel_dex": own,
        "error_independent_dex": float(independent),
        "n_independent": len(mean) * (single / variance if variance else 1.0),
    }


def _near(x, y, reach):
    """Return the pairs of pixels within a distance, and their distances."""
    from scipy.spatial import cKDTree

    places = np.column_stack([x, y]).astype(float)
    pairs = cKDTree(places).query_pairs(reach, output_type="ndarray").reshape(-1, 2)
    first, second = pairs.T
    return first, second, np.hypot(*(places[first] - places[second]).T)
