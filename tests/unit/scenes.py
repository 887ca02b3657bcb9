"""Small skies with known truth, on grids like those of the archives."""

import math

import numpy as np
from astropy.wcs import WCS

from dustcast.bands import band_table
from dustcast.imaging.images import CleanImage
from dustcast.imaging.psf import find_psf
from dustcast.sample import Galaxy

GALAXY = Galaxy("NGC0001", 150.1, 2.2, 20.0, 0.0, 120.0, 0.6, 35.0, math.nan, "test")


def wcs_of(shape, pixel, *, rotation=0.0, offset=(0.0, 0.0), form="cd"):
    """Return tangential coordinates whose centre, but for an offset in pixels, is the galaxy."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = GALAXY.ra, GALAXY.dec
    wcs.wcs.crpix = (shape[1] + 1) / 2 + offset[0], (shape[0] + 1) / 2 + offset[1]
    angle = math.radians(rotation)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    step = pixel / 3600
    if form == "cd":
        wcs.wcs.cd = np.array([[-step, 0], [0, step]]) @ turn
    else:
        wcs.wcs.cdelt = -step, step
        wcs.wcs.pc = turn
    return wcs


def offsets(wcs, shape):
    """Return the offsets of pixels from the galaxy, east and north, in arcsec."""
    y, x = np.indices(shape, dtype=float)
    matrix = wcs.pixel_scale_matrix * 3600
    dx, dy = x - (wcs.wcs.crpix[0] - 1), y - (wcs.wcs.crpix[1] - 1)
    return matrix[0, 0] * dx + matrix[0, 1] * dy, matrix[1, 0] * dx + matrix[1, 1] * dy


def clean(band, image, wcs, *, stars=None, **cards):
    """Return a clean image; `cards` are further keywords of its header."""
    image = np.asarray(image, dtype=np.float32)
    stars = np.zeros(image.shape, bool) if stars is None else np.asarray(stars, dtype=bool)
    return CleanImage(image, wcs, stars, {"DC_OK": True, "DC_BAND": band} | cards)


def native(band, side, **options):
    """Return pixel size, shape and coordinates of a band's image of a side in arcsec."""
    pixel = band_table()[band].pixel_arcsec
    n = 2 * int(side / pixel / 2) + 1
    shape = n, n + 4
    return pixel, shape, wcs_of(shape, pixel, **options)


def point_source(band, side, east=0.0, north=0.0, flux=1e4, **options):
    """Return the image of a point source through the band's PSF, of a flux in MJy/sr arcsec2.

    Pixels hold means over their area; all flux lies within the reach of a kernel.
    """
    pixel, shape, wcs = native(band, side, **options)
    psf = find_psf(band)
    points = 2 * math.ceil(2.5 * pixel / psf.fwhm) + 1
    inner = (np.arange(points) - points // 2) / points * pixel
    x, y = offsets(wcs, shape)
    image = np.zeros(shape)
    # The profile is tabulated: an Airy pattern costs more than all the rest.
    radii = np.arange(0, 0.3 * side, psf.fwhm / 200)
    values = psf.profile(radii)
    for dx in inner:
        for dy in inner:
            image += np.interp(np.hypot(x + dx - east, y + dy - north), radii, values, right=0)
    image *= flux / (image.sum() * pixel**2)
    return clean(band, image, wcs)


def disc(band, side, radius, east=0.0, north=0.0, **options):
    """Return the image of a disc of 1 MJy/sr, and its flux in MJy/sr arcsec2."""
    pixel, shape, wcs = native(band, side, **options)
    x, y = offsets(wcs, shape)
    share = np.zeros(shape)
    points = 7
    inner = (np.arange(points) - points // 2) / points * pixel
    for dx in inner:
        for dy in inner:
            share += np.hypot(x + dx - east, y + dy - north) < radius
    share /= points**2
    return clean(band, share, wcs), share.sum() * pixel**2
