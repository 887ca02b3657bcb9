"""Attenuation curves against the published formulas, by hand."""

import math

import numpy as np
import pytest

from dustcast.sed import attenuation


def calzetti_by_hand(nm):
    """Calzetti et al. (2000), Eq. 4, with R_V = 4.05 and wavelengths in micron."""
    um = nm / 1000
    if um < 0.63:
        return 2.659 * (-2.156 + 1.509 / um - 0.198 / um**2 + 0.011 / um**3) + 4.05
    return 2.659 * (-1.857 + 1.040 / um) + 4.05


def leitherer_by_hand(nm):
    """Leitherer et al. (2002), Eq. 14."""
    um = nm / 1000
    return 5.472 + 0.671 / um - 9.218e-3 / um**2 + 2.620e-3 / um**3


def curve_by_hand(nm, slope=0.0, amplitude=0.0, centre=217.5, width=35.0):
    """The starburst curve times a power law plus a bump, scaled to keep E(B-V); floor at 0."""

    def raw(at, slope, amplitude):
        k = leitherer_by_hand(at) if at < 150 else calzetti_by_hand(at)
        drude = amplitude * (at * width) ** 2 / ((at**2 - centre**2) ** 2 + (at * width) ** 2)
        return k * (at / 550) ** slope + drude

    if nm < 91.2:
        return 0.0
    plain = raw(440, 0, 0) - raw(550, 0, 0)
    changed = raw(440, slope, amplitude) - raw(550, slope, amplitude)
    return max(raw(nm, slope, amplitude), 0.0) * plain / changed


def test_published_values():
    """k of the formulas by pocket calculator; R_V is 4.05 and k(B) - k(V) about 1."""
    at = np.array([150.0, 440.0, 550.0, 2200.0])
    expected = [10.33391, 5.06030, 4.04789, 0.36922]
    np.testing.assert_allclose(attenuation.calzetti(at), expected, atol=2e-4)
    np.testing.assert_allclose(attenuation.leitherer([120.0, 150.0]), [11.9397, 10.3119], atol=1e-4)
    # The two formulas meet within 0.3% where CIGALE passes from one to the other.
    assert attenuation.leitherer(150.0) == pytest.approx(attenuation.calzetti(150.0), rel=3e-3)


@pytest.mark.parametrize(
    "options",
    [(0.0, 0.0), (-0.5, 0.0), (-0.25, 0.0), (0.0, 3.0), (-0.5, 3.0, 220.0, 50.0), (0.3, 1.0)],
)
def test_calzleit_by_hand(options):
    wavelength = np.array(
        [
            10,
            91.1,
            91.2,
            97,
            120,
            149.99,
            150,
            153,
            217.5,
            300,
            440,
            550,
            630,
            900,
            1250,
            2200,
            4000,
        ]
    )
    expected = [curve_by_hand(nm, *options) for nm in wavelength]
    np.testing.assert_allclose(attenuation.calzleit(wavelength, *options), expected, rtol=1e-12)


@pytest.mark.parametrize("slope", [-0.5, -0.25, 0.0, 0.4])
@pytest.mark.parametrize("amplitude", [0.0, 3.0])
def test_colour_excess_is_kept_under_slope_and_bump(slope, amplitude):
    """A(B) - A(V) is that of the starburst curve, 1.012 E(B-V)."""
    blue, visual = attenuation.calzleit([440.0, 550.0], slope, amplitude)
    plain = calzetti_by_hand(440) - calzetti_by_hand(550)
    assert blue - visual == pytest.approx(plain, rel=1e-12)
    assert plain == pytest.approx(1.0124, abs=1e-4)


def test_no_attenuation_below_the_lyman_limit_and_never_negative():
    wavelength = np.geomspace(5, 1e6, 2000)
    for curve in (
        attenuation.calzleit(wavelength),
        attenuation.calzleit(wavelength, -0.5, 3.0),
        attenuation.powerlaw(wavelength),
        attenuation.powerlaw(wavelength, -1.3, 3.0),
    ):
        assert (curve[wavelength < 91.2] == 0).all()
        assert (curve >= 0).all()
    # The formula of Calzetti et al. crosses zero at 3.11 micron: 1.040 / (1.857 - 4.05 / 2.659).
    zero = 1040 / (1.857 - 4.05 / 2.659)
    assert zero == pytest.approx(3115, abs=1)
    outside = (wavelength < 91.2) | (wavelength > zero)
    np.testing.assert_array_equal(attenuation.calzleit(wavelength) == 0, outside)


@pytest.mark.parametrize("rv", [2.5, 3.1, 5.0])
def test_milky_way_is_that_of_another_library(rv):
    from astropy import units
    from dust_extinction.parameter_averages import CCM89

    wavelength = np.geomspace(101.0, 3300.0, 400)
    expected = rv * CCM89(Rv=rv)(wavelength * units.nm)
    np.testing.assert_allclose(attenuation.milky_way(wavelength, rv), expected, rtol=1e-10)
    assert attenuation.milky_way(np.array([90.0]))[0] == 0
    far = attenuation.milky_way(np.array([1e4, 1e5]), rv)
    assert far[1] / far[0] == pytest.approx(10**-1.61)


def test_bump_has_its_height_at_its_centre_and_its_width():
    """The Drude profile falls to half where lambda^2 - centre^2 = +-lambda width."""
    assert attenuation.bump(217.5, 217.5, 35.0, 3.0) == pytest.approx(3.0, rel=1e-14)
    for sign in (1, -1):
        half = sign * 35 / 2 + math.sqrt(35**2 / 4 + 217.5**2)
        assert attenuation.bump(half, 217.5, 35.0, 3.0) == pytest.approx(1.5, rel=1e-12)


def test_powerlaw_by_hand():
    wavelength = np.array([90.0, 100.0, 217.5, 550.0, 2200.0])
    drude = [0, 0, 2.0, 0, 0]
    for k in (1, 3, 4):
        nm = wavelength[k]
        drude[k] = 2.0 * (nm * 35) ** 2 / ((nm**2 - 217.5**2) ** 2 + (nm * 35) ** 2)
    expected = [0.0] + [(nm / 550) ** -0.7 + d for nm, d in zip(wavelength[1:], drude[1:])]
    curve = attenuation.powerlaw(wavelength, -0.7, 2.0, 217.5, 35.0)
    np.testing.assert_allclose(curve, expected, rtol=1e-12)
    assert attenuation.powerlaw([550.0])[0] == 1.0
