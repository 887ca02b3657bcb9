"""The sky's own brightness: a polynomial where that flattens it, else a level.

The scheme is that of CAAPR (Clark et al. 2018, section 3.2): mask the galaxy and what stands out,
fit a two-dimensional polynomial of fifth order to a downsampled map, subtract it where it makes the
sky flatter by a tenth, else subtract a clipped level. docs/method-images.md says where we differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from dustcast.tables import DataError

# Blocks of the downsampled map are at least as wide as this, and not more than so many: a fifth
# order needs no finer map, and large images would take minutes.
BLOCK_ARCSEC = 2.0
MOST_BLOCKS = 60_000
# With few photons most pixels hold the same number, and a median says nothing. Blocks grow until no
# value is shared by more than this part of them, or they would be fewer than FEWEST_BLOCKS.
LARGEST_SHARE = 0.02
FEWEST_BLOCKS = 400
# The masked ellipse shrinks, down to that of D25, until this part of the image is sky.
LEAST_SKY = 0.25
ELLIPSE_STEP = 0.25
# Blocks of sky that a level needs, and that each coefficient needs.
BLOCKS_PER_LEVEL = 20
BLOCKS_PER_COEFFICIENT = 10
# The level is that of a ring around the masked ellipse, as in CAAPR's aperture photometry: outer
# over inner radius, and the blocks without which it is that of the whole image.
RING_RATIO = 1.6
BLOCKS_PER_RING = 200
# The wings of a small bright galaxy reach farther than that. The ring moves out while the next one
# is darker, in the mean of its sectors, by so many of that mean's errors, and the one beyond by
# less than a part of that again: cirrus is not darker all around, and a curved sky goes on.
SECTORS = 8
DARKER_SIGMA = 3.0
GOES_ON = 0.5
# A source: this many connected blocks at so many sigma above the sky. CAAPR cuts single pixels at 2
# sigma, and only bright ones, which lowers the level by 0.05 sigma.
SOURCE_SIGMA = 2.0
SOURCE_BLOCKS = 5
CLIP_SIGMA = 3.0
ITERATIONS = 3
# Condition number of a fit beyond which some coefficient is not determined at all.
WORST_CONDITION = 1e8


@dataclass
class Sky:
    """What is subtracted from an image.

    Attributes
    ----------
    method : {'poly', 'level'}
        Polynomial, or one number.
    level : float
        Clipped median around the galaxy in MJy/sr; with a polynomial, of what that leaves.
    rms : float
        Clipped standard deviation there, of blocks of `block` pixels.
    flattening : float
        Spread of the whole sky about its median over that about the polynomial; NaN without one.
    ellipse : float
        Semi-major axis of the masked ellipse in units of that of D25.
    ring : float
        Inner semi-major axis of the ring of the level in the same units, 0 if the whole sky serves.
    block : int
        Side of the blocks in pixels.
    order : int
        Order of the polynomial, 0 for a level.
    coefficients : dict of (int, int) to float
        Of x^i y^j in MJy/sr, x and y running from -1 to 1 from the first to the last pixel; to
        these the level adds.
    """

    method: str
    level: float
    rms: float
    flattening: float
    ellipse: float
    ring: float
    block: int
    order: int = 0
    coefficients: dict = field(default_factory=dict)

    def model(self, shape):
        """Return the sky on an image of shape (ny, nx)."""
        matrix = np.zeros((self.order + 1, self.order + 1))
        for (i, j), value in self.coefficients.items():
            matrix[i, j] = value
        matrix[0, 0] += self.level
        y, x = (_unit_coordinate(np.arange(n), n) for n in shape)
        return np.polynomial.polynomial.polygrid2d(x, y, matrix).T


def fit_sky(data, radius, pixel_arcsec, *, order=5, flattening=1.1, ellipse=2.0):
    """Fit the sky of an image.

    Parameters
    ----------
    data : array of shape (ny, nx)
        Surface brightness, NaN where there is none or a star is masked.
    radius : array of shape (ny, nx)
        Elliptical radius in units of D25's, see `dustcast.imaging.geometry`.
    pixel_arcsec : float
        Side of a pixel.
    order : int
        Order of the polynomial; 0 never fits one.
    flattening : float
        A polynomial is used if it lowers the spread of the sky by this factor or more.
    ellipse : float
        Semi-major axis of the masked ellipse in units of that of D25; less where the image leaves
        too little sky.

    Returns
    -------
    Sky

    Raises
    ------
    DataError
        If the image holds too little sky to say anything.
    """
    ellipse = _masked_ellipse(np.isfinite(data), radius, ellipse)
    sky = np.where(radius > ellipse, data, np.nan)
    block = max(
        math.ceil(BLOCK_ARCSEC / pixel_arcsec), math.ceil(math.sqrt(data.size / MOST_BLOCKS))
    )
    small = downsample(sky, block)
    while _share(small) > LARGEST_SHARE and small.size // 4 >= FEWEST_BLOCKS:
        block *= 2
        small = downsample(sky, block)
    n_sky = int(np.isfinite(small).sum())
    if n_sky < BLOCKS_PER_LEVEL:
        raise DataError(
            f"only {n_sky * block**2} of its pixels show sky outside the galaxy's ellipse: give a "
            "larger image"
        )
    coordinates = _block_coordinates(data.shape, block, small.shape)
    found, ratio = _flatter(small, coordinates, order, flattening)
    rest = small if found is None else small - found(*coordinates)
    # The corners of an all-sky projection are infinitely far away.
    inner, ring = _ring(rest, downsample(np.minimum(radius, 1e6), block), coordinates, ellipse)
    level, rms, _ = _level(rest if ring is None else np.where(ring, rest, np.nan))
    if found is None:
        return Sky("level", level, rms, ratio, ellipse, inner, block)
    powers = [(i, j) for i in range(found.degree + 1) for j in range(found.degree + 1 - i)]
    coefficients = {(i, j): float(getattr(found, f"c{i}_{j}").value) for i, j in powers}
    return Sky("poly", level, rms, ratio, ellipse, inner, block, found.degree, coefficients)


def _ring(data, radius, coordinates, ellipse):
    """Return where the ring of the level begins, and its blocks; 0 and None if they are few."""
    x, y = coordinates
    # Coordinates run from -1 to 1 along both axes: on a long image sectors differ in size alone.
    centre = np.unravel_index(np.nanargmin(radius), radius.shape)
    azimuth = np.arctan2(y - y[centre], x - x[centre]) / (2 * np.pi) % 1
    sector = np.minimum((SECTORS * azimuth).astype(int), SECTORS - 1)

    def blocks(inner):
        ring = np.isfinite(data) & (radius > inner) & (radius <= RING_RATIO * inner)
        return ring if ring.sum() >= BLOCKS_PER_RING else None

    inner, ring = ellipse, blocks(ellipse)
    if ring is None:
        return 0.0, None
    while True:
        rings = [ring, blocks(RING_RATIO * inner), blocks(RING_RATIO**2 * inner)]
        if any(part is None for part in rings) or not _fades(data, rings, sector):
            return inner, ring
        inner, ring = RING_RATIO * inner, rings[1]


def _fades(data, rings, sector):
    """Return whether the second of three rings is darker than the first, and the third as dark."""
    used = _level(np.where(np.any(rings, axis=0), data, np.nan))[2]
    means = np.array([_sector_means(data, used & ring, sector) for ring in rings])
    means = means[:, np.isfinite(means).all(axis=0)]
    if means.shape[1] < SECTORS / 2:
        return False
    darker, further = means[:-1] - means[1:]
    error = np.std(darker, ddof=1) / np.sqrt(darker.size)
    return darker.mean() > DARKER_SIGMA * error and further.mean() < GOES_ON * darker.mean()


def _sector_means(data, used, sector):
    """Return the mean of the used blocks of each sector, NaN for those with few."""
    count = np.bincount(sector[used], minlength=SECTORS)
    total = np.bincount(sector[used], weights=data[used], minlength=SECTORS)
    return np.where(count >= BLOCKS_PER_LEVEL, total / np.maximum(count, 1), np.nan)


def _flatter(data, coordinates, order, least):
    """Return the polynomial that flattens the sky, None if none does, and by how much one does."""
    level, _, used = _level(data)
    ratio = np.nan
    for trial in range(order, 0, -1):
        found = _polynomial(data, coordinates, used, trial)
        if found is None:
            continue
        residual = (data - found(*coordinates))[used]
        ratio = float(_spread(data[used] - level) / _spread(residual))
        if ratio < least:
            return None, ratio
        if _is_held(found, coordinates, used, np.isnan(data)):
            return found, ratio
    return None, ratio


def _is_held(found, coordinates, used, masked):
    """Return whether a polynomial is no less certain over the masked part than at the edges.

    What no sky holds may go anywhere. The variance of a fitted value is that of the noise times its
    leverage, a (A^T A)^-1 a for the row a of the design matrix A.
    """
    if not masked.any():
        return True

    def rows(chosen):
        x, y = (axis[chosen] for axis in coordinates)
        return np.asarray(found.fit_deriv(x, y, *found.parameters))

    triangle = np.linalg.qr(rows(used), mode="r")
    if np.linalg.cond(triangle) > WORST_CONDITION:
        return False
    leverage = [
        np.max(np.sum(np.linalg.solve(triangle.T, rows(chosen).T) ** 2, axis=0))
        for chosen in (masked, used)
    ]
    return leverage[0] <= leverage[1]


def _polynomial(data, coordinates, used, order):
    """Return a polynomial fitted to the sky, None if there is too little of it."""
    from astropy.modeling.fitting import LinearLSQFitter
    from astropy.modeling.models import Polynomial2D

    fitter, found = LinearLSQFitter(), None
    n_coefficients = (order + 1) * (order + 2) // 2
    x, y = coordinates
    for _ in range(ITERATIONS):
        if used.sum() < BLOCKS_PER_COEFFICIENT * n_coefficients:
            return None
        found = fitter(Polynomial2D(order), x[used], y[used], data[used])
        # What stands out is judged against the flattened sky, or a slope would count as a source.
        used = _level(data - found(x, y))[2]
    return found


def _level(data):
    """Return clipped median, standard deviation, and which blocks are sky without sources."""
    from astropy.stats import sigma_clip

    finite = np.isfinite(data)
    used = finite
    for _ in range(ITERATIONS):
        values = sigma_clip(data[used], sigma=CLIP_SIGMA, maxiters=None, masked=False, axis=0)
        level, rms = float(np.nanmedian(values)), float(np.nanstd(values))
        used = finite & ~_sources(data, level, rms) & (np.abs(data - level) <= CLIP_SIGMA * rms)
        if not used.any():
            return level, rms, finite
    values = data[used]
    # The median of a few different numbers is one of them, and jumps with the number of photons.
    centre = np.mean if _share(values) > LARGEST_SHARE else np.median
    return float(centre(values)), float(np.std(values)), used


def _sources(data, level, rms):
    """Return the blocks of sources that stand out of the sky, and of those around them."""
    from scipy import ndimage

    above = np.isfinite(data) & (data > level + SOURCE_SIGMA * rms)
    labels, count = ndimage.label(above, structure=np.ones((3, 3)))
    large = np.bincount(labels.ravel(), minlength=count + 1) >= SOURCE_BLOCKS
    large[0] = False
    return ndimage.binary_dilation(large[labels], iterations=2)


def _masked_ellipse(covered, radius, ellipse):
    """Return the ellipse that leaves enough sky, between that of D25 and the one wished for."""
    while ellipse > 1:
        if (covered & (radius > ellipse)).sum() >= LEAST_SKY * covered.sum():
            return ellipse
        ellipse -= ELLIPSE_STEP
    return max(ellipse, 1.0)


def downsample(data, block):
    """Return the mean of blocks of pixels; NaN where half of a block or more has none."""
    ny, nx = (n // block for n in data.shape)
    cut = [block_cut(n, block) for n in data.shape]
    part = data[cut[0] : cut[0] + ny * block, cut[1] : cut[1] + nx * block]
    part = part.reshape(ny, block, nx, block)
    count = np.isfinite(part).sum(axis=(1, 3))
    total = np.nansum(part, axis=(1, 3))
    return np.where(2 * count > block**2, total / np.maximum(count, 1), np.nan)


def block_cut(n, block):
    """Return how many pixels are left out before the first block: half of what does not fit."""
    return n % block // 2


def _block_coordinates(shape, block, blocks):
    """Return x and y of the centres of blocks, from -1 to 1 over the image."""
    y, x = (
        _unit_coordinate(block_cut(n, block) + (np.arange(m) + 0.5) * block - 0.5, n)
        for n, m in zip(shape, blocks)
    )
    return np.meshgrid(x, y)


def _unit_coordinate(index, n):
    """Return pixel indices as coordinates from -1 to 1 over n pixels."""
    return (2 * np.asarray(index, dtype=float) - (n - 1)) / max(n - 1, 1)


def _share(data):
    """Return the largest part of the blocks that have one and the same value."""
    values = data[np.isfinite(data)]
    if values.size == 0:
        return 0.0
    return np.unique(values, return_counts=True)[1].max() / values.size


def _spread(residual):
    """Return CAAPR's measure of flatness: the mean deviation of what lies below the median.

    The mean is over all blocks, not only those below, whose number changes where many are equal.
    """
    return np.maximum(np.median(residual) - residual, 0).mean()
