"""Star masks filled from what is around them, against direct sums and known galaxies."""

import numpy as np
import pytest
from scenes import GALAXY, clean, native, offsets

from dustcast.imaging import filling
from dustcast.imaging.filling import FilledImage
from dustcast.imaging.layers import Scale, Settings, grid_of, make_layers
from dustcast.imaging.pixels import d25_ellipse

SHAPE = (60, 70)


def circle(row, column, radius, shape=SHAPE):
    y, x = np.indices(shape)
    return np.hypot(y - row, x - column) <= radius


@pytest.fixture
def image():
    y, x = np.indices(SHAPE)
    return 5 + 0.1 * x - 0.05 * y + np.random.default_rng(0).normal(0, 0.01, SHAPE)


def test_filled_pixel_is_a_weighted_mean(image):
    stars = circle(30, 40, 6.0)
    image[27, 47] = np.nan  # no data, and no star: neither counted nor filled
    found = FilledImage(np.where(stars, np.nan, image), stars)[:]
    # The mask is 6.1 pixels deep: 30, 40 to 33, 45 and the like are the nearest pixels outside.
    depth = np.min(np.hypot(*(np.argwhere(~stars) - [30, 40]).T))
    y, x = np.indices(SHAPE)
    for row, column in ((30, 40), (28, 43), (35, 40)):
        weights = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * (depth / 4) ** 2))
        weights[stars | np.isnan(image)] = 0
        weights[(abs(y - row) > 1.5 * depth) | (abs(x - column) > 1.5 * depth)] = 0
        expected = np.nansum(weights * image) / weights.sum()
        assert found[row, column] == pytest.approx(expected, rel=1e-3)
    assert np.isnan(found[27, 47])
    np.testing.assert_array_equal(found[~stars], image[~stars])


def test_rows_are_those_of_the_whole(image, monkeypatch):
    stars = circle(3, 5, 4) | circle(30, 68, 5) | circle(33, 69, 2) | circle(50, 20, 0.5)
    image[stars] = np.nan
    whole = FilledImage(image.astype(">f4"), stars)
    monkeypatch.setattr(filling, "STRIP_PIXELS", 200)
    strips = FilledImage(image.astype(">f4"), stars)
    expected = whole[:]
    assert np.isfinite(expected).all()
    assert whole.shape == SHAPE
    for rows in (slice(0, 7), slice(2, 60, 3), slice(49, 52), slice(55, 60)):
        np.testing.assert_array_equal(whole[rows], expected[rows])
        np.testing.assert_array_equal(strips[rows], expected[rows])


def test_masks_are_filled_each_by_itself(image):
    # A large mask beside a small one: what fills the small one comes from its own edge.
    small, large = circle(30, 10, 2), circle(30, 40, 15)
    found = FilledImage(np.where(small | large, np.nan, image), small | large)[:]
    alone = FilledImage(np.where(small, np.nan, image), small)[:]
    np.testing.assert_array_equal(found[small], alone[small])
    # The surface climbs by 0.1 a pixel.
    assert np.abs(found - image)[small].max() < 0.15


def test_nothing_is_made_up_where_nothing_is_near():
    image = np.full(SHAPE, np.nan)
    image[0, 0] = 1.0
    assert np.isnan(FilledImage(image, circle(40, 40, 5))[:][40, 40])
    none = np.zeros(SHAPE, dtype=bool)
    np.testing.assert_array_equal(FilledImage(image, none)[:], image)


@pytest.mark.parametrize(
    ("band", "radius", "bulge"), [("WISE_3.4", 9.0, 8.0), ("SDSS_r", 4.0, 4.0)]
)
def test_star_beside_a_bulge_leaves_the_flux(band, radius, bulge):
    scale, settings = Scale("18arcsec", "SPIRE_250", 18.0, (band,)), Settings()
    _, shape, wcs = native(band, 900 if band == "WISE_3.4" else 500, rotation=12)
    east, north = offsets(wcs, shape)
    light = 100 * np.exp(-np.hypot(east, north) / bulge) + 10 * np.exp(-np.hypot(east, north) / 15)
    light += np.random.default_rng(1).normal(0, 0.01, shape)
    shares = d25_ellipse(GALAXY).shares(grid_of(GALAXY, scale, settings))

    def flux(data, stars):
        layer = make_layers(clean(band, data, wcs, stars=stars), [scale], GALAXY, settings)
        return np.nansum(shares * layer["18arcsec"].flux)

    true = flux(light, None)
    for angle in (20, 140, 290):
        distance = radius + 7
        star = (distance * np.cos(np.radians(angle)), distance * np.sin(np.radians(angle)))
        mask = np.hypot(east - star[0], north - star[1]) < radius
        # The kernel to 18 arcsec alone loses 1.5 to 4.5% here.
        assert flux(np.where(mask, np.nan, light), mask) == pytest.approx(true, rel=0.01)
