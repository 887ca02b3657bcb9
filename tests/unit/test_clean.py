"""Sky, extinction, and the whole of cleaning, against images whose truth is known."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits
from sky_images import GALAXY, header, tangent, write

from dustcast.imaging.clean import STAGE, clean_band, clean_bands
from dustcast.imaging.extinction import extinction_factor
from dustcast.imaging.geometry import elliptical_radius
from dustcast.imaging.images import pixel_areas, read_clean, write_clean
from dustcast.imaging.sky import fit_sky
from dustcast.imaging.stars import Aperture
from dustcast.tables import DataError

SHAPE = (300, 320)
PIXEL = 3.0
SETTINGS = {"polynomial_order": 5, "flattening": 1.1, "ellipse": 2.0}


@pytest.fixture(scope="module")
def radius():
    return elliptical_radius(tangent(SHAPE, PIXEL), SHAPE, GALAXY)


def disc(radius, peak=50.0):
    """Return an exponential disc, 3 scale lengths in D25's ellipse, cut where the mask ends."""
    return np.where(radius < 2, peak * np.exp(-3 * radius), 0)


def polynomial(shape, size):
    """Return a sky with structure of the fifth order, in other coordinates than the code's."""
    y, x = (np.linspace(0, 1, n) for n in shape)
    y, x = y[:, None], x[None, :]
    return 7 + size * (3 * x - 2 * y + 6 * x * y**2 - 9 * x**3 * y**2 + 4 * y**5 - 3 * x**4)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_polynomial_sky_is_recovered(radius, order):
    rng = np.random.default_rng(order)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / 300.0
    truth = {1: 3 + 4 * x - y, 2: 2 - 5 * x * y + 3 * y**2, 5: polynomial(SHAPE, 2.0)}[order]
    data = truth + disc(radius) + rng.normal(0, 0.3, SHAPE)
    sky = fit_sky(data, radius, PIXEL)
    assert sky.method == "poly"
    assert sky.flattening > 1.1
    off = sky.model(SHAPE) - truth
    # Noise alone gives 0.3 sqrt(21 / 80,000 pixels) = 0.005 in the mean, more in corners.
    assert np.abs(off[radius > 2]).max() < 0.05
    assert np.abs(np.mean(off[radius < 1])) < 0.03


def test_level_is_taken_of_a_flat_sky(radius):
    rng = np.random.default_rng(2)
    data = 7 + rng.normal(0, 0.3, SHAPE)
    data += disc(radius)
    sky = fit_sky(data, radius, PIXEL)
    assert sky.method == "level"
    assert sky.flattening == pytest.approx(1, abs=0.02)
    # The ring has 1100 blocks of 3 arcsec: its median is known to 1.25 x 0.3 / sqrt(n).
    n_ring = ((radius > 2) & (radius < 3.2)).sum()
    assert sky.level == pytest.approx(7, abs=4 * 1.25 * 0.3 / np.sqrt(n_ring) + 0.02)
    assert sky.rms == pytest.approx(0.3 / sky.block, rel=0.05)
    assert sky.model(SHAPE) == pytest.approx(np.full(SHAPE, sky.level))


def test_sources_do_not_raise_the_level(radius):
    rng = np.random.default_rng(3)
    data = 7 + rng.normal(0, 0.3, SHAPE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for _ in range(120):
        centre = rng.uniform(0, 300, 2)
        data += 20 * np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * 2.0**2))
    assert np.mean(data[radius > 2]) > 7.3
    # 300 sigma of the ring's noise below that; the wings that stay are below a tenth of sigma.
    assert fit_sky(data, radius, PIXEL).level == pytest.approx(7, abs=0.03)


def test_level_is_that_around_the_galaxy(radius):
    rng = np.random.default_rng(4)
    data = np.where(radius < 4, 5.0, 5.4) + rng.normal(0, 2.0, SHAPE)
    sky = fit_sky(data, radius, PIXEL, order=0)
    assert sky.level == pytest.approx(5.0, abs=0.08)
    assert np.isnan(sky.flattening)


def faint_wings(radius, seed):
    """Return a sky of 5 with the wings of a small galaxy, far below the noise of a pixel."""
    wings = 0.6 * np.minimum(radius / 2, 10) ** -3.0
    return 5 + wings + np.random.default_rng(seed).normal(0, 0.5, SHAPE)


def test_ring_moves_out_of_the_wings_of_a_small_galaxy():
    small = dataclasses.replace(GALAXY, d25_arcsec=60.0)
    radius = elliptical_radius(tangent(SHAPE, PIXEL), SHAPE, small)
    data = faint_wings(radius, 7)
    near = data[(radius > 2) & (radius <= 3.2)].mean()
    assert near > 5.25
    sky = fit_sky(data, radius, PIXEL, order=0)
    assert sky.ring > 3
    # What the wings still have at the ring's inner edge: 0.6 (ring / 2)^-3.
    assert sky.level - 5 < 0.6 * (sky.ring / 2) ** -3 + 0.02


def test_ring_stays_where_the_sky_is_not_darker_all_around(radius):
    # A bank of cirrus over one half of the near ring is sky, and in front of the galaxy as well.
    rng = np.random.default_rng(8)
    x = np.mgrid[: SHAPE[0], : SHAPE[1]][1]
    data = 5 + rng.normal(0, 0.5, SHAPE) + np.where((radius < 3.2) & (x > SHAPE[1] / 2), 0.3, 0)
    assert fit_sky(data, radius, PIXEL, order=0).ring == 2
    # A sky that is brightest at the galaxy.
    y = np.mgrid[: SHAPE[0], : SHAPE[1]][0]
    dome = 5 - 1.5 * (np.hypot(x - SHAPE[1] / 2, y - SHAPE[0] / 2) / 150) ** 2
    assert fit_sky(dome + rng.normal(0, 0.5, SHAPE), radius, PIXEL, order=0).ring == 2
    for seed in range(20):
        flat = 5 + np.random.default_rng(seed).normal(0, 0.5, SHAPE)
        assert fit_sky(flat, radius, PIXEL, order=0).level == pytest.approx(5, abs=0.03)


def test_few_photons(radius):
    # 0.05 photons a pixel: the median of pixels is 0, their mean is the sky.
    data = np.random.default_rng(5).poisson(0.05, SHAPE).astype(float)
    sky = fit_sky(data, radius, PIXEL)
    assert sky.block > 4
    assert sky.level == pytest.approx(0.05, rel=0.06)


def test_galaxy_as_large_as_the_image():
    # The sky is in the corners.
    large = dataclasses.replace(GALAXY, d25_arcsec=800.0, axis_ratio=0.95)
    radius = elliptical_radius(tangent(SHAPE, PIXEL), SHAPE, large)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / 300.0
    truth = 5 + x - 2 * y
    data = truth + np.random.default_rng(6).normal(0, 0.1, SHAPE)
    data += np.where(radius < 1, 30.0, 0)
    sky = fit_sky(data, radius, PIXEL)
    assert sky.ellipse == 1
    assert sky.method == "poly"
    assert np.abs(sky.model(SHAPE) - truth).max() < 0.1


def test_order_falls_where_the_sky_does_not_hold_it(radius):
    # Sky on one side of the galaxy only: a fifth order would swing out over the other.
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / 300.0
    truth = 5 + 2 * x - y
    data = truth + np.random.default_rng(6).normal(0, 0.3, SHAPE)
    data[(x > 0.4) & (radius > 2)] = np.nan
    sky = fit_sky(data, radius, PIXEL)
    free = fit_sky(np.where(radius > 2, data, np.nan), np.full(SHAPE, 9.0), PIXEL)
    assert sky.order < free.order or sky.method == "level"
    assert np.abs(sky.model(SHAPE) - truth)[radius < 1].max() < 1.0


def test_no_sky_at_all(radius):
    data = np.where(radius < 1, 1.0, np.nan)
    with pytest.raises(DataError, match="only 0 of its pixels show sky"):
        fit_sky(data, radius, PIXEL)


def test_extinction_by_hand():
    # Landolt V is no band here; SDSS r: 2.285 of E(B-V) = 0.1 is 0.2285 mag, a factor of 1.2343.
    assert extinction_factor("SDSS_r", 0.1) == pytest.approx(1.23424, rel=1e-5)
    assert extinction_factor("GALEX_NUV", 0.041) == pytest.approx(1.35270, rel=1e-5)
    assert extinction_factor("WISE_12", 0.3) == 1


# ---------------------------------------------------------------------------------------------
# The whole


def raw_file(folder, data, name="a.fits", pixel=PIXEL, **cards):
    return write(folder / name, data, header(data.shape, pixel, "MJy/sr", **cards))


def test_flux_of_a_galaxy_comes_back(tmp_path, radius):
    rng = np.random.default_rng(7)
    galaxy = disc(radius)
    factor = extinction_factor("SDSS_r", GALAXY.ebv)
    dimmed = galaxy / factor
    data = dimmed + polynomial(SHAPE, 0.5) + rng.normal(0, 0.2, SHAPE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    stars = [(150.02, 20.02), (149.93, 19.95)]
    wcs = tangent(SHAPE, PIXEL)
    for place in stars:
        column, row = wcs.wcs_world2pix([place], 0)[0]
        data += 900 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 1.5**2))
    path = raw_file(tmp_path, data)
    apertures = [Aperture(*place, 24.0, "SDSS_r", "added") for place in stars]
    image = clean_band(path, "SDSS_r", GALAXY, apertures)
    assert image.ok
    cards = {key.removeprefix("HIERARCH "): value for key, (value, _) in image.cards.items()}
    assert cards["DC_EXT"] == pytest.approx(factor)
    assert (cards["DC_EBV"], cards["DC_EBVERR"]) == (GALAXY.ebv, GALAXY.ebv_err)
    assert cards["DC_SKY"] == "poly"
    assert cards["DC_NSTAR"] == 2
    assert image.stars.sum() == pytest.approx(2 * np.pi * 8**2, rel=0.02)
    assert np.isnan(image.data[image.stars]).all()
    assert np.isfinite(image.data[~image.stars]).all()
    areas = pixel_areas(image.wcs, SHAPE)
    inside = (radius < 1) & ~image.stars
    flux, truth = (np.sum(what[inside] * areas[inside]) for what in (image.data, galaxy))
    assert flux == pytest.approx(truth, rel=0.005)
    outside = (radius > 2) & ~image.stars
    assert np.mean(image.data[outside]) == pytest.approx(0, abs=0.03)


def test_part_of_the_galaxy(tmp_path, radius):
    data = disc(radius) + 5
    cut = data.copy()
    cut[:, :160] = np.nan
    image = clean_band(raw_file(tmp_path, cut), "SDSS_r", GALAXY, [])
    assert not image.ok
    why = image.cards["DC_WHY"][0]
    assert "covers 50% of the D25 ellipse of NGC1 (CRVAL1, CRVAL2, NAXIS1, NAXIS2)" in why
    assert clean_band(raw_file(tmp_path, cut), "SDSS_r", GALAXY, [], least_cover=0.4).ok
    far = dataclasses.replace(GALAXY, ra=GALAXY.ra + 5)
    why = clean_band(raw_file(tmp_path, data), "SDSS_r", far, []).cards["DC_WHY"][0]
    assert "covers 0% of the D25 ellipse" in why


def test_galaxy_smaller_than_a_pixel_is_covered(tmp_path):
    tiny = dataclasses.replace(GALAXY, d25_arcsec=4.0)
    data = np.random.default_rng(8).normal(5, 1, (101, 101))
    image = clean_band(raw_file(tmp_path, data, pixel=12.0), "SPIRE_500", tiny, [])
    assert image.ok


def test_each_fault_is_an_empty_product_and_an_exclusion(tmp_path, radius):
    good = raw_file(tmp_path, disc(radius) + np.random.default_rng(9).normal(5, 1, SHAPE), "b.fits")
    nan = raw_file(tmp_path, np.full(SHAPE, np.nan), "c.fits")
    cut = tmp_path / "d.fits"
    cut.write_bytes(good.read_bytes()[:9000])
    raw = {"SDSS_u": good, "SDSS_g": nan, "SDSS_r": cut}
    outputs = {band: tmp_path / "clean" / f"{band}.fits" for band in (*raw, "SDSS_i")}
    options = {"sky": SETTINGS, "missing_unit": None, "least_cover": 0.8, "n_threads": 2}
    table = clean_bands(raw, outputs, GALAXY, [], **options)
    assert table["band"].tolist() == list(outputs)
    assert table["ok"].tolist() == [True, False, False, False]
    reasons = ["", "has no data", "cut short or damaged", "there is no image in this band"]
    assert all(part in text for part, text in zip(reasons, table["reason"]))
    rows = table.meta["exclusions"]
    assert [row[:4] for row in rows] == [
        ["NGC1", band, "", STAGE] for band in ("SDSS_g", "SDSS_r", "SDSS_i")
    ]
    for band, path in outputs.items():
        image = read_clean(path)
        assert image.ok == (band == "SDSS_u")
        assert image.cards["DC_BAND"] == band
    with fits.open(outputs["SDSS_i"]) as hdus:
        assert len(hdus) == 1


def test_unknown_reddening(tmp_path, radius):
    unknown = dataclasses.replace(GALAXY, ebv=np.nan)
    image = clean_band(raw_file(tmp_path, disc(radius) + 5), "SDSS_r", unknown, [])
    assert "NGC1 has no E(B-V)" in image.cards["DC_WHY"][0]


def test_memory_of_large_images_is_bounded(tmp_path, monkeypatch):
    # As clean_memory in rules/common.smk asks for: 50 bytes a pixel.
    monkeypatch.setattr("dustcast.imaging.geometry.STRIP_PIXELS", 2**16)
    shape = (1200, 1250)
    data = np.random.default_rng(11).normal(5, 1, shape).astype(np.float32)
    path = raw_file(tmp_path, data)
    star = Aperture(150.2, 20.1, 30.0, "SDSS_r", "added")
    clean_band(path, "SDSS_r", GALAXY, [star])  # what is loaded once does not count
    tracemalloc.start()
    image = clean_band(path, "SDSS_r", GALAXY, [star])
    write_clean(tmp_path / "clean.fits", image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert image.ok
    assert peak < 50 * data.size


def test_bytes_do_not_depend_on_the_run(tmp_path, radius):
    data = disc(radius) + np.random.default_rng(10).normal(5, 1, SHAPE)
    raw = {band: raw_file(tmp_path, data) for band in ("SDSS_u", "SDSS_g", "SDSS_r")}
    written = []
    for name, n_threads in (("one", 1), ("two", 3)):
        outputs = {band: tmp_path / name / f"{band}.fits" for band in raw}
        clean_bands(
            raw, outputs, GALAXY, [], sky=SETTINGS, missing_unit=None, least_cover=0.8,
            n_threads=n_threads,
        )  # fmt: skip
        written.append([path.read_bytes() for path in outputs.values()])
    assert written[0] == written[1]
