"""Constants and conversions: each number of the workflow's units stands here once.

Standard library only: Snakemake's driver imports this module.
"""

import math
import re

# Keywords that name the unit of an image, in the order in which they are believed.
UNIT_KEYWORDS = ("BUNIT", "SIGUNIT", "UNITS", "ZUNITS", "FUNITS")
# Words one of which every unit of an image has, in lower case and without a prefix; those of the
# second kind stand with an area.
COUNTS = ("dn", "ct", "count", "counts", "cps", "nmgy", "nanomaggy", "nanomaggies")
FLUXES = ("jy", "w", "erg", "j", "ev", "lsun", "sollum")
AREAS = ("pix", "pixel", "pixels", "beam", "beams", "sr", "rad", "arcsec", "arcmin", "deg")

# Exact by definition (SI 2019, IAU 2012 and 2015).
SPEED_OF_LIGHT = 299792458.0  # m/s
PARSEC_M = 648000.0 / math.pi * 149597870700.0
SOLAR_LUMINOSITY_W = 3.828e26
MJY_W_M2_HZ = 1e-29  # one mJy
ARCSEC_RAD = math.pi / 648000.0
# Solar mass parameter (IAU 2015) over the CODATA 2018 gravitational constant.
SOLAR_MASS_KG = 1.3271244e20 / 6.67430e-11

# Luminosity distance at which CIGALE puts objects of redshift 0, and our grids put all.
GRID_DISTANCE_PC = 10.0

# Dust temperature of THEMIS (Nersesian et al. 2019, Eq. 1): T = 18.3 K Umin^(1 / (4 + 1.79)).
DUST_TEMPERATURE_UMIN_1_K = 18.3
DUST_TEMPERATURE_EXPONENT = 1.0 / (4.0 + 1.79)

# Surface brightness: 1 mJy over 1 arcsec2 in MJy/sr.
MJY_SR_PER_MJY_ARCSEC2 = 1e-9 / ARCSEC_RAD**2


def grid_scale(distance_mpc):
    """Return the factor from values seen from 10 pc to those at a distance in Mpc.

    Extensive results of a fit to fluxes in mJy are for a distance of 10 pc; the object's own are
    (distance / 10 pc)^2 times as large.
    """
    return (distance_mpc * 1e6 / GRID_DISTANCE_PC) ** 2


def pixel_scale_pc(angle_arcsec, distance_mpc):
    """Return the length in pc that an angle in arcsec spans at a distance in Mpc."""
    return angle_arcsec * ARCSEC_RAD * distance_mpc * 1e6


def written_unit(header, band, missing_unit=None):
    """Return the unit of an image as its header writes it; empty if nothing names one.

    Parameters
    ----------
    header : mapping of str to str
    band : str
    missing_unit : str or dict of str to str, optional
        Unit of images whose header names none, one for all or by band.
    """
    texts = [str(header.get(key, "")).strip() for key in UNIT_KEYWORDS]
    # DustPedia's maps have the comment inside the text: 'Jy/pix              / Unit of the map'.
    written = re.split(r"\s{2,}", next(filter(None, texts), ""))[0]
    if written:
        return written
    # 2MASS gives its zero point, but no unit.
    if "MAGZP" in header:
        return "DN"
    if isinstance(missing_unit, dict):
        return missing_unit.get(band, "")
    return missing_unit or ""


def may_be_brightness(text):
    """Return whether a unit may be that of an image, by the words in it.

    A unit that is refused here is none of an image; one that passes may still be misspelt.
    """
    words = {word.lower() for word in re.findall(r"[A-Za-z]+", text)}
    words |= {word[1:] for word in words}
    return not words.isdisjoint(COUNTS) or not (words.isdisjoint(FLUXES) or words.isdisjoint(AREAS))
