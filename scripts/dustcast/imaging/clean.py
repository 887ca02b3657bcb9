"""From a raw image to a clean one: stars masked, sky subtracted, extinction undone."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dustcast.bands import band_table
from dustcast.imaging.extinction import extinction_factor
from dustcast.imaging.geometry import elliptical_radius, elliptical_radius_at, world
from dustcast.imaging.images import CleanImage, read_image, silence, write_clean
from dustcast.imaging.sky import fit_sky
from dustcast.imaging.stars import star_mask
from dustcast.tables import DataError, Table
from dustcast.units import ARCSEC_RAD

# Name of this stage in the list of exclusions.
STAGE = "clean_image"


def clean_bands(
    raw, outputs, galaxy, stars, *, sky, missing_unit, least_cover, n_threads=1, origin=None
):
    """Clean the images of a galaxy and write them.

    Parameters
    ----------
    raw : dict of str to str
        Raw image by band; a band that has none is left out.
    outputs : dict of str to str
        Where the clean image of each band goes.
    galaxy : dustcast.sample.Galaxy
        Ellipse and E(B-V).
    stars : list of dustcast.imaging.stars.Aperture
        Apertures of all bands.
    sky : dict
        polynomial_order, flattening and ellipse, see `dustcast.imaging.sky.fit_sky`.
    missing_unit, least_cover
        See `clean_band`.
    n_threads : int
        Bands that are cleaned at a time.
    origin : dict, optional
        Provenance.

    Returns
    -------
    dustcast.tables.Table
        One row a band, see `summary_row`; what has no image is listed in meta["exclusions"].
    """

    def work(band):
        image = clean_band(
            raw.get(band),
            band,
            galaxy,
            [star for star in stars if star.band == band],
            missing_unit=missing_unit,
            least_cover=least_cover,
            sky={
                "order": sky["polynomial_order"],
                "flattening": sky["flattening"],
                "ellipse": sky["ellipse"],
            },
        )
        write_clean(outputs[band], image, origin)
        print(f"{band}: {image.cards['DC_WHY'][0] if not image.ok else 'clean'}", flush=True)
        return summary_row(image)

    # Filters of warnings are global: threads that set and restore them inside meet one outside.
    with silence(), ThreadPoolExecutor(n_threads) as pool:
        rows = list(pool.map(work, outputs))
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    excluded = [
        [galaxy.galaxy, row["band"], "", STAGE, row["reason"]] for row in rows if not row["ok"]
    ]
    units = {"pixel_arcsec": "arcsec", "sky_level": "MJy/sr", "sky_rms": "MJy/sr"}
    return Table(columns, units=units, meta={"exclusions": excluded})


def clean_band(path, band, galaxy, stars, *, missing_unit=None, least_cover=0.8, sky=None):
    """Clean the image of one band.

    Parameters
    ----------
    path : str or Path or None
        Raw image; None if the galaxy has none in this band.
    band : str
        Band.
    galaxy : dustcast.sample.Galaxy
        Ellipse and E(B-V).
    stars : list of dustcast.imaging.stars.Aperture
        Star apertures of this band.
    missing_unit : str, optional
        Unit of an image whose header names none.
    least_cover : float
        Part of the D25 ellipse that an image must cover.
    sky : dict, optional
        Settings of `dustcast.imaging.sky.fit_sky`.

    Returns
    -------
    CleanImage
        An empty product with the reason in its card DC_WHY where the data are missing or faulty.
    """
    cards = {"DC_BAND": (band, "band"), "DC_GAL": (galaxy.galaxy, "galaxy")}
    if path is None:
        return empty(cards, "there is no image in this band")
    try:
        return _clean(path, band, galaxy, stars, cards, missing_unit, least_cover, sky or {})
    except DataError as fault:
        return empty(cards, str(fault))


def empty(cards, reason):
    """Return an empty product that says why it is one."""
    return CleanImage(cards=cards | {"DC_WHY": (reason, "why there is no image")})


def _clean(path, band, galaxy, stars, cards, missing_unit, least_cover, sky_settings):
    """Return the clean image of a band that has one; raise `DataError` if it is faulty."""
    if not math.isfinite(galaxy.ebv):
        raise DataError(
            f"{galaxy.galaxy} has no E(B-V): write it into the table sample.by_hand of the "
            "configuration"
        )
    raw = read_image(path, band, missing_unit=missing_unit)
    fwhm = band_table()[band].fwhm_arcsec
    radius = elliptical_radius(raw.wcs, raw.data.shape, galaxy, fwhm_arcsec=fwhm)
    cover = _cover(raw, radius, galaxy)
    if cover < least_cover:
        raise DataError(
            f"{path} covers {100 * cover:.0f}% of the D25 ellipse of {galaxy.galaxy} (CRVAL1, "
            f"CRVAL2, NAXIS1, NAXIS2), where least_cover asks for {100 * least_cover:.0f}%"
        )
    # In place from here on: a mosaic of 3 degrees in SDSS has half a billion pixels.
    data = raw.data
    mask = star_mask(stars, raw.wcs, data.shape)
    masked = mask & np.isfinite(data)
    data[mask] = np.nan
    try:
        sky = fit_sky(data, radius, raw.pixel_arcsec, **sky_settings)
    except DataError as fault:
        raise DataError(f"{path}: {fault}") from None
    factor = extinction_factor(band, galaxy.ebv)
    data -= sky.model(data.shape)
    data *= factor
    cards |= {
        "DC_UNIT": (raw.unit, "unit of the raw image"),
        "DC_JY": (raw.jy_per_unit, "Jy of one unit in a pixel, if it is of a pixel"),
        "DC_PIX": (raw.pixel_arcsec, "[arcsec] side of a pixel"),
        "DC_COVER": (cover, "part of the D25 ellipse with data"),
        "DC_NSTAR": (len(stars), "star apertures"),
        "DC_SKY": (sky.method, "sky: poly (with level added) or level"),
        "DC_SKLEV": (sky.level, "[MJy/sr] level around the galaxy"),
        "DC_SKRMS": (sky.rms, "[MJy/sr] scatter there of blocks"),
        "DC_SKBLK": (sky.block, "[pixel] side of a block"),
        "DC_SKFLT": (sky.flattening, "spread of the sky before over after poly"),
        "DC_SKELL": (sky.ellipse, "masked ellipse over D25"),
        "DC_SKRNG": (sky.ring, "where the ring of the level begins, over D25"),
        "DC_SKORD": (sky.order, "order of the polynomial"),
        **{
            f"DC_C{i}_{j}": (value, f"[MJy/sr] of x^{i} y^{j}, -1 to 1 over the image")
            for (i, j), value in sky.coefficients.items()
        },
        "DC_EBV": (galaxy.ebv, "[mag] E(B-V), SFD scale"),
        "HIERARCH DC_EBVERR": (galaxy.ebv_err, "[mag] its uncertainty"),
        "DC_RV": (band_table()[band].extinction, "A / E(B-V)"),
        "DC_EXT": (factor, "factor that undid extinction"),
    }
    # The variance of n photons is n: a factor f on the flux is one of f^2 on its variance.
    gain = raw.photons_per_jy * 1e6 * (raw.pixel_arcsec * ARCSEC_RAD) ** 2 / factor
    if math.isfinite(gain):
        cards["DC_GAIN"] = (gain, "photons that 1 MJy/sr brings into one pixel")
    return CleanImage(data, raw.wcs, masked, cards)


def _cover(raw, widened, galaxy):
    """Return which part of the D25 ellipse holds data; `widened` is the radius with the beam."""
    y, x = np.nonzero(widened <= 1)
    inside = elliptical_radius_at(*world(raw.wcs, x, y), galaxy) <= 1
    pixel = raw.pixel_arcsec**2
    covered = (np.isfinite(raw.data[y, x]) & inside).sum() * pixel
    # Pixels that lie off the image count too, so the area of the ellipse is the measure. An ellipse
    # smaller than a few pixels has no better one than its own pixels.
    whole = max(galaxy.area_arcsec2, inside.sum() * pixel)
    return float(min(covered / whole, 1.0)) if whole > 0 else 0.0


def summary_row(image):
    """Return what a table of the images of a galaxy says of one of them.

    Returns
    -------
    dict
        band, ok, reason, unit, pixel_arcsec, cover, n_stars, sky, sky_level, sky_rms, extinction.
    """
    cards = {key: value for key, (value, _) in image.cards.items()}
    names = {
        "unit": ("DC_UNIT", ""),
        "pixel_arcsec": ("DC_PIX", np.nan),
        "cover": ("DC_COVER", np.nan),
        "n_stars": ("DC_NSTAR", 0),
        "sky": ("DC_SKY", ""),
        "sky_level": ("DC_SKLEV", np.nan),
        "sky_rms": ("DC_SKRMS", np.nan),
        "extinction": ("DC_EXT", np.nan),
    }
    row = {"band": cards["DC_BAND"], "ok": image.ok, "reason": cards.get("DC_WHY", "")}
    return row | {name: cards.get(key, missing) for name, (key, missing) in names.items()}
