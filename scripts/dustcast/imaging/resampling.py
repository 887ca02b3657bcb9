"""The common grid of a galaxy and scale, and adaptive resampling onto it."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from dustcast.imaging.numerics import fft_convolve, root
from dustcast.imaging.psf import FWHM_PER_SIGMA

KERNELS = ("hann", "gaussian")

# Sources, rows and columns of them, with which the PSF of a cube is measured: each lies elsewhere
# within its pixel.
N_PHASES = 6

MOST_STEPS = 24
"""Of one pixel, where the width of the PSF in a cube is measured: of pixels much larger than the
PSF these give it to 0.3% (seen up to ten times the PSF), and more take minutes.
"""


@dataclass(frozen=True)
class Grid:
    """A tangential grid: north up, east left, its centre pixel on the galaxy.

    Attributes
    ----------
    ra, dec : float
        Centre in degrees (ICRS).
    pixel : float
        Pixel size in arcsec.
    n : int
        Pixels a side, odd.
    """

    ra: float
    dec: float
    pixel: float
    n: int

    @property
    def shape(self):
        """Rows and columns."""
        return self.n, self.n

    @property
    def wcs(self):
        """World coordinates."""
        from astropy.wcs import WCS

        wcs = WCS(naxis=2)
        wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
        wcs.wcs.radesys = "ICRS"
        wcs.wcs.cunit = "deg", "deg"
        wcs.wcs.crval = self.ra, self.dec
        wcs.wcs.crpix = (self.n + 1) / 2, (self.n + 1) / 2
        wcs.wcs.cdelt = -self.pixel / 3600, self.pixel / 3600
        return wcs

    def elliptical_radius(self, pa, axis_ratio, points=1):
        """Return the radius of pixels along the major axis of their ellipse about the centre.

        Parameters
        ----------
        pa : float
            Position angle of the major axis in degrees, north to east.
        axis_ratio : float
            Minor over major axis.
        points : int
            Points a pixel and axis.

        Returns
        -------
        ndarray of shape (n * points, n * points)
            In arcsec.
        """
        inner = (np.arange(points) - (points - 1) / 2) / points
        axis = (((np.arange(self.n) - self.n // 2)[:, None] + inner) * self.pixel).ravel()
        north, east = axis[:, None], -axis[None, :]
        cos, sin = math.cos(math.radians(pa)), math.sin(math.radians(pa))
        return np.hypot(north * cos + east * sin, (east * cos - north * sin) / axis_ratio)


def galaxy_grid(galaxy, pixel, *, field, sky_pixels):
    """Return the grid of a galaxy at a pixel size.

    Parameters
    ----------
    galaxy : dustcast.sample.Galaxy
    pixel : float
        Pixel size in arcsec.
    field : float
        Least side in units of D25.
    sky_pixels : int
        Least number of pixels between the D25 circle and each edge.
    """
    half = max(field * galaxy.d25_arcsec / 2, galaxy.d25_arcsec / 2 + sky_pixels * pixel)
    return Grid(galaxy.ra, galaxy.dec, pixel, 2 * math.ceil(half / pixel) + 1)


def footprint(wcs, shape, grid, reach):
    """Return the part of an image that a grid needs.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Of the image.
    shape : tuple of int
        Of the image.
    grid : Grid
    reach : float
        Room around the grid in arcsec.

    Returns
    -------
    tuple of slice or None
        Rows and columns; None if the image and the grid do not meet.
    """
    from astropy.coordinates import SkyCoord
    from astropy.wcs.utils import proj_plane_pixel_scales

    edge = np.linspace(-0.5, grid.n - 0.5, 33)
    low, high = np.full_like(edge, -0.5), np.full_like(edge, grid.n - 0.5)
    x = np.concatenate([edge, edge, low, high])
    y = np.concatenate([low, high, edge, edge])
    world = grid.wcs.pixel_to_world_values(x, y)
    # The image may have another frame than the grid.
    columns, rows = wcs.world_to_pixel(SkyCoord(*world, unit="deg", frame="icrs"))
    room = (reach + 2 * grid.pixel) / (3600 * min(proj_plane_pixel_scales(wcs)))
    found = []
    for values, n in ((rows, shape[0]), (columns, shape[1])):
        values = values[np.isfinite(values)]
        if not values.size:
            return None
        start = max(0, math.floor(values.min() - room))
        stop = min(n, math.ceil(values.max() + room) + 1)
        if stop - start < 2:
            return None
        found.append(slice(start, stop))
    return tuple(found)


def part_of(wcs, part, stride=1):
    """Return the coordinates of every `stride`-th pixel of a part of an image."""
    wcs = wcs.slice([slice(rows.start, rows.stop) for rows in part])
    if stride > 1:
        wcs.wcs.crpix = (wcs.wcs.crpix - 1) / stride + 1
        if wcs.wcs.has_cd():
            wcs.wcs.cd = wcs.wcs.cd * stride
        else:
            wcs.wcs.cdelt = wcs.wcs.cdelt * stride
        wcs.array_shape = None
    return wcs


def share_of_blocks(rows, shape, stride):
    """Return the share of true pixels in blocks around every `stride`-th pixel.

    Parameters
    ----------
    rows : callable
        Returns the boolean rows of a slice.
    shape : tuple of int
        Of the whole.
    stride : int

    Returns
    -------
    ndarray of shape (ceil(ny / stride), ceil(nx / stride)), float32
    """
    starts = [
        np.maximum(np.arange(0, n, stride) - stride // 2, 0) if stride > 1 else np.arange(n)
        for n in shape
    ]
    counts = [np.diff(start, append=n) for start, n in zip(starts, shape)]
    out = np.empty((len(starts[0]), len(starts[1])), np.float32)
    lines = max(1, 2**23 // (stride * shape[1]))
    for first in range(0, len(starts[0]), lines):
        begin = starts[0][first : first + lines]
        stop = starts[0][first + lines] if first + lines < len(starts[0]) else shape[0]
        block = rows(slice(begin[0], stop)).astype(np.float32)
        if stride > 1:
            block = np.add.reduceat(block, starts[1], axis=1)
            block = np.add.reduceat(block, begin - begin[0], axis=0)
        out[first : first + lines] = block
    return out / np.outer(*counts).astype(np.float32)


def resample(images, wcs, grid, kernel):
    """Bring images of one WCS onto a grid by DeForest's (2004) adaptive method.

    Surface brightness stays surface brightness (``conserve_flux=False``). What lies beyond the
    images counts as 0, so that a share of covered pixels falls towards the edges.

    Parameters
    ----------
    images : ndarray of shape (n_image, ny, nx)
        Finite.
    wcs : astropy.wcs.WCS
        Of the images.
    grid : Grid
    kernel : str
        ``hann`` or ``gaussian``.

    Returns
    -------
    ndarray of shape (n_image, n, n)
    """
    from reproject import reproject_adaptive

    resampled, _ = reproject_adaptive(
        (np.asarray(images, dtype=float), wcs),
        grid.wcs,
        shape_out=(len(images), *grid.shape),
        kernel=kernel,
        conserve_flux=False,
        boundary_mode="grid-constant",
        boundary_fill_value=0.0,
        roundtrip_coords=False,
    )
    return resampled


@functools.lru_cache(maxsize=32)
def effective_fwhm(psf, pixel, kernel):
    """Measure the PSF of a cube: that of the images broadened by large pixels.

    Sources at every place within a pixel are resampled as images are; the width is that of their
    common profile.

    Parameters
    ----------
    psf : dustcast.imaging.psf.Psf
        Of the images before resampling.
    pixel : float
        Pixel size of the cube in arcsec.
    kernel : str
        ``hann`` or ``gaussian``.

    Returns
    -------
    float
        Full width at half maximum in arcsec.
    """
    fine = pixel / min(MOST_STEPS, max(6, 2 * math.ceil(3 * pixel / psf.fwhm)))
    ratio = round(pixel / fine)
    # Sources far enough apart that none is seen in another's core.
    apart = math.ceil(5 * psf.fwhm / pixel) + 8
    image = Grid(0.0, 0.0, fine, (N_PHASES + 1) * apart * ratio + 1)
    # Each place within a pixel once, in steps of a pixel's fraction.
    step = np.arange(1, N_PHASES + 1)
    places = (step * apart * ratio) + (np.arange(N_PHASES) * ratio) // N_PHASES
    stamp = psf.image(fine, 2 * (apart * ratio // 2) - 1)
    half = len(stamp) // 2
    values = np.zeros(image.shape)
    for row in places:
        for column in places:
            values[row - half : row + half + 1, column - half : column + half + 1] += stamp
    grid = Grid(0.0, 0.0, pixel, (N_PHASES + 1) * apart + 1)
    found = resample(values[None], image.wcs, grid, kernel)[0]
    nearest = places[np.abs(np.arange(grid.n)[:, None] * ratio - places).argmin(axis=1)]
    offset = (np.arange(grid.n) * ratio - nearest) * fine
    radius = np.hypot(offset[:, None], offset).ravel()
    return _half_width(radius, found.ravel(), psf.fwhm, pixel)


def _half_width(radius, values, fwhm, pixel):
    """Return the full width at half maximum of a profile given at scattered radii."""
    # A smooth even function through the core: a polynomial in the radius squared.
    width = math.hypot(fwhm, pixel)
    core = radius < 0.85 * width
    polynomial = np.polynomial.Polynomial.fit(radius[core] ** 2, values[core], 5)
    half = polynomial(0.0) / 2
    return 2 * math.sqrt(root(lambda square: polynomial(square) - half, 0.0, (0.85 * width) ** 2))


def noise_share(kernel_weights, step, stride, grid_pixel, kernel):
    """Return the sum of squared weights with which native pixels make one pixel of a cube.

    The variance of a cube's pixel is that of a native pixel times this share, for noise that is
    independent from pixel to pixel.

    Parameters
    ----------
    kernel_weights : ndarray
        Convolution kernel on every `stride`-th pixel, of sum 1.
    step : float
        Size of that pixel in arcsec.
    stride : int
    grid_pixel : float
        Pixel of the cube in arcsec.
    kernel : str
        ``hann`` or ``gaussian``, as in reproject.
    """
    reach = grid_pixel * (1.0 if kernel == "hann" else 2.0)
    half = max(1, math.ceil(reach / step))
    x = np.arange(-half, half + 1) * step / grid_pixel
    if kernel == "hann":
        line = np.where(np.abs(x) < 1, 1 + np.cos(np.pi * x), 0.0)
    else:
        # reproject's kernel_width of 1.3 pixels spans both sides of one sigma.
        line = np.exp(-0.5 * (x / 0.65) ** 2)
    weights = fft_convolve(kernel_weights, np.outer(line, line) / line.sum() ** 2)
    return float(np.sum(weights**2)) / stride**2


def beam_area(fwhm):
    """Return the area in arcsec2 over which noise seen through a Gaussian PSF is correlated.

    The autocorrelation of a Gaussian of variance s^2 is one of 2 s^2, whose integral is 4 pi s^2.
    """
    return 4 * math.pi * (fwhm / FWHM_PER_SIGMA) ** 2
