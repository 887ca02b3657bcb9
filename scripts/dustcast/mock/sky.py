"""The sky of a simulated galaxy: maps of what it emits, on a grid that all its images share.

The galaxy is evaluated at the centres of square cells, and what the cells emit is spread over a
little more than their size. These maps are the truth: images are they through a PSF, and so are
the maps of true dust and stars.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dustcast.imaging.matching import REACH_ARCSEC, reach_of
from dustcast.imaging.numerics import fft_convolve
from dustcast.imaging.psf import FWHM_PER_SIGMA, find_psf
from dustcast.imaging.resampling import Grid
from dustcast.mock.galaxies import MockGalaxy
from dustcast.sample import GLOBAL
from dustcast.tables import DataError, atomic
from dustcast.temperature import dust_temperature
from dustcast.units import (
    MJY_SR_PER_MJY_ARCSEC2,
    SOLAR_LUMINOSITY_W,
    SOLAR_MASS_KG,
    grid_scale,
)

# Side of a cell, and the width of the Gaussian over which it is spread, in cells: as much as a
# cubic interpolation needs to follow it.
CELL_ARCSEC = 2.0
SPREAD_CELLS = 2.5
# The galaxy fades between these radii, in R25.
FADING = (1.1, 1.5)
# True maps are seen as an image of this band is, whose PSF is a Gaussian that the cells resolve.
TRUE_PSF = "WISE_3.4"

# Quantities of the maps, each of 1 arcsec2.
QUANTITIES = {
    "stellar.lum": "solLum/arcsec2",
    "stellar.m_star": "solMass/arcsec2",
    "dust.luminosity": "solLum/arcsec2",
    "dust.mass": "solMass/arcsec2",
    "dust.mass_umin": "solMass/arcsec2",
    "dust.luminosity_Td": "solLum K/arcsec2",
}
UNIT = "MJy/sr"


@dataclass(frozen=True)
class Sky:
    """Maps of a galaxy.

    Attributes
    ----------
    grid : Grid
        Their cells.
    maps : dict of str to ndarray of shape (n, n)
        Surface brightness in MJy/sr by band, before Galactic extinction; `QUANTITIES` by name.
    """

    grid: Grid
    maps: dict


def make_sky(galaxy, spectra, *, seed, dust_smoothing_kpc=0.0):
    """Evaluate a galaxy.

    Parameters
    ----------
    galaxy : dustcast.sample.Galaxy
        Of the population.
    spectra : dustcast.mock.spectra.Spectra
        What positions emit.
    seed : int
        Seed of the population.
    dust_smoothing_kpc : float
        Full width at half maximum over which the absorbed light spreads before dust emits it.

    Returns
    -------
    Sky
    """
    from scipy.ndimage import gaussian_filter

    mock = MockGalaxy(galaxy, spectra, seed)
    smoothing = dust_smoothing_kpc * 1e3 / galaxy.d25_pc * galaxy.d25_arcsec / CELL_ARCSEC
    sigma = {"stars": SPREAD_CELLS / FWHM_PER_SIGMA}
    sigma["dust"] = np.hypot(SPREAD_CELLS, smoothing) / FWHM_PER_SIGMA
    # Room for the light that is spread beyond the last cells.
    half = int(np.ceil(FADING[1] * galaxy.d25_arcsec / 2 / CELL_ARCSEC + 5 * sigma["dust"]))
    grid = Grid(galaxy.ra, galaxy.dec, CELL_ARCSEC, 2 * half + 1)
    axis = CELL_ARCSEC * np.arange(-half, half + 1)
    north, west = np.meshgrid(axis, axis, indexing="ij")
    radius = np.hypot(*mock.disc_plane(-west, north))
    inside = radius < FADING[1]
    east, north = -west[inside], north[inside]
    fading = np.clip((radius[inside] - FADING[0]) / (FADING[1] - FADING[0]), 0, 1)
    mass = mock.surface_mass_formed(east, north) * np.cos(np.pi / 2 * fading) ** 2
    parameters = mock.parameters(east, north)
    umin = np.clip(parameters["dust.umin"], *spectra.limits("dust.umin"))
    emitted = spectra.emission(mass, parameters)
    brightness = MJY_SR_PER_MJY_ARCSEC2 / grid_scale(galaxy.distance)
    temperature = dust_temperature(umin)
    luminosity = emitted.dust_lum / SOLAR_LUMINOSITY_W
    dust_mass = emitted.dust_mass / SOLAR_MASS_KG
    stars = {band: emitted.stars[:, b] * brightness for b, band in enumerate(spectra.bands)}
    stars |= {"stellar.lum": emitted.stellar_lum / SOLAR_LUMINOSITY_W}
    stars |= {"stellar.m_star": emitted.m_star}
    dust = {band: emitted.dust[:, b] * brightness for b, band in enumerate(spectra.bands)}
    dust |= {"dust.luminosity": luminosity, "dust.luminosity_Td": luminosity * temperature}
    dust |= {"dust.mass": dust_mass, "dust.mass_umin": dust_mass * umin}
    maps = {}
    for name in (*spectra.bands, *QUANTITIES):
        maps[name] = np.zeros(grid.shape)
        for values, width in ((stars, sigma["stars"]), (dust, sigma["dust"])):
            if name in values:
                plane = np.zeros(grid.shape)
                plane[inside] = values[name]
                maps[name] += gaussian_filter(plane, width, mode="constant", truncate=5)
    return Sky(grid, maps)


def psf_reach(rows):
    """Return how far in arcsec PSFs reach in the images of a galaxy.

    As far as kernels know of them (`dustcast.imaging.matching.reach_of`); they have unit sum
    within.

    Parameters
    ----------
    rows : list of dict
        Rows of the plan of the galaxy.
    """
    targets = [row["target_psf"] for row in rows if row["included"] and row["scale"] != GLOBAL]
    return max(map(reach_of, targets), default=REACH_ARCSEC)


def through_psf(plane, band, reach):
    """Return a map through the PSF of a band, and by how many cells it has grown on each side.

    Parameters
    ----------
    plane : ndarray of shape (n, n)
        Map on cells of `CELL_ARCSEC`.
    band : str
    reach : float
        Of the PSF in arcsec, beyond which it is 0.

    Returns
    -------
    seen : ndarray of shape (n + 2 room, n + 2 room)
    room : int
    """
    room = int(np.ceil(reach / CELL_ARCSEC))
    return fft_convolve(plane, find_psf(band).image(CELL_ARCSEC, 2 * room + 1)), room


def write_sky(path, sky):
    """Write the maps of a galaxy: an extension a band or quantity, named after it."""
    from astropy.io import fits

    coordinates = sky.grid.wcs.to_header()
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header["DC_CELL"] = (sky.grid.pixel, "[arcsec] side of a cell")
    for name, plane in sky.maps.items():
        hdu = fits.ImageHDU(plane.astype(np.float32), coordinates, name)
        # Names of extensions are in capitals, whatever they were written as.
        hdu.header["DC_NAME"] = (name, "band or quantity")
        hdu.header["BUNIT"] = QUANTITIES.get(name, UNIT)
        hdus.append(hdu)
    with atomic(path) as temporary:
        hdus.writeto(temporary)


def read_sky(path):
    """Read the maps of a galaxy.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as hdus:
            header = hdus[1].header
            grid = Grid(
                header["CRVAL1"], header["CRVAL2"], hdus[0].header["DC_CELL"], header["NAXIS1"]
            )
            maps = {hdu.header["DC_NAME"]: hdu.data.astype(float) for hdu in hdus[1:]}
    except (OSError, KeyError, TypeError, IndexError) as fault:
        raise DataError(f"{path} cannot be read ({fault}): delete it and run again") from None
    return Sky(grid, maps)
