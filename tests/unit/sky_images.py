"""Synthetic images for the tests of the images stage."""

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from dustcast.sample import Galaxy

GALAXY = Galaxy("NGC1", 150.0, 20.0, 10.0, 0.0, 120.0, 0.5, 30.0, 5.0, "test", 0.05, 0.008)


def tangent(shape, pixel_arcsec, *, angle=0.0, galaxy=GALAXY, projection="TAN"):
    """Return coordinates centred on a galaxy, the frame turned by an angle in degrees."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
    wcs.wcs.crval = [galaxy.ra, galaxy.dec]
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    wcs.wcs.cdelt = [-pixel_arcsec / 3600, pixel_arcsec / 3600]
    turn = np.radians(angle)
    wcs.wcs.pc = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    wcs.wcs.set()
    return wcs


def write(path, data, header):
    """Write a FITS file; return its path."""
    fits.PrimaryHDU(data, header).writeto(path, overwrite=True)
    return path


def header(shape, pixel_arcsec, unit="Jy/pix", **cards):
    """Return the header of an image on a tangent plane."""
    found = tangent(shape, pixel_arcsec).to_header()
    if unit:
        found["BUNIT"] = unit
    found.update(cards)
    return found
