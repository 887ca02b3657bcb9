"""Sums over pixels: against draws of correlated log-normal errors, and limits."""

import math

import numpy as np
import pytest

from dustcast.maps import totals
from dustcast.tables import Table

RNG = np.random.default_rng(11)


def values(n, shared, own):
    return Table(
        {
            "value": RNG.lognormal(0, 0.7, n),
            "sigma_galaxy": np.full(n, shared),
            "sigma_pixel": np.full(n, own),
        }
    )


@pytest.mark.parametrize(("shared", "own"), [(0.3, 0.35), (0.0, 0.4), (0.3, 0.0)])
def test_total_and_error_are_those_of_draws(shared, own):
    part = values(300, shared, own)
    found = totals.total(part, 1.0)
    n_draws = 4000
    common = RNG.normal(size=(n_draws, 1)) * shared
    drawn = part["value"] * 10 ** (common + own * RNG.normal(size=(n_draws, 300)))
    log_sum = np.log10(drawn.sum(axis=1))
    # The median of the draws is the stated total; the galaxy's part does not shift it.
    assert math.log10(found["total"]) == pytest.approx(np.median(log_sum), abs=0.02)
    assert found["error_dex"] == pytest.approx(np.std(log_sum), rel=0.08)
    assert found["error_independent_dex"] <= found["error_dex"] * 1.1


def test_error_of_pixels_that_vary_together():
    part = values(400, 0.0, 0.2)
    block = totals.total(part, 16.0)
    together = Table(
        {
            "value": np.full(400, 1.0),
            "sigma_galaxy": np.zeros(400),
            "sigma_pixel": np.full(400, 0.2),
        }
    )
    drawn = 10 ** (0.2 * np.repeat(RNG.normal(size=(4000, 25)), 16, axis=1))
    found = totals.total(together, 16.0)
    assert found["error_pixel_dex"] == pytest.approx(np.std(np.log10(drawn.sum(axis=1))), rel=0.08)
    assert found["n_independent"] == 25
    assert block["error_pixel_dex"] == pytest.approx(4 * totals.total(part, 1.0)["error_pixel_dex"])


def test_correlated_pixels_are_the_area_of_the_correlation():
    # White noise behind a Gaussian PSF of 3 pixels: the sum of its correlation over all lags.
    fwhm, pixel = 7.0, 1.0
    sigma = fwhm / 2.3548200450309493
    axis = np.arange(-40, 41)
    lag2 = axis[:, None] ** 2 + axis[None, :] ** 2
    area = np.exp(-lag2 / (4 * sigma**2)).sum()
    assert totals.correlated_pixels(fwhm, pixel) == pytest.approx(area, rel=1e-3)
    assert totals.correlated_pixels(1.0, 18.0) == 1


def test_masses_and_the_stars_part_of_their_error():
    predictions = Table(
        {
            "sMd": np.array([-2.0, -3.0]),
            "sMd_sigma_galaxy": np.array([0.3, 0.3]),
            "sMd_sigma_pixel": np.array([0.2, 0.1]),
            "sLd": np.array([-1.0, -1.0]),
            "sLd_sigma_galaxy": np.array([0.1, 0.1]),
            "sLd_sigma_pixel": np.array([0.1, 0.1]),
        }
    )
    short = Table(
        {
            "bayes.stellar.m_star": np.array([1e8, 1e9]),
            "bayes.stellar.m_star_err": np.array([0.0, 0.4e9 * np.log(10)]),
            "bayes.stellar.lum": np.full(2, 3.828e26),
            "bayes.stellar.lum_err": np.zeros(2),
        }
    )
    stars = {
        "sMd": {"factor": 0.5, "correlation": -0.5},
        "sLd": {"factor": 1.0, "correlation": 0.0},
    }
    mass = totals.extensive(predictions, short, "dust_mass", stars)
    np.testing.assert_allclose(mass["value"], [1e6, 1e6])
    np.testing.assert_allclose(mass["sigma_galaxy"], [0.3, np.sqrt(0.09 + 0.04 - 0.06)])
    np.testing.assert_allclose(mass["sigma_pixel"], [0.2, 0.1])
    light = totals.extensive(predictions, short, "dust_luminosity", stars)
    np.testing.assert_allclose(light["value"], 0.1)
