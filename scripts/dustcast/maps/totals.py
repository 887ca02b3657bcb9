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


def total(values, together):
    """Return a sum over pixels and its error.

    Parameters
    ----------
    values : Table
        From `extensive`.
    together : float
        Number of pixels that vary as one: the area over which residuals are correlated.

    Returns
    -------
    dict of str to float
        total; error_galaxy_dex, error_pixel_dex and their root of squares error_dex;
        error_independent_dex, what it would be if all errors were independent; n_independent.

    Notes
    -----
    With s = ln 10 sigma_pixel a pixel's mean is its median times exp(s^2 / 2), and its variance
    is the square of that mean times exp(s^2) - 1. The galaxy's part moves all pixels alike: it
    neither averages out nor shifts the median of the sum.
    """
    pixel = LN10 * np.asarray(values["sigma_pixel"])
    mean = values["value"] * np.exp(pixel**2 / 2)
    sum_ = float(np.sum(mean))
    together = min(max(together, 1.0), len(mean))
    variance = together * float(np.sum(mean**2 * np.expm1(pixel**2)))
    own = math.sqrt(variance) / sum_ / LN10
    shared = float(np.sum(mean * values["sigma_galaxy"])) / sum_
    all_ = np.hypot(pixel, LN10 * values["sigma_galaxy"])
    single = values["value"] * np.exp(all_**2 / 2)
    independent = math.sqrt(np.sum(single**2 * np.expm1(all_**2))) / np.sum(single) / LN10
    return {
        "total": sum_,
        "error_dex": math.hypot(shared, own),
        "error_galaxy_dex": shared,
        "error_pixel_dex": own,
        "error_independent_dex": float(independent),
        "n_independent": len(mean) / together,
    }


def correlated_pixels(fwhm, pixel):
    """Return the number of pixels that vary as one behind a Gaussian PSF.

    White noise behind a PSF of width sigma has the correlation exp(-d^2 / 4 sigma^2), whose area
    is 4 pi sigma^2.

    Parameters
    ----------
    fwhm, pixel : float
        Width of the PSF and side of a pixel in arcsec.
    """
    sigma = fwhm / math.sqrt(8 * math.log(2))
    return max(1.0, 4 * math.pi * sigma**2 / pixel**2)
