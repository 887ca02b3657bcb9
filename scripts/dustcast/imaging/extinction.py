"""Galactic extinction: one factor a galaxy and band."""

from __future__ import annotations

from dustcast.bands import band_table


def extinction_factor(band, ebv):
    """Return the factor that undoes Galactic extinction.

    Parameters
    ----------
    band : str
        Band; config/bands.csv has its A / E(B-V).
    ebv : float
        E(B-V) on the scale of Schlegel, Finkbeiner & Davis (1998). The coefficients already hold
        the 0.86 by which Schlafly & Finkbeiner (2011) recalibrated that scale: never multiply them
        by a recalibrated E(B-V).

    Returns
    -------
    float
        10^(0.4 A), 1 or more.
    """
    return 10 ** (0.4 * band_table()[band].extinction * ebv)
