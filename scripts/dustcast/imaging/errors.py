"""Errors of images on their final grid: background, calibration, extinction, photons."""

from __future__ import annotations

import math

import numpy as np

from dustcast.tables import DataError

# Fewer pixels of sky measure no scatter: that of 30 pixels is known to 13%.
LEAST_SKY_PIXELS = 30
CLIP_SIGMA = 3.0

# Relative change of a flux with its extinction in magnitudes.
FLUX_PER_MAGNITUDE = 0.4 * math.log(10)


def background_rms(values, sky, where):
    """Return the scatter of the sky after sigma clipping.

    It is measured, not derived: resampling correlates neighbouring pixels.

    Parameters
    ----------
    values : ndarray
        Image on its final grid.
    sky : ndarray of bool
        Pixels of sky.
    where : str
        For the message.

    Returns
    -------
    float
        In the unit of `values`.

    Raises
    ------
    DataError
        If there are too few pixels of sky.
    """
    from astropy.stats import sigma_clip

    chosen = values[sky & np.isfinite(values)]
    if chosen.size < LEAST_SKY_PIXELS:
        raise DataError(
            f"{where}: {chosen.size} pixels of sky around the galaxy, {LEAST_SKY_PIXELS} are "
            "needed to measure the background: give a larger image, or raise images.sky_pixels"
        )
    kept = sigma_clip(chosen, sigma=CLIP_SIGMA, maxiters=None, masked=False)
    return float(np.std(kept))


def calibration_error(values, fraction):
    """Return the calibration uncertainty, a fraction of the flux."""
    return np.abs(values) * fraction


def extinction_error(values, coefficient, reddening_error):
    """Return the uncertainty from that of the reddening.

    It is 0.4 ln(10) A / E(B-V) sigma_E(B-V) of the flux.
    """
    return np.abs(values) * (FLUX_PER_MAGNITUDE * coefficient * reddening_error)


def photon_error(values, gain, share):
    """Return the Poisson noise of the flux above the sky.

    Parameters
    ----------
    values : ndarray
        Surface brightness on the final grid.
    gain : float
        Photons that a unit of surface brightness brings into one native pixel.
    share : float
        Of the native variance that is left on the final grid (`resampling.noise_share`).
    """
    return np.sqrt(np.maximum(values, 0) * (share / gain))


def total_error(parts):
    """Return the root of the sum of squares of several errors."""
    return np.sqrt(sum(np.square(part, dtype=float) for part in parts))
