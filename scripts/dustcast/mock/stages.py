"""What each stage of the images adds to a galaxy's flux, against what was put into them.

Residuals are shares of the true flux inside D25: of the light of stars that no mask covers
(``flux_left``), of what filling their masks changes (``flux_filled``), of the difference between
the sky and what was subtracted, and of what convolution and resampling change (``flux``).
"""

from __future__ import annotations

import re

import numpy as np

from dustcast.imaging.filling import FilledImage
from dustcast.imaging.geometry import elliptical_radius
from dustcast.imaging.images import pixel_areas, read_clean
from dustcast.imaging.layers import grid_of, planes_at, scale_of
from dustcast.imaging.pixels import d25_ellipse
from dustcast.mock.observation import SKY_TERMS, STAR_END, galaxy_image, sky_plane, star_image
from dustcast.tables import Table

COLUMNS = ("galaxy", "stage", "quantity", "scale", "band", "residual")


def stage_residuals(galaxy, sky, stars, bands, clean, truths, rows, settings, *, progress):
    """Return the residuals of the stages stars, sky and convolve of a galaxy.

    Parameters
    ----------
    galaxy : dustcast.sample.Galaxy
    sky : dustcast.mock.sky.Sky
    stars, bands : Table
        What was put into the images (`dustcast.mock.observation.observe_galaxy`).
    clean : dict of str to str
        Paths of the clean images by band.
    truths : dict of str to (dict or None)
        True maps by scale (`dustcast.mock.truth.true_maps`).
    rows : list of dict
        Rows of the plan of the galaxy.
    settings : dustcast.imaging.layers.Settings
    progress : callable
        Called after each band.

    Returns
    -------
    Table
        `COLUMNS`; scale is empty for what is measured on the images' own pixels. Bands without a
        clean image have no row.
    """
    found = []
    for k, band in enumerate(bands["band"]):
        image = read_clean(clean[band])
        if image.ok:
            put_in = {name: column[k] for name, column in bands.items()}
            alone = galaxy_image(sky, band, image.wcs, image.data.shape, put_in["psf_reach_arcsec"])
            found += _left(galaxy, band, image, alone, stars, put_in)
            found += _changed(galaxy, band, image, alone, truths, rows, settings)
        progress()
    columns = {
        name: np.array([row[place] for row in found], dtype=object)
        for place, name in enumerate(COLUMNS[1:-1])
    }
    columns["residual"] = np.array([row[-1] for row in found], dtype=float)
    return Table({"galaxy": np.full(len(found), galaxy.galaxy, dtype=object)} | columns)


def _left(galaxy, band, image, alone, stars, put_in):
    """Return the rows of what stars and sky leave in a clean image."""
    shape = image.data.shape
    inside = elliptical_radius(image.wcs, shape, galaxy) <= 1
    total = np.sum(alone[inside])
    undone = float(image.cards["DC_EXT"])
    area = pixel_areas(image.wcs, shape) * 1e6  # Jy a MJy/sr
    end = STAR_END * put_in["rms_jy"]
    light = star_image(
        stars, band, image.wcs, shape, put_in["pixel_arcsec"], put_in["psf_reach_arcsec"], end
    )
    unmasked = inside & ~image.stars
    gain = 1 + put_in["calibration_error"]
    terms = {(i, j): put_in[f"sky_{i}_{j}"] for i, j in SKY_TERMS}
    rest = sky_plane(terms, shape) - sky_plane(_subtracted(image.cards), shape)
    left = float(np.sum((light / area)[unmasked]) * undone * gain / total)
    return [
        ("stars", "flux_left", "", band, left),
        ("sky", "flux", "", band, float(np.sum(rest[inside]) * undone / total)),
    ]


def _subtracted(cards):
    """Return the terms of the sky that was subtracted, from the header of a clean image."""
    terms = {(0, 0): 0.0}
    for key, value in cards.items():
        found = re.fullmatch(r"DC_C([0-9]+)_([0-9]+)", key)
        if found:
            terms[int(found[1]), int(found[2])] = float(value)
    terms[0, 0] += float(cards["DC_SKLEV"])
    return terms


def _changed(galaxy, band, image, alone, truths, rows, settings):
    """Return the rows of what convolution and resampling change, and filling masks before it."""
    scales = [scale_of(row) for row in rows]
    scales = [scale for scale in scales if band in (truths[scale.name] or ())]
    filled = FilledImage(np.where(image.stars, np.nan, alone), image.stars)
    planes = planes_at([alone, filled], alone.shape, image.wcs, band, scales, galaxy, settings)
    found = []
    for scale in scales:
        if planes[scale.name] is None:
            continue
        shares = d25_ellipse(galaxy).shares(grid_of(galaxy, scale, settings))
        # A grid may reach beyond the maps, where they are NaN; D25 does not.
        inside = shares > 0
        true, kept, changed = (
            float(np.sum((shares * plane)[inside]))
            for plane in (truths[scale.name][band], *planes[scale.name])
        )
        found.append(("stars", "flux_filled", scale.name, band, (changed - kept) / true))
        found.append(("convolve", "flux", scale.name, band, kept / true - 1))
    return found
