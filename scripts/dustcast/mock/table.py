"""A mock survey without images: photometry of pixels and of whole galaxies whose dust is known.

A galaxy is evaluated at points that lie closer than its pixels. The samples of a scale are the sums
of these points through the scale's PSF, so that the samples of all scales, and the whole galaxy,
are views of one object. Noise is that of DustPedia's maps, correlated between neighbouring pixels;
calibration errors are one draw a band for the whole survey.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from dustcast.bands import band_table
from dustcast.config import psf_width
from dustcast.mock.galaxies import MockGalaxy
from dustcast.photometry import KEY_COLUMNS, UNITS
from dustcast.population import read_moments
from dustcast.sample import GLOBAL
from dustcast.tables import Table, aligned, stack_tables
from dustcast.temperature import dust_temperature
from dustcast.units import (
    SOLAR_MASS_KG,
    grid_scale,
)

FWHM_SIGMA = 2 * np.sqrt(2 * np.log(2))
POINTS_ACROSS = 24  # of D25, at least
OUTER_RADIUS = 1.4  # of the points, in R25: light that the PSF brings into D25
DEPTH_AREA_ARCSEC2 = 18.0**2  # that the noise of the moments belongs to
TRUTH_UNITS = {
    "dust.luminosity": "W",
    "stellar.lum": "W",
    "dust.mass": "kg",
    "stellar.m_star": "solMass",
    "sLd": "dex",
    "sMd": "dex",
    "Td": "K",
    "Td_luminosity": "K",
}


@dataclass(frozen=True)
class _Points:
    """A galaxy as points: offsets in arcsec, and what a point of `cell` arcsec2 emits."""

    east: np.ndarray
    north: np.ndarray
    radius: np.ndarray  # in R25
    cell: float
    stars: np.ndarray  # (n, n_band + 2): fluxes, stellar.lum, stellar.m_star
    dust: np.ndarray  # (n, n_band + 4): fluxes, luminosity, mass, mass x umin, luminosity x Td


def simulate(
    spectra, galaxies, plan, bands, *, seed, max_pixels, dust_smoothing_kpc=None, progress
):
    """Observe a population.

    Parameters
    ----------
    spectra : Spectra
        What a position emits.
    galaxies : list of Galaxy
        The population.
    plan : list of dict
        Rows of the plan of these galaxies (`dustcast.sample.plan`).
    bands : list of str
        Bands of the run.
    seed : int
        Seed of everything random.
    max_pixels : int
        Most pixels of a galaxy at a scale; which ones remain is random.
    dust_smoothing_kpc : dict of str to float, optional
        By galaxy, the full width at half maximum over which the absorbed light spreads before dust
        emits it; 0, as without an entry, for an energy balance that holds at each position.
    progress : callable
        Called as ``progress(done, total)``.

    Returns
    -------
    dict of str to (Table, Table)
        By scale: the photometry table, and the truth of its rows. Truth: id, galaxy, scale,
        ``dust.luminosity`` and ``stellar.lum`` (W), ``dust.mass`` (kg), ``stellar.m_star`` (Msun),
        ``dust.umin`` (weighted by dust mass), sLd, sMd, Td (of that umin), Td_luminosity (mean
        temperature weighted by dust luminosity), and the true flux of each band in mJy, NaN where
        the scale does not take the band.
    """
    rows = {}
    for row in plan:
        if row["included"]:
            rows.setdefault(row["galaxy"], []).append(row)
    scales = list(dict.fromkeys(row["scale"] for row in plan))
    offset = calibration_errors(bands, seed)
    parts = {scale: [] for scale in scales}
    for number, galaxy in enumerate(galaxies):
        mine = rows.get(galaxy.galaxy, [])
        if mine:
            points = _points(MockGalaxy(galaxy, spectra, seed), spectra, mine)
            missing = missing_bands(galaxy, bands, seed)
            smoothing = (dust_smoothing_kpc or {}).get(galaxy.galaxy, 0.0)
            for row in mine:
                key = [seed, zlib.crc32(galaxy.galaxy.encode()), zlib.crc32(row["scale"].encode())]
                rng = np.random.default_rng(key)
                parts[row["scale"]].append(
                    _observe(
                        galaxy, points, row, bands, spectra.bands, offset, missing, rng,
                        max_pixels=max_pixels, smoothing_kpc=smoothing,
                    )
                )  # fmt: skip
        progress(number + 1, len(galaxies))
    none = Table(meta={"reason": "the plan has no galaxy at this scale"})
    return {
        scale: tuple(map(stack_tables, zip(*found))) if found else (none, none)
        for scale, found in parts.items()
    }


def _points(mock, spectra, rows):
    """Evaluate a galaxy on a regular grid of points, fine enough for some rows of the plan."""
    galaxy = mock.galaxy
    spacing = galaxy.d25_arcsec / POINTS_ACROSS
    for row in rows:
        if row["scale"] != GLOBAL:
            spacing = min(spacing, psf_width(row["target_psf"], row["scale"]) / 2)
    half = int(np.ceil(OUTER_RADIUS * galaxy.d25_arcsec / 2 / spacing))
    axis = spacing * np.arange(-half, half + 1)
    east, north = (values.ravel() for values in np.meshgrid(axis, axis))
    radius = np.hypot(*mock.disc_plane(east, north))
    inside = radius <= OUTER_RADIUS
    east, north, radius = east[inside], north[inside], radius[inside]
    cell = spacing**2
    parameters = mock.parameters(east, north)
    low, high = spectra.limits("dust.umin")
    umin = np.clip(parameters["dust.umin"], low, high)
    emitted = spectra.emission(mock.surface_mass_formed(east, north) * cell, parameters)
    seen = grid_scale(galaxy.distance)
    dust = [emitted.dust_lum, emitted.dust_mass, emitted.dust_mass * umin]
    dust += [emitted.dust_lum * dust_temperature(umin)]
    return _Points(
        east,
        north,
        radius,
        cell,
        np.column_stack([emitted.stars / seen, emitted.stellar_lum, emitted.m_star]),
        np.column_stack([emitted.dust / seen, *dust]),
    )


def _observe(
    galaxy, points, row, bands, model_bands, offset, missing, rng, *, max_pixels, smoothing_kpc
):
    """Return photometry and truth of a galaxy at a scale."""
    if row["scale"] == GLOBAL:
        samples = _whole(galaxy)
        inside = (points.radius <= 1).astype(float)
        stars, dust = (inside @ points.stars)[None], (inside @ points.dust)[None]
        noise = rng.normal(size=(1, len(bands)))
    else:
        fwhm = psf_width(row["target_psf"], row["scale"])
        samples, noise = _pixels(galaxy, row, fwhm, len(bands), max_pixels, rng)
        kpc = smoothing_kpc * 1e3 * row["pixel_arcsec"] / row["pixel_scale_pc"]
        area = samples["area_arcsec2"][0]
        stars = _through(fwhm, samples, points, area) @ points.stars
        dust = _through(np.hypot(fwhm, kpc), samples, points, area) @ points.dust
    count, n_model = len(samples["id"]), len(model_bands)
    moments, known, seen = read_moments(), band_table(), row["bands_full"].split(";")
    columns, fluxes = {}, {}
    for column, band in enumerate(bands):
        flux, error, true = (np.full(count, np.nan) for _ in range(3))
        if band in seen:
            place = model_bands.index(band)
            true = stars[:, place] + dust[:, place]
        if band in seen and band not in missing:
            share = samples["area_arcsec2"] / DEPTH_AREA_ARCSEC2
            rms = moments["depth"][band] * share ** moments["depth_slope"][band]
            flux = true * (1 + offset[band]) + rms * noise[:, column]
            error = np.hypot(rms, known[band].calibration * flux)
        columns |= {band: flux, f"{band}_err": error}
        fluxes[band] = true
    photometry = Table(
        {name: samples[name] for name in KEY_COLUMNS} | columns,
        units=UNITS | {name: "mJy" for name in columns},
    )
    keys = {name: samples[name] for name in ("id", "galaxy", "scale")}
    sums = truth_columns(*stars[:, n_model:].T, *dust[:, n_model:].T)
    units = TRUTH_UNITS | dict.fromkeys(fluxes, "mJy")
    return photometry, Table(keys | sums | fluxes, units=units)


def true_photometry(photometry, truth):
    """Return the photometry of samples without noise: true fluxes where observed ones are.

    Parameters
    ----------
    photometry, truth : Table
        Of a survey: all samples of the first are in the second.

    Returns
    -------
    Table
        With the stated errors of the observed fluxes, so that a fit weighs the bands as that of the
        observed ones does. Upper limits become fluxes.

    Raises
    ------
    DataError
        If a sample has no truth.
    """
    if photometry.n_rows == 0:
        return photometry
    truth = aligned(truth, photometry["id"], "the truth", "run the rule that simulates it anew")
    columns = dict(photometry)
    for name in photometry:
        if f"{name}_err" in photometry:
            columns[name] = np.where(np.isfinite(photometry[name]), truth[name], np.nan)
            columns[f"{name}_err"] = np.abs(photometry[f"{name}_err"])
    return Table(columns, units=photometry.units, meta=photometry.meta)


def truth_columns(stellar_lum, m_star, luminosity, mass, mass_umin, hot):
    """Return the columns of the truth from sums over samples.

    Parameters
    ----------
    stellar_lum, luminosity : ndarray
        Of stars and of dust in W.
    m_star : ndarray
        In Msun.
    mass : ndarray
        Of dust in kg.
    mass_umin, hot : ndarray
        Dust mass times Umin, and dust luminosity times temperature.

    Returns
    -------
    dict of str to ndarray
    """
    umin = mass_umin / mass
    return {
        "dust.luminosity": luminosity,
        "stellar.lum": stellar_lum,
        "dust.mass": mass,
        "stellar.m_star": m_star,
        "dust.umin": umin,
        "sLd": np.log10(luminosity / stellar_lum),
        "sMd": np.log10(mass / SOLAR_MASS_KG / m_star),
        "Td": dust_temperature(umin),
        "Td_luminosity": hot / luminosity,
    }


def _whole(galaxy):
    """Return the keys of a whole galaxy, as `dustcast.photometry.global_photometry` has them."""
    return _keys(
        galaxy,
        GLOBAL,
        x=np.array([-1]),
        y=np.array([-1]),
        east=np.zeros(1),
        north=np.zeros(1),
        radius=np.array([np.nan]),
        pixel_scale_pc=galaxy.d25_pc,
        area=galaxy.area_arcsec2,
    ) | {"id": np.array([f"{galaxy.galaxy}/{GLOBAL}"], dtype=object)}


def _keys(galaxy, scale, *, x, y, east, north, radius, pixel_scale_pc, area):
    """Return the key columns of samples, and their offsets from the centre."""
    count = len(x)
    return {
        "id": np.array([f"{galaxy.galaxy}/{scale}/{i}_{j}" for i, j in zip(x, y)], dtype=object),
        "galaxy": np.full(count, galaxy.galaxy, dtype=object),
        "scale": np.full(count, scale, dtype=object),
        "x": x.astype(np.int32),
        "y": y.astype(np.int32),
        "ra": (galaxy.ra + east / 3600 / np.cos(np.radians(galaxy.dec))) % 360,
        "dec": galaxy.dec + north / 3600,
        "redshift": np.full(count, galaxy.redshift),
        "distance": np.full(count, galaxy.distance),
        "pixel_scale_pc": np.full(count, pixel_scale_pc),
        "r_r25": radius,
        "area_arcsec2": np.full(count, area),
        "east": east,
        "north": north,
    }


def _pixels(galaxy, row, fwhm, n_band, max_pixels, rng):
    """Return the keys of the pixels inside D25, and unit noise of shape (n, n_band) in them.

    Noise that was white before the PSF is correlated as exp(-d^2 / 4 sigma^2) at a distance d
    after it (sigma of the PSF); on a square grid that is a product of two one-dimensional factors.
    """
    pixel = row["pixel_arcsec"]
    half = int(galaxy.d25_arcsec / 2 / pixel)
    step = np.arange(-half, half + 1)
    north, west = (
        pixel * values.astype(float) for values in np.meshgrid(step, step, indexing="ij")
    )
    pa = np.radians(galaxy.pa)
    along = north * np.cos(pa) - west * np.sin(pa)
    across = (north * np.sin(pa) + west * np.cos(pa)) / galaxy.axis_ratio
    radius = np.hypot(along, across) / (galaxy.d25_arcsec / 2)
    y, x = np.nonzero(radius <= 1)
    if len(x) > max_pixels:
        chosen = np.sort(rng.choice(len(x), max_pixels, replace=False))
        y, x = y[chosen], x[chosen]
    distance = pixel * (step[:, None] - step) * FWHM_SIGMA / fwhm
    factor = np.linalg.cholesky(np.exp(-(distance**2) / 4))
    white = rng.normal(size=(n_band, len(step), len(step)))
    noise = (factor @ white @ factor.T)[:, y, x].T
    keys = _keys(
        galaxy,
        row["scale"],
        x=x,
        y=y,
        east=-west[y, x],
        north=north[y, x],
        radius=radius[y, x],
        pixel_scale_pc=row["pixel_scale_pc"],
        area=pixel**2,
    )
    return keys, noise


def _through(fwhm, samples, points, area):
    """Return the share of each point's light that a pixel sees, shape (n_pixel, n_point).

    The surface brightness at the middle of the pixel through a Gaussian PSF, times its area.
    """
    sigma = fwhm / FWHM_SIGMA
    east = samples["east"][:, None] - points.east
    north = samples["north"][:, None] - points.north
    return area * np.exp(-(east**2 + north**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def calibration_errors(bands, seed):
    """Return the relative calibration error of each band: one draw for the whole survey."""
    known = band_table()
    return {
        band: known[band].calibration
        * np.random.default_rng([seed, zlib.crc32(band.encode())]).normal()
        for band in bands
    }


def missing_bands(galaxy, bands, seed):
    """Return the bands that a galaxy lacks.

    As often as in DustPedia, and bands of an instrument together: those that fewer galaxies have
    are missing where the others are, and elsewhere too. Bands without images are always missing.
    """
    present = read_moments()["present"]
    missing = set()
    for band in bands:
        instrument = band.split("_")[0]
        key = [seed, zlib.crc32(galaxy.galaxy.encode()), zlib.crc32(instrument.encode())]
        if np.random.default_rng(key).random() >= present.get(band, 0.0):
            missing.add(band)
    return missing
