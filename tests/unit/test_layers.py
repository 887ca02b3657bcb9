"""From clean images to layers: flux, place and width of known sources, errors of known noise."""

import math
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from scenes import GALAXY, clean, disc, native, offsets, point_source, wcs_of

from dustcast.bands import band_table
from dustcast.imaging import layers as module
from dustcast.imaging.clean import clean_band
from dustcast.imaging.convolution import Convolver
from dustcast.imaging.images import read_clean, write_clean
from dustcast.imaging.layers import (
    Scale,
    Settings,
    grid_of,
    make_layers,
    planes_at,
    scale_of,
)
from dustcast.imaging.matching import find_kernel
from dustcast.imaging.psf import find_psf, psf_table
from dustcast.sample import kernel_pairs
from dustcast.tables import DataError

SETTINGS = Settings()
SCALES = {
    "18arcsec": Scale("18arcsec", "SPIRE_250", 18.0, ("x",)),
    "25arcsec": Scale("25arcsec", "SPIRE_350", 25.0, ("x",)),
    "36arcsec": Scale("36arcsec", "SPIRE_500", 36.0, ("x",)),
    "6.7arcsec": Scale("6.7arcsec", "WISE_12", 6.7, ("x",)),
    "global": Scale("global", "SPIRE_500", 18.0, ("x",)),
}
BANDS = [band for band in psf_table() if band != "Spitzer_160"]
# One band of each pixel size, and the two that are hardest to match.
QUICK = ["GALEX_NUV", "SDSS_r", "WISE_12", "WISE_22", "Spitzer_3.6", "PACS_160", "SPIRE_250"]


def reaches(band, scale):
    """Return whether the plan gives the band to a scale."""
    widths = [band_table()[name].fwhm_arcsec for name in (band, scale.target)]
    return widths[0] <= 1.05 * widths[1]


def noisy(layer_input, rng, sigma=1e-3):
    """Add noise enough that the sky has a scatter."""
    layer_input.data += rng.normal(0, sigma, layer_input.data.shape).astype(np.float32)
    return layer_input


def layer_of(image, scale, settings=SETTINGS, galaxy=GALAXY):
    return make_layers(image, [scale], galaxy, settings)[scale.name]


def moments(flux, grid):
    """Return the sum in MJy/sr arcsec2 and the centroid in pixels from the centre."""
    values = np.nan_to_num(flux)
    axis = np.arange(grid.n) - grid.n // 2
    total = values.sum()
    centroid = (values.sum(axis=0) @ axis / total, values.sum(axis=1) @ axis / total)
    return total * grid.pixel**2, centroid


def check_sources(band, scale):
    """Push a point source and a disc through, and compare flux and centroid."""
    grid = grid_of(GALAXY, scale, SETTINGS)
    side = 2 * (grid.n // 2) * grid.pixel + 10 * find_psf(scale.target).fwhm
    side = max(side, 8 * find_psf(band).fwhm)
    side = min(side, 1500 * band_table()[band].pixel_arcsec)
    place = {"east": 0.31 * scale.pixel, "north": -0.42 * scale.pixel}
    found = layer_of(point_source(band, side, rotation=23.6, **place), scale)
    assert not found.why, found.why
    total, (x, y) = moments(found.flux, grid)
    assert total == pytest.approx(1e4, rel=5e-3)
    assert x * scale.pixel == pytest.approx(-place["east"], abs=0.1 * scale.pixel)
    assert y * scale.pixel == pytest.approx(place["north"], abs=0.1 * scale.pixel)
    image, flux = disc(band, side, 1.6 * scale.pixel, offset=(0.3, -0.2), **place)
    total, (x, y) = moments(layer_of(image, scale).flux, grid)
    assert total == pytest.approx(flux, rel=5e-3)
    assert x * scale.pixel == pytest.approx(-place["east"], abs=0.1 * scale.pixel)
    assert y * scale.pixel == pytest.approx(place["north"], abs=0.1 * scale.pixel)


@pytest.mark.parametrize("band", QUICK)
def test_flux_and_centroid_are_kept(band):
    check_sources(band, SCALES["18arcsec"])


@pytest.mark.science
@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("band", BANDS)
def test_flux_and_centroid_are_kept_by_all_bands_at_all_scales(band, name):
    if reaches(band, SCALES[name]):
        check_sources(band, SCALES[name])


def fitted_width(radius, values, fwhm):
    """Return the width at half maximum of a core, by a polynomial in the radius squared."""
    core = radius < 0.75 * fwhm
    line = np.polynomial.Polynomial.fit(radius[core] ** 2, values[core], 6)
    square = np.linspace(0, (0.75 * fwhm) ** 2, 20001)
    return 2 * math.sqrt(square[np.argmax(line(square) < line(0.0) / 2)])


# The five bands of SDSS have one PSF and one pixel size.
@pytest.mark.parametrize("target", ["SPIRE_250", "SPIRE_350", "SPIRE_500"])
@pytest.mark.parametrize("band", [b for b in BANDS if b[:4] != "SDSS" or b == "SDSS_r"])
def test_convolved_images_have_the_width_of_the_target(band, target):
    scale = Scale("x", target, 36.0, ())
    if not reaches(band, scale):
        return
    psf = find_psf(target)
    pixel = band_table()[band].pixel_arcsec
    side = min(8 * psf.fwhm, 500 * pixel)
    image = point_source(band, side, east=0.2 * pixel, north=0.37 * pixel)
    kernel = find_kernel(band, target, pixel=pixel)
    if kernel.is_identity:
        # MIPS 70 is left 3% wide at most; others are the target themselves.
        assert find_psf(band).fwhm == pytest.approx(psf.fwhm, rel=0.03)
        return
    weights = kernel.sampled(pixel, pixel)
    values = Convolver(image.data, reach=weights.shape).convolve(weights)
    x, y = offsets(image.wcs, image.data.shape)
    radius = np.hypot(x - 0.2 * pixel, y - 0.37 * pixel).ravel()
    found = fitted_width(radius, values.ravel(), psf.fwhm)
    expected = fitted_width(radius, psf.profile(radius), psf.fwhm)
    assert found == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("form", ["cd", "pc"])
def test_strides_and_parts_keep_the_coordinates(form):
    shape = 41, 60
    wcs = wcs_of(shape, 1.5, rotation=17, form=form)
    part = slice(4, 38), slice(7, 52)
    other = module.resampling.part_of(wcs, part, 4)
    x, y = np.array([0.0, 3.0, 8.0]), np.array([1.0, 0.0, 6.0])
    found = other.pixel_to_world_values(x, y)
    expected = wcs.pixel_to_world_values(7 + 4 * x, 4 + 4 * y)
    assert np.allclose(found, expected, rtol=0, atol=1e-10)


# ---------------------------------------------------------------------------------------------
# Errors


def scatter_and_error(band, scale, n, seed=0):
    """Return the scatter of n realisations of noise, and the mean of the errors given for them."""
    rng = np.random.default_rng(seed)
    grid = grid_of(GALAXY, scale, SETTINGS)
    _, shape, wcs = native(band, grid.n * grid.pixel + 2 * 90, rotation=10)
    fluxes, errors = [], []
    for _ in range(n):
        layer = layer_of(clean(band, rng.normal(0, 1, shape), wcs), scale)
        fluxes.append(layer.flux)
        errors.append(layer.info["DC_RMS"][0])
    return np.nanstd(np.stack(fluxes), axis=0, ddof=1), np.array(errors)


@pytest.mark.parametrize("band", ["GALEX_NUV", "WISE_12", "SPIRE_250"])
def test_errors_are_the_scatter_of_noise(band):
    scatter, errors = scatter_and_error(band, SCALES["18arcsec"], 12)
    typical = math.sqrt(np.nanmean(scatter**2))
    assert errors.mean() == pytest.approx(typical, rel=0.05)
    # What a single image gives.
    assert np.abs(errors / typical - 1).max() < 0.1


@pytest.mark.science
@pytest.mark.parametrize("kernel", ["hann", "gaussian"])
@pytest.mark.parametrize("name", ["18arcsec", "36arcsec", "global"])
@pytest.mark.parametrize("band", ["GALEX_NUV", "WISE_12", "PACS_160", "SPIRE_250"])
def test_errors_are_the_scatter_of_100_realisations(band, name, kernel, monkeypatch):
    monkeypatch.setattr("test_layers.SETTINGS", Settings(resampling=kernel))
    scatter, errors = scatter_and_error(band, SCALES[name], 100)
    typical = math.sqrt(np.nanmean(scatter**2))
    assert errors.mean() == pytest.approx(typical, rel=0.1)
    assert np.sqrt(np.mean((errors / typical - 1) ** 2)) < 0.1
    # The same everywhere on the grid, to the accuracy of 100 realisations (7%).
    assert np.nanstd(scatter / typical) < 0.12


def test_calibration_and_extinction_errors_are_fractions_of_the_flux():
    image = point_source("GALEX_FUV", 700, flux=1e5)
    image.cards["DC_EBVERR"] = 0.01
    layer = layer_of(noisy(image, np.random.default_rng(1)), SCALES["18arcsec"])
    seen = np.isfinite(layer.flux)
    assert np.allclose(layer.parts["CAL"][seen], 0.045 * np.abs(layer.flux[seen]))
    # Half of the way from one sigma less to one sigma more.
    share = (10 ** (0.4 * 7.9 * 0.01) - 10 ** (-0.4 * 7.9 * 0.01)) / 2
    assert np.allclose(
        layer.parts["EXT"][seen], share * np.abs(layer.flux[seen]), rtol=1e-3, atol=0
    )


@pytest.mark.parametrize("band", ["PACS_100", "SPIRE_250"])
@pytest.mark.parametrize("kernel", ["hann", "gaussian"])
def test_photon_noise(band, kernel):
    settings = Settings(poisson=True, resampling=kernel)
    gain, level = 40.0, 2.5
    rng = np.random.default_rng(5)
    scale = SCALES["18arcsec"]
    _, shape, wcs = native(band, 1100)
    fluxes = []
    for _ in range(12):
        image = clean(band, rng.poisson(gain * level, shape) / gain, wcs, DC_GAIN=gain)
        layer = layer_of(image, scale, settings)
        fluxes.append(layer.flux)
    scatter = math.sqrt(np.nanmean(np.var(np.stack(fluxes), axis=0, ddof=1)))
    assert np.nanmean(layer.parts["POIS"]) == pytest.approx(scatter, rel=0.05)
    # Off by default, and where the gain is unknown.
    assert "POIS" not in layer_of(image, scale).parts
    del image.cards["DC_GAIN"]
    assert "POIS" not in layer_of(image, scale, settings).parts


@pytest.mark.parametrize(
    "n", [15, pytest.param(100, marks=pytest.mark.science)], ids=["few", "many"]
)
def test_photons_of_raw_counts_become_errors(tmp_path, n):
    """Draws of GALEX counts with an exposure time, cleaned and brought to 18 arcsec."""
    exposure, dim = 100.0, replace(GALAXY, ebv=0.1, ebv_err=0.0)
    _, shape, wcs = native("GALEX_NUV", 700)
    east, north = offsets(wcs, shape)
    inside = np.hypot(east, north) < 40
    rates = 0.002 + np.where(inside, 0.02, 0.0)
    rng = np.random.default_rng(6)
    cards = wcs.to_header()
    cards.update({"BUNIT": "ct/s", "EXPTIME": exposure})
    fluxes, stated = [], []
    for _ in range(n):
        path = tmp_path / "raw.fits"
        counts = rng.poisson(exposure * rates) / exposure
        fits.PrimaryHDU(counts.astype(np.float32), cards).writeto(path, overwrite=True)
        raw = clean_band(path, "GALEX_NUV", dim, [])
        write_clean(tmp_path / "clean.fits", raw)
        settings = Settings(poisson=True)
        layer = layer_of(read_clean(tmp_path / "clean.fits"), SCALES["18arcsec"], settings)
        fluxes.append(layer.flux)
        # The photons of the sky are in the background's scatter.
        stated.append(np.hypot(layer.parts["POIS"], layer.parts["RMS"]))
    half = len(layer.flux) // 2
    core = (slice(half - 1, half + 2),) * 2
    scatter = math.sqrt(np.mean(np.var(np.stack(fluxes), axis=0, ddof=1)[core]))
    assert np.mean(np.stack(stated)[:, *core]) == pytest.approx(scatter, rel=0.1 if n > 50 else 0.2)
    # Most of it is the source's own: without it the error is far too small.
    assert layer.parts["RMS"][half, half] < 0.6 * scatter


# ---------------------------------------------------------------------------------------------
# Holes and edges


def test_partly_covered_pixels_are_missing():
    _, shape, wcs = native("WISE_12", 900)
    rng = np.random.default_rng(2)
    image = rng.normal(3, 0.1, shape)
    east, _ = offsets(wcs, shape)
    image[east > 40] = np.nan
    layer = layer_of(clean("WISE_12", image, wcs), SCALES["18arcsec"])
    grid = grid_of(GALAXY, SCALES["18arcsec"], SETTINGS)
    east = -(np.arange(grid.n) - grid.n // 2) * grid.pixel
    # A Hann kernel reaches one pixel: beyond the edge there is nothing, well inside all is there.
    assert np.isnan(layer.flux[:, east > 40]).all()
    assert np.isfinite(layer.flux[:, east < 40 - 18]).all()
    assert np.nanmax(np.abs(layer.flux - 3)) < 0.1
    assert np.all(np.isfinite(layer.flux) == (layer.cover >= 0.9))


def test_stars_are_interpolated_and_counted():
    _, shape, wcs = native("WISE_3.4", 900)
    rng = np.random.default_rng(2)
    image = rng.normal(3, 0.01, shape)
    east, north = offsets(wcs, shape)
    star = np.hypot(east - 36, north) < 20
    image[star] = np.nan
    found = clean("WISE_3.4", image, wcs, stars=star.astype(np.uint8))
    layer = layer_of(found, SCALES["18arcsec"])
    assert np.isfinite(layer.flux).all()
    assert np.abs(layer.flux - 3).max() < 0.1
    half = len(layer.flux) // 2
    assert layer.star[half, half - 2] > 0.8
    assert layer.star[half, half + 5] == 0
    assert layer.star.sum() * 18**2 == pytest.approx(math.pi * 20**2, rel=0.05)
    # A hole without a star is no cover.
    found.stars[:] = False
    assert np.isnan(layer_of(found, SCALES["18arcsec"]).flux[half, half - 2])


def test_masked_stars_in_an_image_that_is_not_convolved():
    _, shape, wcs = native("SPIRE_250", 1500)
    rng = np.random.default_rng(2)
    image = rng.normal(3, 0.01, shape)
    star = np.zeros(shape, np.uint8)
    star[120:122, 120:122] = 1
    image[star > 0] = np.nan
    layer = layer_of(clean("SPIRE_250", image, wcs, stars=star), SCALES["18arcsec"])
    assert np.abs(layer.flux - 3).max() < 0.1


def test_images_in_other_frames_find_the_galaxy():
    from astropy.coordinates import SkyCoord

    centre = SkyCoord(GALAXY.ra, GALAXY.dec, unit="deg").galactic
    shape = 301, 301
    wcs = wcs_of(shape, 3.0)
    wcs.wcs.ctype = "GLON-TAN", "GLAT-TAN"
    wcs.wcs.crval = centre.l.deg, centre.b.deg
    y, x = np.indices(shape)
    psf = find_psf("PACS_100")
    image = clean("PACS_100", 1e4 * psf.profile(np.hypot(x - 150, y - 150) * 3.0), wcs)
    scale = SCALES["18arcsec"]
    _, (x, y) = moments(layer_of(image, scale).flux, grid_of(GALAXY, scale, SETTINGS))
    assert abs(x) < 0.02
    assert abs(y) < 0.02


def test_what_gives_nothing_says_why():
    pixel, shape, wcs = native("WISE_12", 900)
    image = clean("WISE_12", np.zeros(shape), wcs)
    image.wcs.wcs.crval = GALAXY.ra, GALAXY.dec + 3
    assert "does not cover the galaxy" in layer_of(image, SCALES["18arcsec"]).why
    wcs = wcs_of(shape, pixel)
    image = clean("WISE_12", np.full(shape, np.nan), wcs)
    assert "no valid pixel" in layer_of(image, SCALES["18arcsec"]).why
    assert "wider than the target" in layer_of(image, Scale("x", "GALEX_FUV", 18.0, ())).why
    # An image of little more than the galaxy leaves no sky.
    small = clean("WISE_12", np.zeros((110, 110)), wcs_of((110, 110), pixel))
    assert "pixels of sky around the galaxy" in layer_of(small, SCALES["18arcsec"]).why


# ---------------------------------------------------------------------------------------------
# The plan


def test_scales_of_the_plan():
    row = {
        "scale": "18arcsec",
        "target_psf": "SPIRE_250",
        "pixel_arcsec": "18.0",
        "bands_full": "WISE_3.4;SPIRE_250",
    }
    assert scale_of(row) == Scale("18arcsec", "SPIRE_250", 18.0, ("WISE_3.4", "SPIRE_250"))
    row |= {"scale": "global", "target_psf": "", "bands_full": "WISE_3.4;SPIRE_500;IRAS_60"}
    whole = scale_of(row)
    assert (whole.target, whole.bands) == ("SPIRE_500", ("WISE_3.4", "SPIRE_500"))
    assert whole.pixel == pytest.approx(find_psf("SPIRE_500").fwhm / 2)


def test_one_pass_gives_what_single_scales_give():
    rng = np.random.default_rng(3)
    image = noisy(point_source("SDSS_r", 500, east=20), rng)
    scales = [SCALES[name] for name in ("18arcsec", "36arcsec", "6.7arcsec")]
    together = make_layers(image, scales, GALAXY, SETTINGS)
    for scale in scales:
        alone = layer_of(image, scale)
        assert not together[scale.name].why
        peak = np.nanmax(alone.flux)
        assert np.allclose(together[scale.name].flux, alone.flux, atol=1e-5 * peak, equal_nan=True)


def test_maps_go_the_way_of_images():
    rng = np.random.default_rng(4)
    images = [
        noisy(point_source("SDSS_r", 400, east=e, north=n), rng) for e, n in ((20, 0), (0, 9))
    ]
    scales = [SCALES[name] for name in ("18arcsec", "36arcsec")]
    data = [image.data for image in images]
    planes = planes_at(data, data[0].shape, images[0].wcs, "SDSS_r", scales, GALAXY, SETTINGS)
    for scale in scales:
        for image, plane in zip(images, planes[scale.name], strict=True):
            flux = layer_of(image, scale).flux
            assert np.isfinite(flux).any()
            assert np.allclose(plane, flux, atol=1e-5 * np.nanmax(flux), equal_nan=True)


def test_maps_that_are_elsewhere_or_too_wide_give_nothing():
    image = point_source("SPIRE_500", 300)
    found = planes_at(
        [image.data],
        image.data.shape,
        image.wcs,
        "SPIRE_500",
        [SCALES["18arcsec"]],
        GALAXY,
        SETTINGS,
    )
    assert found == {"18arcsec": None}


def test_kernels_of_the_plan():
    rows = [
        {"scale": "18arcsec", "target_psf": "SPIRE_250", "bands_full": "WISE_3.4;SPIRE_250"},
        {"scale": "global", "target_psf": "", "bands_full": "WISE_3.4;SPIRE_500;IRAS_60"},
    ]
    assert kernel_pairs(rows) == [
        ("SPIRE_250", "SPIRE_250"),
        ("SPIRE_500", "SPIRE_500"),
        ("WISE_3.4", "SPIRE_250"),
        ("WISE_3.4", "SPIRE_500"),
    ]


def test_a_kernel_that_fails_leaves_out_one_scale(monkeypatch):
    real = module.find_kernel

    def faulty(band, target, **options):
        if target == "SPIRE_350":
            raise DataError("no such kernel")
        return real(band, target, **options)

    module._kernel.cache_clear()
    monkeypatch.setattr(module, "find_kernel", faulty)
    image = noisy(point_source("WISE_12", 900), np.random.default_rng(0))
    found = make_layers(image, [SCALES["18arcsec"], SCALES["25arcsec"]], GALAXY, SETTINGS)
    module._kernel.cache_clear()
    assert not found["18arcsec"].why
    assert found["25arcsec"].why == "no such kernel"
