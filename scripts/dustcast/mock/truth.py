"""True maps and tables of the samples of a survey of images.

What the sky holds goes through the code that the images go through: convolution to the target PSF
and resampling onto the grid of the scale. Luminosities and masses of dust and of stars go one by
one; what the models predict follows from them.
"""

from __future__ import annotations

import math

import numpy as np

from dustcast.imaging.layers import grid_of, planes_at, scale_of
from dustcast.imaging.pixels import d25_ellipse
from dustcast.imaging.psf import find_psf
from dustcast.imaging.resampling import Grid
from dustcast.mock.observation import field_arcsec
from dustcast.mock.sky import QUANTITIES, TRUE_PSF, through_psf
from dustcast.mock.table import TRUTH_UNITS, truth_columns
from dustcast.sample import GLOBAL
from dustcast.tables import DataError, Table, atomic
from dustcast.units import MJY_SR_PER_MJY_ARCSEC2, SOLAR_LUMINOSITY_W, SOLAR_MASS_KG

# A Gaussian has ended so many widths from its centre.
TRUE_PSF_WIDTHS = 5.0

DERIVED = ("sLd", "sMd", "Td", "Td_luminosity")
MAP_UNITS = QUANTITIES | {name: TRUTH_UNITS[name] for name in DERIVED}


def true_maps(galaxy, sky, made, rows, settings):
    """Return the true maps of a galaxy at some scales.

    Parameters
    ----------
    galaxy : dustcast.sample.Galaxy
    sky : dustcast.mock.sky.Sky
    made : list of dict
        Rows of the plan: the scales.
    rows : list of dict
        All rows of the plan of the galaxy: they say how large its images are.
    settings : dustcast.imaging.layers.Settings

    Returns
    -------
    dict of str to (Grid, dict or None)
        By scale: the grid of its cube, and surface brightness in MJy/sr by band of its row with
        `QUANTITIES`; None where the images are too small for a cube.
    """
    scales = [scale_of(row) for row in made]
    # A scale may leave bands out that others have.
    names = list(dict.fromkeys([name for scale in scales for name in scale.bands]))
    names += QUANTITIES
    side = field_arcsec(galaxy, rows, settings)
    half = max(math.ceil(side / sky.grid.pixel / 2), sky.grid.n // 2)
    grid = Grid(galaxy.ra, galaxy.dec, sky.grid.pixel, 2 * half + 1)
    reach = TRUE_PSF_WIDTHS * find_psf(TRUE_PSF).fwhm

    def seen(name):
        plane, room = through_psf(sky.maps[name], TRUE_PSF, reach)
        return _fitted(plane, half - sky.grid.n // 2 - room)

    planes = planes_at(map(seen, names), grid.shape, grid.wcs, TRUE_PSF, scales, galaxy, settings)
    found = {}
    for scale in scales:
        maps = planes[scale.name]
        if maps is not None:
            maps = dict(zip(names, maps))
            maps = {name: maps[name] for name in (*scale.bands, *QUANTITIES)}
        found[scale.name] = grid_of(galaxy, scale, settings), maps
    return found


def _fitted(plane, more):
    """Return a map with `more` cells of nothing on each side; fewer than none cuts cells off."""
    if more < 0:
        return plane[-more:more, -more:more]
    return np.pad(plane, more)


def true_table(galaxy, row, bands, grid, maps):
    """Return what is true of the samples of a galaxy at a scale.

    Parameters
    ----------
    galaxy : dustcast.sample.Galaxy
    row : dict
        Row of the plan.
    bands : list of str
        Bands of the run.
    grid, maps
        Of this scale, from `true_maps`.

    Returns
    -------
    Table
        As `dustcast.mock.table.simulate` returns it, with the true flux of each band in mJy, NaN
        where the scale does not take the band. A row a pixel inside D25, or one for the
        whole galaxy: the sums over D25.
    """
    if maps is None:
        return Table(meta={"reason": "the images are too small for a cube"})
    area = grid.pixel**2
    if row["scale"] == GLOBAL:
        shares = d25_ellipse(galaxy).shares(grid) * area
        ids = [f"{galaxy.galaxy}/{GLOBAL}"]
        # What the images do not cover is far from the galaxy.
        values = {name: np.array([np.nansum(shares * plane)]) for name, plane in maps.items()}
    else:
        radius = grid.elliptical_radius(galaxy.pa, galaxy.axis_ratio)
        y, x = np.nonzero(radius <= galaxy.d25_arcsec / 2)
        ids = [f"{galaxy.galaxy}/{row['scale']}/{i}_{j}" for i, j in zip(x, y)]
        values = {name: plane[y, x].astype(float) * area for name, plane in maps.items()}
    n = len(ids)
    keys = {
        "id": np.array(ids, dtype=object),
        "galaxy": np.full(n, galaxy.galaxy, dtype=object),
        "scale": np.full(n, row["scale"], dtype=object),
    }
    columns = _derived(values)
    none = np.full(n, np.nan)
    fluxes = {band: values.get(band, none) / MJY_SR_PER_MJY_ARCSEC2 for band in bands}
    units = TRUTH_UNITS | dict.fromkeys(bands, "mJy")
    return Table(keys | columns | fluxes, units=units)


def _derived(values):
    """Return the columns of the truth from sums or maps of `QUANTITIES`."""
    # A kernel has a small negative part: where next to nothing is, it may leave less than nothing.
    lit = {name: np.where(values[name] > 0, values[name], np.nan) for name in QUANTITIES}
    return truth_columns(
        lit["stellar.lum"] * SOLAR_LUMINOSITY_W,
        lit["stellar.m_star"],
        lit["dust.luminosity"] * SOLAR_LUMINOSITY_W,
        lit["dust.mass"] * SOLAR_MASS_KG,
        lit["dust.mass_umin"] * SOLAR_MASS_KG,
        lit["dust.luminosity_Td"] * SOLAR_LUMINOSITY_W,
    )


def write_maps(path, galaxy, found):
    """Write true maps: at each scale an extension a band or quantity, and `DERIVED`.

    Parameters
    ----------
    path : str or Path
    galaxy : dustcast.sample.Galaxy
    found : dict of str to (Grid, dict or None)
        From `true_maps`.
    """
    from astropy.io import fits

    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header["DC_GAL"] = galaxy.galaxy
    for number, (scale, (grid, maps)) in enumerate(found.items(), start=1):
        hdus[0].header[f"DC_SC{number}"] = (scale, f"scale of extensions of version {number}")
        hdus[0].header[f"DC_OK{number}"] = (maps is not None, "whether there are maps")
        planes = dict(maps or {})
        if maps:
            derived = _derived(maps)
            planes |= {name: derived[name] for name in DERIVED}
        coordinates = grid.wcs.to_header()
        for name, plane in planes.items():
            hdu = fits.ImageHDU(plane.astype(np.float32), coordinates, name, ver=number)
            hdu.header["DC_NAME"] = (name, "band or quantity")
            hdu.header["DC_SCALE"] = (scale, "scale")
            hdu.header["BUNIT"] = MAP_UNITS.get(name, "MJy/sr")
            hdus.append(hdu)
    with atomic(path) as temporary:
        hdus.writeto(temporary)


def read_maps(path):
    """Read true maps: by scale those by band or quantity, None where there are none.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as hdus:
            head, maps = hdus[0].header, {}
            for number in range(1, len(head["DC_SC*"]) + 1):
                maps[head[f"DC_SC{number}"]] = {} if head[f"DC_OK{number}"] else None
            for hdu in hdus[1:]:
                maps[hdu.header["DC_SCALE"]][hdu.header["DC_NAME"]] = hdu.data.astype(float)
            return maps
    except (OSError, KeyError, TypeError) as fault:
        raise DataError(f"{path} cannot be read ({fault}): delete it and run again") from None
