"""Simulated galaxies as an archive would serve them: raw images, a list of stars, the reddening.

Each band has its own pixels, PSF, depth and faults. What was put in is kept beside the images, so
that what comes out of each stage can be compared with it.
"""

from __future__ import annotations

import math
import zlib
from functools import lru_cache

import numpy as np

from dustcast.bands import band_table
from dustcast.config import REPOSITORY
from dustcast.imaging.geometry import pixel
from dustcast.imaging.images import exposure_time, pixel_areas
from dustcast.imaging.layers import grid_of, scale_of
from dustcast.imaging.psf import find_psf
from dustcast.imaging.stars import (
    G_PIVOT_UM,
    G_ZERO_JY,
    GAIA_COLUMNS,
    MOTIONS,
    SECOND_RADIATION_UM_K,
)
from dustcast.mock.sky import psf_reach, through_psf
from dustcast.mock.table import DEPTH_AREA_ARCSEC2, calibration_errors, missing_bands
from dustcast.population import read_moments
from dustcast.tables import Table, atomic, read_csv, write_rows
from dustcast.units import MJY_SR_PER_MJY_ARCSEC2

PHOTON_TABLE = REPOSITORY / "resources" / "mock_photons.csv"

# Side of a field in units of D25, so that the ring of sky around a galaxy fits, and the largest in
# arcsec: that of DustPedia's images, of galaxies up to and above 6'.
FIELD_D25 = 3.2
LARGEST_FIELD_ARCSEC, LARGE_D25_ARCSEC = (1800.0, 3600.0), 360.0
# Images that lie on the sky as the telescope scanned it; all others have north up.
ROTATED = ("PACS",)

# The sky in units of the noise of 18" squares: its level, the change from the centre to an edge,
# and the bend there (standard deviations).
SKY_TERMS = {(0, 0): 10.0, (1, 0): 0.3, (0, 1): 0.3, (2, 0): 0.15, (1, 1): 0.15, (0, 2): 0.15}
BAD_PIXELS = 1e-4  # share of an image
# Every image lacks up to this share of its side at each edge; a few lack much more at one edge.
RAGGED_EDGE, CUT_EDGE, CUT_IMAGES = 0.03, (0.2, 0.4), 0.05

# Stars of high galactic latitudes: number brighter than the faintest G, its growth with magnitude.
STARS_PER_DEG2, STARS_PER_MAGNITUDE_DEX = 1500.0, 0.2
STAR_MAGNITUDES = (12.0, 19.0)
STAR_TEMPERATURE_K, STAR_TEMPERATURE_LIMITS_K = (5200.0, 700.0), (3500.0, 8000.0)
# Parallaxes (mas): median at G = 15, fall with magnitude and scatter in dex; proper motions in
# mas/yr.
PARALLAX_MAS, PARALLAX_PER_MAGNITUDE_DEX, PARALLAX_SCATTER_DEX = 1.2, -0.07, 0.3
MOTION_MAS = 8.0
# Errors of Gaia DR2 at G up to 15, and their growth with magnitude (Lindegren et al. 2018).
GAIA_ERROR_MAS, GAIA_ERROR_DEX, GAIA_ERROR_FROM = 0.04, 0.2, 15.0
# A star's image ends where it has sunk to this share of the noise of a pixel.
STAR_END = 0.05

# Reddening: median and scatter (dex) of the survey, its relative error.
EBV_MEDIAN, EBV_SCATTER_DEX, EBV_ERROR = 0.03, 0.3, 0.05

BAND_COLUMNS = (
    "band",
    "present",
    "pixel_arcsec",
    "rms_jy",
    "photons_per_jy",
    "calibration_error",
    "extinction_mag",
    "covered",
    "psf_reach_arcsec",
    *(f"sky_{i}_{j}" for i, j in SKY_TERMS),
)
BAND_UNITS = {
    "pixel_arcsec": "arcsec",
    "rms_jy": "Jy",
    "photons_per_jy": "1/Jy",
    "extinction_mag": "mag",
    "psf_reach_arcsec": "arcsec",
} | {f"sky_{i}_{j}": "MJy/sr" for i, j in SKY_TERMS}
STAR_UNITS = {"ra": "deg", "dec": "deg", "temperature": "K"}


def observe(galaxy, sky, rows, bands, settings, *, seed, least_pixel_arcsec=0.0):
    """Observe a galaxy in all bands.

    Parameters
    ----------
    galaxy : dustcast.sample.Galaxy
    sky : dustcast.mock.sky.Sky
        What it emits.
    rows : list of dict
        Rows of the plan of the galaxy: the field holds all their grids, as far as one of the
        archive would.
    bands : list of str
        Bands of the run that have images.
    settings : dustcast.imaging.layers.Settings
        How the images will become cubes.
    seed : int
        Seed of the survey.
    least_pixel_arcsec : float
        Bands with smaller pixels get pixels of this size; 0 leaves all as they are.

    Yields
    ------
    band : str
    image : tuple of (ndarray, WCS) or None
        Jy a pixel, NaN where there are no data; None for a band that the galaxy lacks.
    truth : dict
        A row of the table of `BAND_COLUMNS`.
    """
    side = field_arcsec(galaxy, rows, settings)
    stars = draw_stars(galaxy, side, seed)
    reddening, _, _ = draw_reddening(galaxy, seed)
    lacking = missing_bands(galaxy, bands, seed)
    offset = calibration_errors(bands, seed)
    photons = photons_per_jy()
    reach = psf_reach(rows)
    for band in bands:
        rng = np.random.default_rng([seed, _key(galaxy.galaxy), _key(f"image {band}")])
        truth = dict.fromkeys(BAND_COLUMNS, np.nan) | {"band": band, "present": band not in lacking}
        if band in lacking:
            yield band, None, truth
            continue
        wcs, shape, step = _frame(galaxy, band, side, rng, least_pixel_arcsec)
        extinction = band_table()[band].extinction * reddening
        area = pixel_areas(wcs, shape) * 1e6  # Jy a MJy/sr
        rms = read_moments()["depth"][band] * 1e-3 * step / math.sqrt(DEPTH_AREA_ARCSEC2)
        flux = galaxy_image(sky, band, wcs, shape, reach) * area * 10 ** (-0.4 * extinction)
        flux += star_image(stars, band, wcs, shape, step, reach, STAR_END * rms)
        flux *= 1 + offset[band]
        if band in photons:
            flux = rng.poisson(np.maximum(flux, 0) * photons[band]) / photons[band]
        terms = draw_sky(band, rng)
        data = flux + sky_plane(terms, shape) * area + rng.normal(0, rms, shape)
        covered = _covered(shape, rng)
        data[~covered | (rng.random(shape) < BAD_PIXELS)] = np.nan
        truth |= {
            "pixel_arcsec": step,
            "rms_jy": rms,
            "photons_per_jy": photons.get(band, np.nan),
            "calibration_error": offset[band],
            "extinction_mag": extinction,
            "covered": float(covered.mean()),
            "psf_reach_arcsec": reach,
        }
        truth |= {f"sky_{i}_{j}": value for (i, j), value in terms.items()}
        yield band, (data, wcs), truth


def observe_galaxy(
    galaxy, sky, rows, images, gaia, reddening, settings, *, seed, least_pixel_arcsec, progress
):
    """Observe a galaxy, and write what an archive would serve.

    Parameters
    ----------
    galaxy, sky, rows, settings, seed, least_pixel_arcsec
        As for `observe`.
    images : dict of str to str
        Path of the raw image by band.
    gaia, reddening : str
        Paths of the list of stars and of E(B-V), in the form of the fetched files.
    progress : callable
        Called after each band.

    Returns
    -------
    stars : Table
        The stars, with their ``temperature``.
    bands : Table
        What was put into each band, with `BAND_COLUMNS`.
    """
    stars = draw_stars(galaxy, field_arcsec(galaxy, rows, settings), seed)
    _write_gaia(gaia, stars)
    _write_reddening(reddening, galaxy, seed)
    found = []
    for band, image, truth in observe(
        galaxy, sky, rows, list(images), settings, seed=seed, least_pixel_arcsec=least_pixel_arcsec
    ):
        _write_raw(images[band], galaxy, band, image)
        found.append(truth)
        progress()
    columns = {
        name: np.array([row[name] for row in found], dtype=object if name == "band" else None)
        for name in BAND_COLUMNS
    }
    return Table(stars, units=STAR_UNITS), Table(columns, units=BAND_UNITS)


def _write_raw(path, galaxy, band, image):
    """Write a raw image as DustPedia's archive would give it; a band that is missing is empty."""
    from astropy.io import fits

    if image is None:
        hdu = fits.PrimaryHDU()
        hdu.header["DC_OK"] = (False, "whether there is an image")
        hdu.header["DC_WHY"] = (f"{galaxy.galaxy} was not observed in {band}", "why")
    else:
        data, wcs = image
        hdu = fits.PrimaryHDU(data.astype(np.float32), wcs.to_header())
        hdu.header["SIGUNIT"] = ("Jy/pix", "Unit of the map")
        hdu.header["OBJECT"] = galaxy.galaxy
        if exposure := exposure_time(band, photons_per_jy().get(band, 0)):
            hdu.header["EXPTIME"] = (round(exposure, 1), "[s] for its photon noise")
    with atomic(path) as temporary:
        hdu.writeto(temporary)


def _write_gaia(path, stars):
    """Write stars in the columns of Gaia's archive."""
    names = ("source_id", *GAIA_COLUMNS, *MOTIONS)
    columns = [stars[names[0]].astype(str)]
    columns += [[f"{value:.12g}" for value in stars[name]] for name in names[1:]]
    write_rows(path, zip(*columns), names)


def _write_reddening(path, galaxy, seed):
    """Write what a map says of E(B-V), in the columns of the fetched tables."""
    _, stated, error = draw_reddening(galaxy, seed)
    row = {"galaxy": galaxy.galaxy, "ebv": stated, "ebv_err": error, "source": "mock"}
    write_rows(path, [row], tuple(row))


def field_arcsec(galaxy, rows, settings):
    """Return the side of the images of a galaxy in arcsec."""
    sides = [FIELD_D25 * galaxy.d25_arcsec]
    for row in rows:
        if row["included"]:
            scale = scale_of(row)
            sides.append((grid_of(galaxy, scale, settings).n + 2) * scale.pixel)
    return min(max(sides), LARGEST_FIELD_ARCSEC[galaxy.d25_arcsec > LARGE_D25_ARCSEC])


def galaxy_image(sky, band, wcs, shape, reach):
    """Return the galaxy alone in a band, in MJy/sr, without extinction.

    Parameters
    ----------
    sky : dustcast.mock.sky.Sky
    band : str
    wcs : astropy.wcs.WCS
        Tangential about the galaxy's centre.
    shape : (int, int)
    reach : float
        Of the PSF in arcsec.
    """
    from scipy.ndimage import affine_transform

    seen, room = through_psf(sky.maps[band], band, reach)
    centre = sky.grid.n // 2 + room
    # From pixels to cells: both are of one tangential plane.
    plane = wcs.pixel_scale_matrix * 3600 / sky.grid.pixel
    matrix = np.array([[plane[1, 1], plane[1, 0]], [-plane[0, 1], -plane[0, 0]]])
    x0, y0 = wcs.wcs.crpix - 1
    half = math.hypot(centre, centre) / math.sqrt(abs(np.linalg.det(matrix)))
    cut = tuple(
        slice(max(0, int(c - half)), min(n, int(c + half) + 2)) for c, n in zip((y0, x0), shape)
    )
    first = np.array([y0 - cut[0].start, x0 - cut[1].start])
    size = tuple(part.stop - part.start for part in cut)
    image = np.zeros(shape)
    image[cut] = affine_transform(
        seen, matrix, centre - matrix @ first, output_shape=size, order=3, mode="constant"
    )
    return image


# ---------------------------------------------------------------------------------------------
# What lies in front of and behind the galaxy


def draw_stars(galaxy, side, seed):
    """Draw the stars of a field.

    Parameters
    ----------
    galaxy : dustcast.sample.Galaxy
        In whose middle it lies.
    side : float
        Of the field in arcsec.
    seed : int
        Of the survey.

    Returns
    -------
    dict of str to ndarray
        Columns of Gaia's archive, and ``temperature`` in K.
    """
    rng = np.random.default_rng([seed, _key(galaxy.galaxy), _key("stars")])
    n = rng.poisson(STARS_PER_DEG2 * (side / 3600) ** 2)
    bright, faint = STAR_MAGNITUDES
    least = 10 ** (STARS_PER_MAGNITUDE_DEX * (bright - faint))
    share = least + (1 - least) * rng.random(n)
    magnitude = faint + np.log10(share) / STARS_PER_MAGNITUDE_DEX
    east, north = rng.uniform(-side / 2, side / 2, (2, n))
    error = GAIA_ERROR_MAS * 10 ** (GAIA_ERROR_DEX * np.maximum(magnitude - GAIA_ERROR_FROM, 0))
    dex = PARALLAX_PER_MAGNITUDE_DEX * (magnitude - 15) + rng.normal(0, PARALLAX_SCATTER_DEX, n)
    motion = rng.normal(0, MOTION_MAS, (2, n))
    dec = galaxy.dec + north / 3600
    columns = {
        "source_id": np.arange(1, n + 1),
        "ra": (galaxy.ra + east / 3600 / np.cos(np.radians(dec))) % 360,
        "dec": dec,
        "parallax": PARALLAX_MAS * 10**dex + rng.normal(0, error),
        "parallax_error": error,
        "phot_g_mean_mag": magnitude,
    }
    for name, values in zip(("pmra", "pmdec"), motion):
        columns |= {name: values + rng.normal(0, 2 * error), f"{name}_error": 2 * error}
    temperature = rng.normal(*STAR_TEMPERATURE_K, n)
    return columns | {"temperature": np.clip(temperature, *STAR_TEMPERATURE_LIMITS_K)}


def star_flux(magnitude, temperature, band):
    """Return the flux in Jy of stars in a band: black bodies of magnitudes in Gaia's G."""

    def planck(wavelength_um):
        x = SECOND_RADIATION_UM_K / (wavelength_um * temperature)
        return wavelength_um**-3 / np.expm1(x)

    ratio = planck(band_table()[band].pivot_um) / planck(G_PIVOT_UM)
    return G_ZERO_JY * 10 ** (-0.4 * magnitude) * ratio


def star_image(stars, band, wcs, shape, step, reach, end):
    """Return the stars alone in a band, in Jy a pixel.

    Parameters
    ----------
    stars : dict of str to ndarray
        As from `draw_stars`.
    step : float
        Pixel size in arcsec.
    reach : float
        Of the PSF in arcsec.
    end : float
        Brightness in Jy a pixel at which the image of a star ends.
    """
    image = np.zeros(shape)
    if len(stars["ra"]) == 0:
        return image
    psf = find_psf(band)
    core = np.arange(0, 4 * psf.fwhm, psf.fwhm / 50)
    radii = np.append(core, np.geomspace(4 * psf.fwhm, max(reach, 5 * psf.fwhm), 200))
    values = psf.profile(radii)
    values /= np.trapezoid(2 * np.pi * radii * values, radii)
    points = 2 * math.ceil(1.5 * step / psf.fwhm) + 1
    inner = (np.arange(points) - points // 2) / points
    fluxes = star_flux(stars["phot_g_mean_mag"], stars["temperature"], band)
    columns, lines = pixel(wcs, stars["ra"], stars["dec"])
    for flux, x, y in zip(fluxes, columns, lines):
        seen = np.nonzero(flux * values * step**2 > end)[0]
        if not seen.size:
            continue
        half = math.ceil(radii[seen[-1]] / step) + 1
        rows = np.arange(max(0, round(y) - half), min(shape[0], round(y) + half + 1))
        cols = np.arange(max(0, round(x) - half), min(shape[1], round(x) + half + 1))
        if not (rows.size and cols.size):
            continue
        dy, dx = ((rows[:, None] + inner).ravel() - y, (cols[:, None] + inner).ravel() - x)
        fine = np.interp(np.hypot(dy[:, None], dx) * step, radii, values, right=0.0)
        stamp = fine.reshape(rows.size, points, cols.size, points).mean(axis=(1, 3))
        image[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] += flux * step**2 * stamp
    return image


def draw_sky(band, rng):
    """Draw the sky of an image.

    Returns
    -------
    dict of (int, int) to float
        MJy/sr of x^i y^j, x and y from -1 at the first pixel to 1 at the last.
    """
    depth = read_moments()["depth"][band] / DEPTH_AREA_ARCSEC2 * MJY_SR_PER_MJY_ARCSEC2
    return {term: float(depth * scatter * rng.normal()) for term, scatter in SKY_TERMS.items()}


def sky_plane(terms, shape):
    """Return the sky of an image in MJy/sr from its terms."""
    order = max(map(max, terms))
    matrix = np.zeros((order + 1, order + 1))
    for (i, j), value in terms.items():
        matrix[i, j] = value
    y, x = (np.linspace(-1, 1, n) for n in shape)
    return np.polynomial.polynomial.polygrid2d(x, y, matrix).T


def draw_reddening(galaxy, seed):
    """Draw E(B-V): the true one, the one that a map says, and the error that it states."""
    rng = np.random.default_rng([seed, _key(galaxy.galaxy), _key("reddening")])
    stated = round(EBV_MEDIAN * 10 ** rng.normal(0, EBV_SCATTER_DEX), 5)
    error = round(EBV_ERROR * stated, 5)
    return max(stated + error * rng.normal(), 0.0), stated, error


@lru_cache(maxsize=1)
def photons_per_jy():
    """Return the photons that a source of 1 Jy brings, by band."""
    rows = read_csv(PHOTON_TABLE, required=("band", "photons_per_jy", "source"))
    return {row["band"]: float(row["photons_per_jy"]) for row in rows}


def _frame(galaxy, band, side, rng, least_pixel):
    """Return the coordinates of an image of a band, its shape and its pixel size."""
    from astropy.wcs import WCS

    step = max(band_table()[band].pixel_arcsec, least_pixel)
    n = 2 * math.ceil(side / step / 2) + 1
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.cunit = "deg", "deg"
    wcs.wcs.crval = galaxy.ra, galaxy.dec
    # The centre lies anywhere within a pixel.
    wcs.wcs.crpix = (n + 1) / 2 + rng.uniform(-0.5, 0.5, 2)
    wcs.wcs.cdelt = -step / 3600, step / 3600
    if band.split("_")[0] in ROTATED:
        # One scan for all bands of an instrument.
        angle = 2 * np.pi * (_key(f"{galaxy.galaxy} scan") % 3600) / 3600
        wcs.wcs.pc = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return wcs, (n, n), step


def _covered(shape, rng):
    """Return which part of an image has data: ragged edges, and of a few a large part is cut."""
    n = shape[0]
    covered = np.ones(shape, dtype=bool)
    lost = rng.uniform(0, RAGGED_EDGE, 4)
    if rng.random() < CUT_IMAGES:
        lost[rng.integers(4)] = rng.uniform(*CUT_EDGE)
    first = (lost[:2] * n).astype(int)
    last = n - (lost[2:] * n).astype(int)
    covered[: first[0]] = covered[last[0] :] = False
    covered[:, : first[1]] = covered[:, last[1] :] = False
    return covered


def _key(text):
    """Return a number for a text, the same in every run."""
    return zlib.crc32(text.encode())
