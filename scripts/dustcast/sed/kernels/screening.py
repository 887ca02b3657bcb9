"""The screen: which tiles hold a model of interest, told in float32 by a product of low rank.

Its errors are bounded, and taken off the level that it compares with, so that no model of interest
is lost (docs/method-fits.md, "The screen").
"""

from __future__ import annotations

import math

import numpy as np

from dustcast.sed.kernels.compiled import U, jit
from dustcast.sed.kernels.lanes import any_of, load, magnitude
from dustcast.sed.kernels.layout import (
    COARSE_RANK,
    COARSE_ROWS,
    ROW1,
    ROW2,
    ROW3,
    ROW4,
    ROW5,
    ROW6,
    ROW7,
    ROW8,
    ROW9,
    TILE_U,
)

# Unit of rounding of float32.
ROUNDING = 2.0**-24
TILE_LENGTH = U(COARSE_ROWS) * TILE_U


@jit
def set_coefficients(coefficients, units, coarse_u, i, lam, fs, ss):
    """Fill what `screen_tiles` needs of one stellar model, scaled so that its den is about 1."""
    bright = lam * units[1]
    size = ss + bright * bright
    scale = 1.0 / math.sqrt(size) if size > 0.0 else 0.0
    bright *= scale
    coefficients[0] = np.float32(fs * scale / units[0])
    coefficients[1] = np.float32(ss * scale * scale)
    coefficients[2] = np.float32(bright)
    coefficients[3] = np.float32(bright * bright)
    part = 2.0 * lam * scale * scale * units[2]
    for k in range(U(COARSE_RANK)):
        coefficients[U(4) + k] = np.float32(part * coarse_u[i, k])


@jit
def coarse_level(level, total, error):
    """Return the level of num^2 / den, as a fraction of `total`, that float32 shall compare with.

    Parameters
    ----------
    level : float
        The level that is meant: sum_b w f^2 minus the largest chi2 of interest.
    total : float
        sum_b w f^2.
    error : float
        Relative error of half of den by the product of low rank: `Grid.coarse_error`.

    Returns
    -------
    level, below : float32
        Models with num |num| < level den - below are not of interest.
    """
    root = math.sqrt(level / total) - 8.0 * ROUNDING if level > 0.0 else 0.0
    if root <= 0.0:
        # Every model with a positive scale is; the sign of num may be lost in rounding.
        return np.float32(0.0), np.float32(1e-12)
    lower = root * root / (1.0 + 2.0 * error + 32.0 * ROUNDING) * (1.0 - 8.0 * ROUNDING)
    # Below 1e-30 numbers of float32 lose digits.
    return np.float32(lower), np.float32(1e-30)


@jit
def screen_tiles(coarse, coefficients, level, below, first, last, hits):
    """List the tiles from `first` to `last` (exclusive) that may hold a model of interest.

    Parameters
    ----------
    coarse, coefficients : ndarray of float32
        Of `Work`.
    level, below : float32
        Of `coarse_level`.
    first, last : uint64
    hits : ndarray of uint64
        Overwritten from its start.

    Returns
    -------
    int
        Number of tiles in the list.
    """
    fs, ss, lam, square = coefficients[0], coefficients[1], coefficients[2], coefficients[3]
    u0, u1, u2, u3 = coefficients[4], coefficients[5], coefficients[6], coefficients[7]
    u4, u5, u6, u7 = coefficients[8], coefficients[9], coefficients[10], coefficients[11]
    n_hit = 0
    for tile in range(first, last):
        d = tile * TILE_LENGTH
        num = fs + lam * load(coarse, d)
        part = u0 * load(coarse, d + ROW2) + u1 * load(coarse, d + ROW3)
        more = u2 * load(coarse, d + ROW4) + u3 * load(coarse, d + ROW5)
        part = part + u4 * load(coarse, d + ROW6) + u5 * load(coarse, d + ROW7)
        more = more + u6 * load(coarse, d + ROW8) + u7 * load(coarse, d + ROW9)
        den = square * load(coarse, d + ROW1) + ss + part + more
        hits[n_hit] = tile
        if any_of(num * magnitude(num) >= level * den - below):
            n_hit += 1
    return n_hit
