"""The beams of the test data: cut around their centre, and their mean profile."""

import numpy as np
from astropy.io import fits
from scipy import ndimage

# File and pixel size in arcsec.
BEAMS = {
    "SPIRE_250": ("SPIRE_250_Small.fits.gz", 1.0),
    "PACS_100": ("Aniano_PACS_100_Small.fits.gz", 0.25),
    "Spitzer_24": ("Aniano_MIPS_24_Small.fits.gz", 0.5),
    "GALEX_FUV": ("psf_emp_galex_fuv.fits.gz", 0.25),
    "GALEX_NUV": ("psf_emp_galex_nuv.fits.gz", 0.25),
}


def beam(data, band, reach, step=None):
    """Return a beam centred on its core out to `reach` arcsec, and its pixel size.

    A `step` that is a multiple of the file's averages its pixels.
    """
    name, own = BEAMS[band]
    image = fits.getdata(data / "psf" / name).astype(float)
    core = np.where(image > 0.3 * image.max(), image, 0)
    centre = ndimage.center_of_mass(core)
    step = step or own
    points = round(step / own)
    half = int(reach / step)
    inner = (np.arange(points) - (points - 1) / 2) / points
    axis = ((np.arange(-half, half + 1)[:, None] + inner) * step / own).ravel()
    grid = np.meshgrid(centre[0] + axis, centre[1] + axis, indexing="ij")
    fine = ndimage.map_coordinates(image, grid, order=1, mode="constant")
    n = 2 * half + 1
    return fine.reshape(n, points, n, points).mean(axis=(1, 3)), step


def radial_mean(image):
    """Return the mean of a centred image in rings one pixel wide."""
    half = len(image) // 2
    axis = np.arange(-half, half + 1)
    ring = np.rint(np.hypot(axis[:, None], axis)).astype(int)
    inside = ring <= half
    counts = np.bincount(ring[inside])
    return np.bincount(ring[inside], image[inside]) / counts
