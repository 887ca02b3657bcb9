"""The page of a galaxy's maps: what is drawn, and that odd maps do not stop it."""

import warnings

import numpy as np
import pytest
from matplotlib.image import AxesImage
from matplotlib.text import Text

from dustcast.figures import dust_maps as dm
from dustcast.figures import style

N = 21
TOTALS = [
    {
        "quantity": name,
        "total": "1e7",
        "error_dex": "0.31",
        "n_pixel": "81",
        "n_pixel_d25": "90",
    }
    for name in ("dust_luminosity", "dust_mass")
]


def maps(value=1.0):
    y, x = np.mgrid[:N, :N] - N // 2
    inside = np.hypot(x, y) < 6
    found = {}
    for name in dm.COLUMNS:
        image = np.where(inside, value * (2 + x / N), np.nan)
        applic = np.where(inside, (x > 0) + (x > 3), 255.0)
        found[name] = {"VALUE": image, "SIGMA": 0.3 * image, "APPLIC": applic}
        found[name]["COVERAGE"] = np.where(inside, 3.0, 0.0)
    found["header"] = {
        "DC_GAL": "mine",
        "DC_SCALE": "18arcsec",
        "DC_MODEL": "m",
        "DC_FOLD": "whole",
        "DC_PIXEL": 18.0,
        "DC_EFWHM": 21.0,
        "DC_DIST": 10.0,
    }
    return found


def draw(found, contours=None, totals=TOTALS):
    contours = np.ones((N, N)) if contours is None else contours
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = dm.dust_maps(found, contours, "WISE_3.4", totals)
        figure.draw_without_rendering()
    return figure


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text)]


def test_page_shows_the_maps_within_a_square_window_and_the_sums(tmp_path):
    y, x = np.mgrid[:N, :N] - N // 2
    figure = draw(maps(), np.exp(-np.hypot(x, y) / 3))
    shown = [axes.images[0].get_array() for axes in figure.axes[:14] if axes.images]
    assert {image.shape for image in shown} == {(15, 15)}
    found = " ".join(texts(figure))
    assert "= 7.00 ± 0.31" in found
    assert "81 of 90 pixels" in found
    # Half a panel is the row of 5 kpc: 15 pixels of 18" at 10 Mpc are 13.1 kpc.
    assert "5 kpc" in found
    shares = [share for share in found.split() if share.endswith("%")]
    assert sum(int(share[:-1]) for share in dict.fromkeys(shares)) == pytest.approx(100, abs=1)
    box = figure.axes[0].get_position()
    width, height = figure.get_size_inches()
    assert box.width * width == pytest.approx(box.height * height, rel=0.02)
    path = tmp_path / "page.png"
    style.save(figure, png_path=path)
    assert path.stat().st_size < 300_000


def test_maps_without_a_value_say_so():
    figure = draw(maps(np.nan), np.full((N, N), np.nan), [])
    assert texts(figure).count("no data") >= 10


def test_a_common_value_and_negative_ones_are_drawn():
    found = maps()
    for name in dm.COLUMNS:
        found[name]["VALUE"] = np.where(np.isfinite(found[name]["VALUE"]), -2.0, np.nan)
    figure = draw(found)
    # A surface density is drawn on a logarithmic scale: nothing of it is left.
    assert not figure.axes[0].findobj(AxesImage)
    assert figure.axes[2].findobj(AxesImage)
