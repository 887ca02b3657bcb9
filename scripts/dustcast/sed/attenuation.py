"""Dust attenuation curves, as CIGALE's modules have them.

`dustatt_calzleit` is the starburst curve of Calzetti et al. (2000), with that of Leitherer et al.
(2002) below 150 nm, times a power law, plus a bump at 217.5 nm (Noll et al. 2009).
`dustatt_powerlaw` is A(V) (wavelength / 550 nm)^slope plus the bump. `dustatt_modified_starburst`
takes the first curve for stars and gas continuum, and that of the Milky Way for lines.
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


def milky_way(wavelength_nm, rv=3.1):
    """Return A(lambda) / E(B-V) of Cardelli, Clayton & Mathis (1989, Eq. 1 to 5).

    Parameters
    ----------
    wavelength_nm : array_like of shape (n,)
        Wavelengths in nm.
    rv : float
        A(V) / E(B-V).

    Returns
    -------
    ndarray of shape (n,)
        The infrared power law goes on beyond 3.3 micron, where the paper ends; 0 below 91.2 nm.
    """
    wavelength = np.asarray(wavelength_nm, dtype=float)
    x = 1000.0 / wavelength
    y = x - 1.82
    optical_a = np.polyval(
        [0.32999, -0.77530, 0.01979, 0.72085, -0.02427, -0.50447, 0.17699, 1.0], y
    )
    optical_b = np.polyval([-2.09002, 5.30260, -0.62251, -5.38434, 1.07233, 2.28305, 1.41338, 0], y)
    beyond = np.maximum(x - 5.9, 0.0)
    ultraviolet_a = 1.752 - 0.316 * x - 0.104 / ((x - 4.67) ** 2 + 0.341)
    ultraviolet_a += -0.04473 * beyond**2 - 0.009779 * beyond**3
    ultraviolet_b = -3.090 + 1.825 * x + 1.206 / ((x - 4.62) ** 2 + 0.263)
    ultraviolet_b += 0.2130 * beyond**2 + 0.1207 * beyond**3
    far = x - 8.0
    far_a = np.polyval([-0.070, 0.137, -0.628, -1.073], far)
    far_b = np.polyval([0.374, -0.420, 4.257, 13.670], far)
    ranges = [x < 1.1, x < 3.3, x < 8.0]
    a = np.select(ranges, [0.574 * x**1.61, optical_a, ultraviolet_a], far_a)
    b = np.select(ranges, [-0.527 * x**1.61, optical_b, ultraviolet_b], far_b)
    return np.where(wavelength < LYMAN_LIMIT_NM, 0.0, rv * a + b)


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
