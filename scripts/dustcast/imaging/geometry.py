"""Where a galaxy lies on an image."""

from __future__ import annotations

import numpy as np

from dustcast.units import ARCSEC_RAD

# Pixels whose coordinates are held at a time: they take ten times the memory of an image.
STRIP_PIXELS = 2**20


def elliptical_radius(wcs, shape, galaxy, *, fwhm_arcsec=0.0):
    """Return the radius of each pixel in units of the galaxy's D25 ellipse.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Celestial coordinates of the image.
    shape : (int, int)
        ny, nx.
    galaxy : dustcast.sample.Galaxy
        Centre, diameter, axis ratio and position angle.
    fwhm_arcsec : float
        Beam that widens the ellipse, in quadrature.

    Returns
    -------
    array of shape (ny, nx)
        1 on the ellipse; infinite off the sky and on its far side.
    """
    radius = np.empty(shape)
    height = max(1, STRIP_PIXELS // shape[1])
    for start in range(0, shape[0], height):
        y, x = np.mgrid[start : min(start + height, shape[0]), : shape[1]]
        radius[start : start + height] = elliptical_radius_at(
            *world(wcs, x, y), galaxy, fwhm_arcsec=fwhm_arcsec
        )
    return radius


def elliptical_radius_at(ra, dec, galaxy, *, fwhm_arcsec=0.0):
    """Return the radius of positions (deg, ICRS) in units of the D25 ellipse.

    The offsets are those of the tangent plane at the centre.
    """
    ra, dec = np.radians(ra), np.radians(dec)
    ra0, dec0 = np.radians(galaxy.ra), np.radians(galaxy.dec)
    cos_angle = np.sin(dec0) * np.sin(dec) + np.cos(dec0) * np.cos(dec) * np.cos(ra - ra0)
    with np.errstate(divide="ignore", invalid="ignore"):
        east = np.cos(dec) * np.sin(ra - ra0) / cos_angle / ARCSEC_RAD
        north = (
            (np.cos(dec0) * np.sin(dec) - np.sin(dec0) * np.cos(dec) * np.cos(ra - ra0))
            / cos_angle
            / ARCSEC_RAD
        )
    pa = np.radians(galaxy.pa)
    along = north * np.cos(pa) + east * np.sin(pa)
    across = -north * np.sin(pa) + east * np.cos(pa)
    major, minor = (
        np.hypot(axis, fwhm_arcsec) / 2
        for axis in (galaxy.d25_arcsec, galaxy.d25_arcsec * galaxy.axis_ratio)
    )
    radius = np.hypot(along / major, across / minor)
    return np.where(np.isfinite(radius) & (cos_angle > 0), radius, np.inf)


def world(wcs, x, y):
    """Return right ascension and declination (deg, ICRS) of 0-based pixel coordinates."""
    from astropy.coordinates import ICRS
    from astropy.wcs.utils import wcs_to_celestial_frame

    first, second = wcs.wcs_pix2world(np.ravel(x), np.ravel(y), 0)
    if wcs.wcs.lng == 1:
        first, second = second, first
    frame = wcs_to_celestial_frame(wcs)
    shape = np.shape(x)
    # FK5 of J2000 and ICRS agree to 0.03 arcsec: not worth the seconds of a transformation.
    if frame.name == "icrs" or (frame.name == "fk5" and frame.equinox.value == "J2000.000"):
        return first.reshape(shape), second.reshape(shape)
    return _to_icrs(first, second, frame, ICRS(), shape)


def _to_icrs(longitude, latitude, frame, icrs, shape):
    """Return positions of another frame (Galactic, FK4, ...) in ICRS; NaN stays NaN."""
    from astropy.coordinates import SkyCoord

    ra, dec = np.full(longitude.size, np.nan), np.full(longitude.size, np.nan)
    good = np.isfinite(longitude) & np.isfinite(latitude)
    found = SkyCoord(longitude[good], latitude[good], unit="deg", frame=frame).transform_to(icrs)
    ra[good], dec[good] = found.ra.deg, found.dec.deg
    return ra.reshape(shape), dec.reshape(shape)


def pixel(wcs, ra, dec):
    """Return 0-based pixel coordinates x, y of positions in degrees (ICRS)."""
    from astropy.coordinates import SkyCoord

    return wcs.world_to_pixel(SkyCoord(ra, dec, unit="deg", frame="icrs"))
