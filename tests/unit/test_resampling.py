"""The common grid, what it needs of an image, and what resampling does to noise and PSFs."""

import math

import numpy as np
import pytest
from scenes import GALAXY, wcs_of
from scipy.signal import fftconvolve

from dustcast.imaging.psf import find_psf
from dustcast.imaging.resampling import (
    Grid,
    beam_area,
    effective_fwhm,
    footprint,
    galaxy_grid,
    noise_share,
    resample,
    share_of_blocks,
)


def test_grid_is_centred_and_north_is_up():
    grid = galaxy_grid(GALAXY, 18.0, field=1.5, sky_pixels=12)
    assert grid.n % 2 == 1
    # 12 pixels beyond a radius of 60".
    assert grid.n // 2 * 18 >= 60 + 12 * 18
    half = grid.n // 2
    ra, dec = grid.wcs.pixel_to_world_values([half, half, half - 1], [half, half + 1, half])
    assert (ra[0], dec[0]) == pytest.approx((GALAXY.ra, GALAXY.dec))
    assert dec[1] - dec[0] == pytest.approx(18 / 3600, rel=1e-6)
    assert (ra[2] - ra[0]) * math.cos(math.radians(GALAXY.dec)) == pytest.approx(
        18 / 3600, rel=1e-4
    )
    large = galaxy_grid(GALAXY, 1.0, field=1.5, sky_pixels=12)
    assert large.n // 2 >= 0.75 * 120


@pytest.mark.parametrize("pa", [0.0, 35.0, 90.0, 150.0])
def test_elliptical_radius_follows_the_position_angle(pa):
    grid = Grid(10.0, 20.0, 3.0, 41)
    radius = grid.elliptical_radius(pa, 0.5)
    y, x = np.indices(grid.shape) - 20
    east, north = -3.0 * x, 3.0 * y
    along = np.abs(np.degrees(np.arctan2(east, north)) - pa) % 180
    on_major = (np.minimum(along, 180 - along) < 1e-9) & (np.hypot(x, y) > 0)
    assert np.allclose(radius[on_major], np.hypot(east, north)[on_major])
    across = np.abs(along - 90) < 1e-9
    assert np.allclose(radius[across], 2 * np.hypot(east, north)[across])
    area = (grid.elliptical_radius(pa, 0.5, points=9) < 50).sum() * (3.0 / 9) ** 2
    assert area == pytest.approx(math.pi * 50**2 * 0.5, rel=2e-3)


@pytest.mark.parametrize("rotation", [0.0, 23.6, 140.0])
def test_footprint_holds_all_that_the_grid_needs(rotation):
    grid = Grid(GALAXY.ra, GALAXY.dec, 18.0, 21)
    shape = 501, 450
    wcs = wcs_of(shape, 2.0, rotation=rotation)
    part = footprint(wcs, shape, grid, reach=30.0)
    rng = np.random.default_rng(0)
    image = rng.normal(size=shape)
    whole = resample(image[None], wcs, grid, "hann")
    cut = resample(image[part][None], wcs.slice(list(part)), grid, "hann")
    assert np.allclose(whole, cut)
    assert (part[0].stop - part[0].start) < shape[0]
    assert footprint(wcs, shape, Grid(GALAXY.ra + 20, GALAXY.dec, 18.0, 21), 30.0) is None


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_shares_of_blocks_are_those_around_each_pixel(stride):
    mask = np.random.default_rng(1).random((43, 50)) < 0.3
    found = share_of_blocks(lambda rows: mask[rows], mask.shape, stride)
    for i in range(found.shape[0]):
        for j in range(found.shape[1]):
            low = [max(0, stride * k - stride // 2) for k in (i, j)]
            high = [
                n if stride * (k + 1) >= n else stride * (k + 1) - stride // 2
                for k, n in zip((i, j), mask.shape)
            ]
            block = mask[low[0] : high[0], low[1] : high[1]]
            assert found[i, j] == pytest.approx(block.mean())


def line_of(kernel, step, pixel):
    """Return the kernel of reproject along one axis."""
    reach = pixel * (1 if kernel == "hann" else 2.5)
    x = np.arange(-math.ceil(reach / step), math.ceil(reach / step) + 1) * step / pixel
    if kernel == "hann":
        return np.where(np.abs(x) < 1, 1 + np.cos(np.pi * x), 0.0)
    return np.exp(-0.5 * (x / 0.65) ** 2)


@pytest.mark.parametrize("kernel", ["hann", "gaussian"])
@pytest.mark.parametrize(
    ("target", "pixel"), [("SPIRE_250", 18.0), ("SPIRE_500", 12.0), ("SPIRE_500", 100.0)]
)
def test_effective_width_is_that_of_the_psf_seen_through_the_kernel(target, pixel, kernel):
    psf = find_psf(target)
    step = psf.fwhm / 30
    line = line_of(kernel, step, pixel)
    image = psf.image(step, 2 * int(2.5 * max(psf.fwhm, pixel) / step) + 1)
    image = fftconvolve(image, np.outer(line, line) / line.sum() ** 2)
    half = len(image) // 2
    axis = (np.arange(len(image)) - half) * step
    ring = np.rint(np.hypot(axis[:, None], axis) / step).astype(int).ravel()
    profile = np.bincount(ring, image.ravel()) / np.bincount(ring)
    first = np.argmax(profile < image.max() / 2)
    expected = (
        2
        * step
        * np.interp(image.max() / 2, [profile[first], profile[first - 1]], [first, first - 1])
    )
    assert effective_fwhm(psf, pixel, kernel) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("kernel", ["hann", "gaussian"])
def test_noise_share_is_that_of_white_noise(kernel):
    rng = np.random.default_rng(4)
    grid = Grid(GALAXY.ra, GALAXY.dec, 18.0, 61)
    shape = 420, 420
    wcs = wcs_of(shape, 3.0)
    image = rng.normal(size=shape)
    weights = find_psf("Gauss_15").image(3.0, 31)
    smooth = fftconvolve(image, weights, mode="same")
    found = np.var(resample(smooth[None], wcs, grid, kernel)[0][4:-4, 4:-4])
    assert found == pytest.approx(noise_share(weights, 3.0, 1, 18.0, kernel), rel=0.1)


def test_beam_area_is_that_of_the_autocorrelation():
    step = 0.5
    image = find_psf("Gauss_9").image(step, 121)
    correlation = fftconvolve(image, image[::-1, ::-1])
    area = correlation.sum() / correlation.max() * step**2
    assert beam_area(9.0) == pytest.approx(area, rel=5e-3)
