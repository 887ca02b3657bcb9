"""Dust attenuation curves, as CIGALE's modules have them.

`dustatt_calzleit` is the starburst curve of Calzetti et al. (2000), with that of Leitherer et al.
(2002) below 150 nm, times a power law, plus a bump at 217.5 nm (Noll et al. 2009).
`dustatt_powerlaw` is A(V) (wavelength / 550 nm)^slope plus the bump.
Attenuation is 0 below 91.2 nm, where hydrogen absorbs first, and never negative.
"""

from __future__ import annotations

import numpy as np

LYMAN_LIMIT_NM = 91.2
V_NM, B_NM = 550.0, 440.0


def calzetti(wavelength_nm):
    """Return k(lambda) = A(lambda) / E(B-V) of Calzetti et al. (2000, Eq. 4), extrapolated.

    Parameters
    ----------
    wavelength_nm : array_like
        Wavelengths in nm.

    Returns
    -------
    ndarray
        Same shape; negative far in the infrared, as the formula has it.
    """
    micron = np.asarray(wavelength_nm, dtype=float) / 1000.0
    blue = -2.156 + 1.509 / micron - 0.198 / micron**2 + 0.011 / micron**3
    red = -1.857 + 1.040 / micron
    return 2.659 * np.where(micron < 0.63, blue, red) + 4.05


def leitherer(wavelength_nm):
    """Return k(lambda) of Leitherer et al. (2002, Eq. 14), for 97 to 180 nm."""
    micron = np.asarray(wavelength_nm, dtype=float) / 1000.0
    return 5.472 + 0.671 / micron - 9.218e-3 / micron**2 + 2.620e-3 / micron**3


def bump(wavelength_nm, centre_nm, width_nm, amplitude):
    """Return the ultraviolet bump, a Drude profile (Fitzpatrick & Massa 1990; Noll et al. 2009)."""
    wavelength = np.asarray(wavelength_nm, dtype=float)
    broad = (wavelength * width_nm) ** 2
    return amplitude * broad / ((wavelength**2 - centre_nm**2) ** 2 + broad)


def calzleit(
    wavelength_nm, powerlaw_slope=0.0, bump_amplitude=0.0, bump_centre=217.5, bump_width=35.0
):
    """Return A(lambda) / E(B-V) of `dustatt_calzleit`.

    Parameters
    ----------
    wavelength_nm : array_like of shape (n,)
        Wavelengths in nm.
    powerlaw_slope : float
        Exponent of the power law that multiplies the starburst curve.
    bump_amplitude, bump_centre, bump_width : float
        The bump: height in units of k, centre and width in nm.

    Returns
    -------
    ndarray of shape (n,)
        Not negative. E(B-V) is kept: the modified curve has k(B) - k(V) of the starburst curve.
    """
    wavelength = np.asarray(wavelength_nm, dtype=float)

    def modified(lam, slope, amplitude):
        k = np.where(lam < 150.0, leitherer(lam), calzetti(lam))
        return k * (lam / V_NM) ** slope + bump(lam, bump_centre, bump_width, amplitude)

    curve = np.maximum(modified(wavelength, powerlaw_slope, bump_amplitude), 0.0)
    blue_visual = np.array([B_NM, V_NM])
    plain = np.diff(modified(blue_visual, 0.0, 0.0))[0]
    changed = np.diff(modified(blue_visual, powerlaw_slope, bump_amplitude))[0]
    curve *= plain / changed
    return np.where(wavelength < LYMAN_LIMIT_NM, 0.0, curve)


def powerlaw(
    wavelength_nm, powerlaw_slope=-0.7, bump_amplitude=0.0, bump_centre=217.5, bump_width=35.0
):
    """Return A(lambda) / A(V) of `dustatt_powerlaw` (parameters as in `calzleit`)."""
    wavelength = np.asarray(wavelength_nm, dtype=float)
    curve = (wavelength / V_NM) ** powerlaw_slope
    curve += bump(wavelength, bump_centre, bump_width, bump_amplitude)
    return np.where(wavelength < LYMAN_LIMIT_NM, 0.0, curve)
