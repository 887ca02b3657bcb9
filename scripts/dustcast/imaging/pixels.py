"""Photometry from cubes: one row a pixel inside D25, and sums over ellipses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dustcast.bands import bands_of
from dustcast.imaging.cube import NO_COVER, OUTSIDE, STAR
from dustcast.imaging.resampling import beam_area
from dustcast.photometry import KEY_COLUMNS, UNITS, global_photometry
from dustcast.tables import DataError, Table, read_csv
from dustcast.units import MJY_SR_PER_MJY_ARCSEC2, pixel_scale_pc

# Points a pixel and axis with which the edge of an ellipse is followed.
EDGE_POINTS = 7
# A sum that lacks more than this share of its ellipse is none.
LARGEST_GAP = 0.1
STAGE = "photometry"
# Edges of the annulus of sky around the apertures of the DustPedia photometry (Clark et al. 2018).
CATALOGUE_ANNULUS = (1.25, 1.601)


@dataclass(frozen=True)
class Ellipse:
    """An ellipse around the centre of a grid.

    Attributes
    ----------
    semimajor : float
        In arcsec.
    axis_ratio : float
        Minor over major axis.
    pa : float
        Position angle in degrees, north to east.
    """

    semimajor: float
    axis_ratio: float
    pa: float

    @property
    def area(self):
        """In arcsec2."""
        return math.pi * self.semimajor**2 * self.axis_ratio

    def shares(self, grid):
        """Return the share of each pixel of a grid inside the ellipse."""
        radius = grid.elliptical_radius(self.pa, self.axis_ratio, EDGE_POINTS)
        inside = (radius <= self.semimajor).astype(float)
        return inside.reshape(grid.n, EDGE_POINTS, grid.n, EDGE_POINTS).mean(axis=(1, 3))


def d25_ellipse(galaxy):
    """Return the D25 ellipse of a galaxy."""
    return Ellipse(galaxy.d25_arcsec / 2, galaxy.axis_ratio, galaxy.pa)


def pixel_photometry(cube, galaxy, bands):
    """Return the photometry of the pixels whose centres lie inside D25.

    Parameters
    ----------
    cube : dustcast.imaging.cube.Cube
    galaxy : dustcast.sample.Galaxy
    bands : list of str
        Bands of the run: each has its columns, missing where the cube lacks it.

    Returns
    -------
    Table
        `KEY_COLUMNS`, then `<band>`, `<band>_err` in mJy. A pixel without a value in any input
        band is left out; bands without an image stand in ``meta["exclusions"]``.
    """
    inside = (cube.mask[0] & OUTSIDE) == 0
    area = cube.grid.pixel**2
    factor = area / MJY_SR_PER_MJY_ARCSEC2
    fluxes = {}
    for band in bands:
        flux = error = np.full(cube.grid.shape, np.nan)
        if band in cube.bands:
            b = cube.bands.index(band)
            seen = (cube.mask[b] & (NO_COVER | STAR)) == 0
            flux = np.where(seen, cube.flux[b], np.nan).astype(float) * factor
            error = np.where(seen, cube.error[b], np.nan).astype(float) * factor
        fluxes[band], fluxes[f"{band}_err"] = flux, error
    inputs = [band for band in bands_of("input") if band in bands]
    keep = inside & np.any([np.isfinite(fluxes[band]) for band in inputs], axis=0)
    y, x = np.nonzero(keep)
    ra, dec = cube.grid.wcs.pixel_to_world_values(x, y)
    radius = cube.grid.elliptical_radius(galaxy.pa, galaxy.axis_ratio)
    n = len(x)
    columns = {
        "id": np.array([f"{galaxy.galaxy}/{cube.scale}/{i}_{j}" for i, j in zip(x, y)], object),
        "galaxy": np.full(n, galaxy.galaxy, dtype=object),
        "scale": np.full(n, cube.scale, dtype=object),
        "x": x.astype(np.int32),
        "y": y.astype(np.int32),
        "ra": ra,
        "dec": dec,
        "redshift": np.full(n, galaxy.redshift),
        "distance": np.full(n, galaxy.distance),
        "pixel_scale_pc": np.full(n, pixel_scale_pc(cube.grid.pixel, galaxy.distance)),
        "r_r25": radius[keep] / (galaxy.d25_arcsec / 2),
        "area_arcsec2": np.full(n, area),
    }
    table = Table({name: columns[name] for name in KEY_COLUMNS})
    table |= {name: plane[keep] for name, plane in fluxes.items()}
    table.units = UNITS | {name: "mJy" for name in fluxes}
    table.meta = {"exclusions": missing_bands(cube)}
    if not n:
        table.meta["reason"] = "no pixel inside D25 has a value in an input band"
        table.meta["exclusions"].append(
            [galaxy.galaxy, "", cube.scale, STAGE, table.meta["reason"]]
        )
    return table


def ellipse_fluxes(cube, bands, ellipse, *, annulus=None):
    """Return the fluxes of a galaxy summed over an ellipse.

    Parameters
    ----------
    cube : dustcast.imaging.cube.Cube
        With pixels that resolve its PSF. Under stars its interpolated values count.
    bands : list of str
        Bands of the run.
    ellipse : Ellipse
    annulus : tuple of float, optional
        Inner and outer edge, in units of the ellipse, of an annulus whose clipped median is
        subtracted.

    Returns
    -------
    fluxes : dict of str to float
        `<band>` and `<band>_err` in mJy. Calibration and extinction errors add up over pixels;
        the noise of pixels is correlated over the area of the PSF. A band is missing where the
        image lacks more than `LARGEST_GAP` of the ellipse; a smaller gap is filled with the mean
        of the rest.
    exclusions : list of list
        [galaxy, band, scale, stage, reason] of what is missing.
    """
    shares = ellipse.shares(cube.grid)
    area = cube.grid.pixel**2
    # Pixels that one PSF correlates.
    together = max(1.0, beam_area(cube.fwhm) / area)
    fluxes = dict.fromkeys([name for band in bands for name in (band, f"{band}_err")], math.nan)
    exclusions = missing_bands(cube)
    for b, band in enumerate(cube.bands):
        if band not in bands or cube.why[b]:
            continue
        known = np.isfinite(cube.flux[b])
        held = shares[known].sum() / shares.sum()
        if held < 1 - LARGEST_GAP:
            reason = f"the image covers {held:.0%} of the ellipse"
            exclusions.append([cube.galaxy, band, cube.scale, STAGE, reason])
            continue
        values = cube.flux[b][known].astype(float)
        if annulus:
            values = values - _level(cube, b, ellipse, annulus)
        weights = shares[known] * (area / MJY_SR_PER_MJY_ARCSEC2 / held)
        errors = {name: plane[b][known].astype(float) for name, plane in cube.parts.items()}
        noise = [np.sum((weights * errors.pop(n)) ** 2) for n in ("RMS", "POIS") if n in errors]
        # What is left is a fraction of the flux, the same in all pixels.
        common = [float(weights @ (np.sign(values) * error)) for error in errors.values()]
        fluxes[band] = float(weights @ values)
        fluxes[f"{band}_err"] = math.sqrt(together * sum(noise) + sum(e**2 for e in common))
    return fluxes, exclusions


def _level(cube, b, ellipse, annulus):
    """Return the clipped median of a band in an elliptical annulus."""
    from astropy.stats import sigma_clip

    radius = cube.grid.elliptical_radius(ellipse.pa, ellipse.axis_ratio) / ellipse.semimajor
    inside = (radius > annulus[0]) & (radius < annulus[1])
    values = cube.flux[b][inside & np.isfinite(cube.flux[b]) & ((cube.mask[b] & STAR) == 0)]
    if not values.size:
        return 0.0
    return float(np.median(sigma_clip(values, sigma=3, maxiters=None, masked=False)))


def sum_galaxies(cubes, galaxies, bands, ellipses, *, annulus=None):
    """Return the sums of galaxies over an ellipse each, as a table of photometry.

    Parameters
    ----------
    cubes : iterable of dustcast.imaging.cube.Cube
        One a galaxy; read one after the other.
    galaxies : dict of str to dustcast.sample.Galaxy
    bands : list of str
        Bands of the run.
    ellipses : dict of str to Ellipse
        By galaxy; a galaxy without one is left out.
    annulus : tuple of float, optional
        As for `ellipse_fluxes`.

    Returns
    -------
    Table
        As from `dustcast.photometry.global_photometry`, with the area of the ellipses.
    """
    rows, exclusions = [], []
    for cube in cubes:
        if cube.galaxy in ellipses:
            fluxes, missing = ellipse_fluxes(cube, bands, ellipses[cube.galaxy], annulus=annulus)
            rows.append({"galaxy": cube.galaxy} | fluxes)
            exclusions += missing
    names = ["galaxy", *(name for band in bands for name in (band, f"{band}_err"))]
    table = global_photometry(
        Table({name: np.array([row[name] for row in rows]) for name in names}),
        {name: galaxies[name] for name in ellipses},
        bands,
        input_bands=[band for band in bands_of("input") if band in bands],
    )
    table["area_arcsec2"] = np.array([ellipses[name].area for name in table["galaxy"]], dtype=float)
    table.meta["exclusions"] = exclusions + table.meta["exclusions"]
    return table


def catalogue_apertures(path):
    """Read the apertures of the DustPedia photometry.

    Parameters
    ----------
    path : str or Path
        CAAPR_Aperture_Table.csv. Its angle is counter-clockwise from +x.

    Returns
    -------
    dict of str to Ellipse
    """
    columns = ("name", "semimaj_arcsec", "axial_ratio", "pos_angle")
    found = {}
    for row in read_csv(path, required=columns):
        try:
            semimajor, ratio, angle = (float(row[name]) for name in columns[1:])
        except ValueError as fault:
            raise DataError(f"{path}: {row['name']}: {fault}: a number is needed") from None
        found[row["name"]] = Ellipse(semimajor, 1 / ratio, angle + 90)
    return found


def missing_bands(cube):
    """Return the bands whose images a cube could not take, as rows of exclusions.

    Bands without an image are not among them: the stage that cleans images lists those.
    """
    return [
        [cube.galaxy, band, cube.scale, "stack_cube", why]
        for band, why, info in zip(cube.bands, cube.why, cube.info)
        if why and info.get("DC_IMAGE", True)
    ]
