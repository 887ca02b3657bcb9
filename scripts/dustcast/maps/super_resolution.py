"""Predictions at the resolution of the input images, matched to the far-infrared at its own.

A prediction is finer than the far-infrared images, and a fit to these is surer than a prediction.
What the two share is dust, in bulk: blurred to the far-infrared's resolution, the predicted map
should be the fitted one. A smooth factor on the predicted map makes it so, as far as the errors
of both ask for it. Only what adds up is matched, mass and luminosity; for the temperature it is the
radiation field U = (Td / 18.3 K)^5.79, a mean weighted by dust mass. What is relative to the
stars follows from the matched maps.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace

import numpy as np

from dustcast.maps.totals import LN10, QUANTITIES, extensive
from dustcast.tables import DataError, Table
from dustcast.temperature import dust_temperature, log_umin
from dustcast.units import (
    DUST_TEMPERATURE_EXPONENT,
    DUST_TEMPERATURE_UMIN_1_K,
    SOLAR_LUMINOSITY_W,
    SOLAR_MASS_KG,
)

WEIGHTED, EXACT = "weighted", "exact"
METHODS = (WEIGHTED, EXACT)

TOLERANCE = 0.01
"""Largest relative difference from the fitted map at which `EXACT` has converged."""

MAX_STEPS = 20

LARGEST_CHANGE = 1.0
"""Of ln of a pixel in one step: far from the solution the logarithm of a sum is not linear."""

EXACT_ERROR = 0.1 * TOLERANCE
"""Relative error that `EXACT` gives the fitted map: so small that it is followed."""

WIDENINGS = np.geomspace(1, 10, 31)
"""By how much the errors of a prediction may be too small for its galaxy."""

MOST_COMPARED = 600
"""Pixels of the fitted map that say so, spread over the galaxy."""

LEAST_PRECISION = 0.1
"""In units of that of the prior: a fit that knows Umin no better than so tells nothing of it."""

LEAST_COVER = 0.8
"""A pixel of the fitted map takes part if predictions fill this share of its PSF."""

_SIGMA_PER_FWHM = 1 / math.sqrt(8 * math.log(2))
_REACH = 4.0  # of a Gaussian, in its sigma
_BLOCK = 512

FITTED = {
    "dust_luminosity": ("bayes.dust.luminosity", SOLAR_LUMINOSITY_W),
    "dust_mass": ("bayes.dust.mass", SOLAR_MASS_KG),
}
"""Name: the column of the full fit, and what one unit of `QUANTITIES` is in its unit."""


@dataclass
class Correction:
    """What makes a predicted map agree with a fitted one.

    Attributes
    ----------
    log : ndarray of shape (n_fine,)
        ln of the factor on the prediction.
    sigma : ndarray of shape (n_fine,)
        Standard deviation of ln of the product.
    gain : ndarray of shape (n_fine,)
        Share of the prediction's variance that the fitted map took away, 0 to 1.
    steps : int
        Steps that were made.
    mismatch : float
        Largest relative difference between the blurred product and the fitted map.
    wider : float
        By how much the errors of the prediction were found too small.
    """

    log: np.ndarray
    sigma: np.ndarray
    gain: np.ndarray
    steps: int
    mismatch: float
    wider: float = 1.0

    @property
    def converged(self):
        """Whether the product agrees with the fitted map within `TOLERANCE`."""
        return self.mismatch <= TOLERANCE


class Blur:
    """From a fine map to the pixels of a coarse one, and the smooth fields on the fine map.

    The PSF of both cubes is taken for a Gaussian of its measured width, which for the coarse one
    includes what its large pixels add: the value at the centre of a coarse pixel is then the fine
    map behind the difference of the two Gaussians.

    Parameters
    ----------
    fine, coarse : Sky
        Geometry of the two cubes.
    x, y : ndarray of shape (n_fine,)
        Pixels of the fine map with a prediction.
    coarse_x, coarse_y : ndarray of shape (n_coarse,)
        Pixels of the coarse map with a fit.

    Attributes
    ----------
    weights : scipy.sparse.csr_array of shape (n_used, n_fine)
        Rows have the sum 1: predictions that are missing at the edge are as their neighbours.
    used : ndarray of int
        Pixels of the coarse map that have `LEAST_COVER`, one a row of `weights`.
    smooth : scipy.sparse.csr_array of shape (n_fine, n_knot)
        Makes a smooth field of unit variance from independent numbers of unit variance: one a
        coarse pixel, spread by its PSF. At a distance d it has the correlation
        exp(-d^2 / 4 sigma^2), as white noise behind the PSF has.

    Raises
    ------
    DataError
        If the coarse map is not the coarser.
    """

    def __init__(self, fine, coarse, x, y, coarse_x, coarse_y):
        if coarse.fwhm <= fine.fwhm:
            raise DataError(
                f'a map of {fine.fwhm:.3g}" cannot be matched to one of {coarse.fwhm:.3g}": name '
                "a scale coarser than that of the prediction"
            )
        here = _in_pixels_of(coarse, fine, x, y) * coarse.pixel
        there = np.column_stack([coarse_x, coarse_y]).astype(float) * coarse.pixel
        width = math.sqrt(coarse.fwhm**2 - fine.fwhm**2) * _SIGMA_PER_FWHM
        share = fine.pixel**2 / (2 * math.pi * width**2)
        weights = share * _gaussian(there, here, width)
        cover = weights.sum(axis=1)
        self.used = np.flatnonzero(cover >= LEAST_COVER)
        self.weights = weights[self.used] / cover[self.used, None]
        knots = np.unique(np.rint(here / coarse.pixel), axis=0) * coarse.pixel
        smooth = _gaussian(here, knots, coarse.fwhm * _SIGMA_PER_FWHM)
        self.smooth = smooth / np.sqrt(smooth.power(2).sum(axis=1))[:, None]

    def level(self, values):
        """Return values of fine pixels smoothed over the coarse PSF."""
        ones = np.ones(self.smooth.shape[1])
        norm = self.smooth.T @ np.ones(len(values))
        return (self.smooth @ (self.smooth.T @ values / norm)) / (self.smooth @ ones)

    def weighted_by(self, mass):
        """Return the blur of a mean weighted by mass, of shape (n_fine,)."""
        other = copy.copy(self)
        weights = self.weights.multiply(mass[None, :]).tocsr()
        other.weights = weights / weights.sum(axis=1)[:, None]
        return other


def match(blur, predicted, shared, own, fitted, error, method):
    """Return the smooth correction that a fitted map asks of a predicted one.

    Parameters
    ----------
    blur : Blur
    predicted : ndarray of shape (n_fine,)
        Positive: a surface density.
    shared, own : ndarray of shape (n_fine,)
        Standard deviation of its ln: the part that all pixels share, and each pixel's own.
    fitted, error : ndarray of shape (n_coarse,)
        The fitted map, positive, and the standard deviation of its ln.
    method : str
        Of `METHODS`.

    Returns
    -------
    Correction

    Notes
    -----
    The error of ln(predicted) is a field c = shared z_0 + own (smooth z) with independent normal
    z; the fitted map knows ln sum(weights predicted e^c) up to `error`. z is the most probable
    one, found by Gauss-Newton steps: the fitted map moves a pixel as far as the inverse
    variances of both justify. `WEIGHTED` first widens the field's errors by the number under
    which the differences of both maps are likeliest. `EXACT` is the same for a fitted map without
    error.
    """
    from scipy import sparse
    from scipy.sparse.linalg import splu

    fitted, error = fitted[blur.used], error[blur.used]
    known = np.isfinite(fitted) & (fitted > 0) & np.isfinite(error) & (error > 0)
    weights, fitted, error = blur.weights[known], fitted[known], error[known]
    believed = np.full(len(error), EXACT_ERROR) if method == EXACT else error
    field = sparse.hstack([shared[:, None], blur.smooth.multiply(own[:, None])], format="csr")
    z = np.zeros(field.shape[1])
    mismatch, steps, wider = math.inf, 0, 1.0
    while True:
        product = weights @ (predicted * np.exp(field @ z))
        difference = np.log(fitted / product)
        before, mismatch = mismatch, float(np.max(np.abs(np.expm1(difference)), initial=0.0))
        design = (weights.multiply(predicted * np.exp(field @ z)) / product[:, None]) @ field
        scaled = sparse.csr_array(design / believed[:, None])
        if method == WEIGHTED:
            wider = _widening(scaled, difference / believed + scaled @ z)
        prior = sparse.eye_array(len(z)) / wider**2
        precision = splu(sparse.csc_array(prior + scaled.T @ scaled))
        # A weighted product need not agree: it is done when a step changes nothing.
        done = mismatch <= TOLERANCE if method == EXACT else abs(before - mismatch) < 1e-4
        if done or steps == MAX_STEPS:
            break
        step = precision.solve(scaled.T @ (difference / believed + scaled @ z)) - z
        z = z + step * min(
            1.0, LARGEST_CHANGE / max(np.max(np.abs(field @ step), initial=0.0), 1e-12)
        )
        steps += 1
    left = _variance(precision, field)
    noise = _noise(precision, field, scaled, error / believed) if method == EXACT else 0.0
    gain = np.clip(1 - left / (wider**2 * (shared**2 + own**2)), 0, 1)
    return Correction(field @ z, np.sqrt(left + noise), gain, steps, mismatch, wider)


def _widening(design, data):
    """Return by how much the errors of a prediction must be wider to agree with a fitted map.

    Parameters
    ----------
    design : scipy.sparse.csr_array of shape (n_coarse, n_field)
        Change of the blurred map with each number of the field, in units of the fit's error.
    data : ndarray of shape (n_coarse,)
        Fitted minus predicted map in the same units.

    Returns
    -------
    float
        Of `WIDENINGS`, that under which the data are likeliest: their covariance is
        widening^2 design design^T + 1.
    """
    rows = np.linspace(0, len(data) - 1, min(len(data), MOST_COMPARED)).astype(int)
    if not len(rows):
        return 1.0
    values, vectors = np.linalg.eigh((design[rows] @ design[rows].T).toarray())
    squares = (vectors.T @ data[rows]) ** 2
    variances = np.multiply.outer(np.square(WIDENINGS), np.maximum(values, 0)) + 1
    loss = np.sum(np.log(variances) + squares / variances, axis=1)
    return float(WIDENINGS[int(np.argmin(loss))])


def match_maps(sky, predictions, photometry, short, stars, coarse, full, method):
    """Match the predictions of a galaxy to the full fit of its pixels at a coarser scale.

    Parameters
    ----------
    sky : Sky
        Geometry of the predictions.
    predictions, photometry, short : Table
        Predictions, photometry and short fits of the same pixels in the same order.
    stars : dict
        See `dustcast.maps.totals.extensive`.
    coarse : Sky
        Geometry of the full fit.
    full : Table
        Full fit, whose ids end with x_y.
    method : str
        Of `METHODS`.

    Returns
    -------
    Table
        id, x, y and, for the three targets, dust_mass and dust_luminosity, ``{name}`` (solar units
        a pixel, dex or K), ``{name}_sigma`` (dex; K of Td) and ``{name}_correction``: the smooth
        factor in dex, of Td what it adds in K. ``meta`` has ``cards``
        for the header.
    """
    x, y = _places(full)
    blur = Blur(sky, coarse, predictions["x"], predictions["y"], x, y)
    area = np.asarray(photometry["pixel_scale_pc"], float) ** 2
    # All pixels of a galaxy have one area; without a pixel any will do.
    coarse_area = (area[0] if len(area) else 1.0) * (coarse.pixel / sky.pixel) ** 2
    table = Table({key: predictions[key] for key in ("id", "x", "y")})
    cards = {"DC_SRMTH": (method, "how MATCHED follows the far-infrared")}
    cards["DC_SRFWH"] = (coarse.fwhm, "[arcsec] measured width of the PSF of that")
    for name, (target, *_) in QUANTITIES.items():
        values = extensive(predictions, short, name, stars)
        column, unit = FITTED[name]
        density, found = _matched(
            blur,
            values["value"] / area,
            LN10 * values["sigma_galaxy"],
            LN10 * values["sigma_pixel"],
            full[column] / unit / coarse_area,
            full[f"{column}_err"] / full[column],
            method,
        )
        table[name] = density * area
        table[f"{name}_sigma"] = found.sigma / LN10
        table[target] = predictions[target] + np.log10(table[name] / values["value"])
        table[f"{target}_sigma"] = _specific_sigma(found, values, predictions[f"{target}_sigma"])
        table[f"{name}_correction"] = table[f"{target}_correction"] = found.log / LN10
        cards |= _cards(name, found, method)
    temperature = np.asarray(predictions["Td"], float)
    relative = 1 / (DUST_TEMPERATURE_EXPONENT * temperature)
    field, found = _matched(
        # The mean of U is the sum of mass times U over that of mass.
        blur.weighted_by(table["dust_mass"]),
        (temperature / DUST_TEMPERATURE_UMIN_1_K) ** (1 / DUST_TEMPERATURE_EXPONENT),
        relative * predictions["Td_sigma_galaxy"],
        relative * predictions["Td_sigma_pixel"],
        *_measured_umin(full),
        method,
    )
    table["Td"] = dust_temperature(field)
    table["Td_sigma"] = table["Td"] * found.sigma * DUST_TEMPERATURE_EXPONENT
    table["Td_correction"] = table["Td"] * -np.expm1(-found.log * DUST_TEMPERATURE_EXPONENT)
    table.meta = {"cards": cards | _cards("Td", found, method)}
    return table


def without_noise(blur, log, own, gain):
    """Return a predicted map, as ln, without what within the coarse PSF may be noise.

    Where the fitted map says what the level is, structure finer than it can see has to stand
    out of the prediction's own error. With V the variance of that structure about the level and
    s the own error the true part is V - s^2 of V, and so much of the structure is kept (Wiener).

    Parameters
    ----------
    blur : Blur
    log, own : ndarray of shape (n_fine,)
        ln of the prediction and its own standard deviation.
    gain : ndarray of shape (n_fine,)
        See `Correction`: without a fitted map all structure is kept.

    Returns
    -------
    log : ndarray of shape (n_fine,)
    unseen : ndarray of shape (n_fine,)
        Standard deviation that stays because the fitted map cannot see within its PSF.
    """
    level = blur.level(log)
    variance = blur.level((log - level) ** 2)
    kept = np.clip(1 - own**2 / np.maximum(variance, 1e-12), 0, 1)
    kept = 1 - gain * (1 - kept)
    return level + kept * (log - level), np.sqrt(gain * np.minimum(variance, own**2))


def _matched(blur, predicted, shared, own, fitted, error, method):
    """Return the matched map and the correction of it, whose sigma knows of what is unseen."""
    found = match(blur, predicted, shared, own, fitted, error, method)
    calm, unseen = without_noise(blur, np.log(predicted), own, found.gain)
    if method == WEIGHTED:
        predicted = np.exp(calm)
        found = match(blur, predicted, shared, own, fitted, error, method)
    found = replace(found, sigma=np.hypot(found.sigma, unseen))
    return predicted * np.exp(found.log), found


def _cards(name, found, method):
    """Return the cards of the header that say how the matching of a quantity ended."""
    key = {"dust_mass": "M", "dust_luminosity": "L", "Td": "T"}[name]
    cards = {
        f"DC_SR{key}N": (found.steps, f"{name}: steps of matching"),
        f"DC_SR{key}D": (round(found.mismatch, 5), f"{name}: largest difference that is left"),
        f"DC_SR{key}W": (round(found.wider, 3), f"{name}: widening of the prediction's errors"),
    }
    if method == EXACT:
        cards[f"DC_SR{key}C"] = (bool(found.converged), f"{name}: whether within 1%")
    return cards


def _specific_sigma(found, values, sigma):
    """Return sigma in dex of a matched map over that of the stars.

    With r the error of the specific quantity, e that of the stars and n that of the fitted map,
    the matched mass is off by (1 - k)(r + e) + k n, k being the gain, and its ratio to the stars
    by e less.
    """
    total = values["sigma_galaxy"] ** 2 + values["sigma_pixel"] ** 2
    specific, star = sigma**2, values["sigma_stars"] ** 2
    common = (total - specific - star) / 2
    kept = 1 - found.gain
    noise = np.maximum((found.sigma / LN10) ** 2 - kept**2 * total, 0)
    error = kept**2 * specific + found.gain**2 * star - 2 * kept * found.gain * common
    return np.sqrt(np.maximum(error, 0) + noise)


def _variance(precision, field):
    """Return the variance of each row of field @ z, z having a factorised precision."""
    from scipy import sparse

    pattern = sparse.csc_array(field.T @ field)
    pattern.data[:] = 1.0
    n = field.shape[1]
    parts = []
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        unit = np.zeros((n, stop - start))
        unit[np.arange(start, stop), np.arange(stop - start)] = 1.0
        # Covariances of knots that no pixel has in common are not needed.
        parts.append(pattern[:, start:stop].multiply(precision.solve(unit)))
    covariance = sparse.csr_array(sparse.hstack(parts))
    return np.asarray((field @ covariance).multiply(field).sum(axis=1)).ravel()


def _noise(precision, field, scaled, error):
    """Return the variance that errors of the fitted map bring into each row of field @ z."""
    total = np.zeros(field.shape[0])
    for start in range(0, scaled.shape[0], _BLOCK):
        rows = slice(start, start + _BLOCK)
        moved = precision.solve((scaled[rows].T).toarray() * error[rows])
        total += np.sum((field @ moved) ** 2, axis=1)
    return total


def _gaussian(rows, columns, width):
    """Return exp(-d^2 / 2 width^2) of all pairs of points nearer than `_REACH` widths."""
    from scipy import sparse
    from scipy.spatial import cKDTree

    near = cKDTree(rows).sparse_distance_matrix(
        cKDTree(columns), _REACH * width, output_type="coo_matrix"
    )
    values = np.exp(-0.5 * (near.data / width) ** 2)
    return sparse.csr_array((values, (near.row, near.col)), shape=near.shape)


def _in_pixels_of(coarse, fine, x, y):
    """Return the places of pixels of one cube in pixels of another, of shape (n, 2)."""
    from astropy.wcs import WCS

    world = WCS(fine.header).pixel_to_world_values(np.asarray(x, float), np.asarray(y, float))
    return np.column_stack(WCS(coarse.header).world_to_pixel_values(*world))


def _measured_umin(full):
    """Return what the fluxes alone say of Umin, and the standard deviation of its ln.

    The prediction is to be weighed against the measurement. A fit's posterior, mean m and standard
    deviation s of ln Umin, is that times the grid's prior, m_0 and s_0. Both taken for Gaussian,
    the measurement has the precision 1/s^2 - 1/s_0^2 and the mean (m/s^2 - m_0/s_0^2) over it. It
    is NaN where the fluxes say nothing.
    """
    mean, sigma = log_umin(full)
    values = full.meta.get("grid", {}).get("parameters", {}).get("dust", {}).get("umin", ())
    if len(values) < 2 or "bayes.dust.umin_log" not in full:
        return np.exp(mean), sigma
    prior = np.log(np.asarray(values, float))
    precision = sigma**-2.0 - prior.std() ** -2
    precision = np.where(precision > LEAST_PRECISION / prior.var(), precision, np.nan)
    measured = (mean / sigma**2 - prior.mean() / prior.var()) / precision
    return np.exp(np.clip(measured, prior.min(), prior.max())), precision**-0.5


def _places(full):
    """Return x and y of pixels, which their ids end with."""
    pairs = [str(name).rsplit("/", 1)[1].split("_") for name in full["id"]]
    return np.array(pairs, dtype=int).reshape(-1, 2).T
