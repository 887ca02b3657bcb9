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


def line(n):
    return np.arange(n), np.zeros(n)


@pytest.mark.parametrize(("shared", "own"), [(0.3, 0.35), (0.0, 0.4), (0.3, 0.0)])
def test_total_and_error_are_those_of_draws(shared, own):
    part = values(300, shared, own)
    # So short a length that no pixel knows of another.
    found = totals.total(part, *line(300), 0.01)
    n_draws = 4000
    common = RNG.normal(size=(n_draws, 1)) * shared
    drawn = part["value"] * 10 ** (common + own * RNG.normal(size=(n_draws, 300)))
    log_sum = np.log10(drawn.sum(axis=1))
    # The median of the draws is the stated total; the galaxy's part does not shift it.
    assert math.log10(found["total"]) == pytest.approx(np.median(log_sum), abs=0.02)
    assert found["error_dex"] == pytest.approx(np.std(log_sum), rel=0.08)
    assert found["error_independent_dex"] <= found["error_dex"] * 1.1
    assert found["n_independent"] == pytest.approx(300)


def test_error_of_pixels_that_are_alike_nearby_is_that_of_draws():
    part = values(400, 0.0, 0.3)
    y, x = np.divmod(np.arange(400), 20)
    length = 1.5
    distance = np.hypot(x[:, None] - x, y[:, None] - y)
    root = np.linalg.cholesky(np.exp(-distance / length) + 1e-12 * np.eye(400))
    drawn = part["value"] * 10 ** (0.3 * RNG.normal(size=(4000, 400)) @ root.T)
    found = totals.total(part, x, y, length)
    spread = np.std(np.log10(drawn.sum(axis=1)))
    assert found["error_pixel_dex"] == pytest.approx(spread, rel=0.06)
    assert found["error_pixel_dex"] > 2 * totals.total(part, x, y, 0.01)["error_pixel_dex"]
    assert 400 / 20 < found["n_independent"] < 400 / 5
    # A single pixel is its own sum.
    one = totals.total(part.rows(np.array([3])), [7], [2], length)
    factor = np.expm1((0.3 * np.log(10)) ** 2)
    assert one["error_pixel_dex"] == pytest.approx(np.sqrt(factor) / np.log(10))


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
