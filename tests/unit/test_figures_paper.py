"""Structure of the paper's figures: panels, labels, counts, maps in their places, small inputs."""

import numpy as np
import pytest
from figure_samples import METRICS, metrics, predictions, text, together, words

from dustcast.figures import paper
from dustcast.tables import Table

TARGETS = ("sLd", "sMd", "Td")
SCALES = ["400pc", "150pc", "36arcsec", "18arcsec", "3kpc", "global"]


def pixels(target, scale, n_galaxies=12, side=6):
    """Predictions of square galaxies, with ids that say where a pixel lies."""
    table = predictions(n_galaxies, 1, target, scale)
    rows = np.repeat(np.arange(n_galaxies), side**2)
    table = table.rows(rows)
    y, x = (np.tile(a.ravel(), n_galaxies) for a in np.mgrid[:side, :side])
    table["id"] = text(f"{g}/{scale}/{i}_{j}" for g, i, j in zip(table["galaxy"], x, y))
    table["truth"] = table["truth"] + 0.01 * x + 0.02 * y
    table["prediction"] = table["truth"] + np.random.default_rng(1).normal(0, 0.1, len(x))
    table["weight"] = np.full(len(x), 1 / side**2)
    return table


def all_metrics(scales):
    return together([metrics(scale=scale) for scale in scales])


def test_every_scale_has_a_panel_and_all_pixels_one():
    table = together([predictions(20, 5, "sMd", scale) for scale in SCALES])
    figure = paper.scales(
        table,
        all_metrics([*SCALES, "all"]),
        regressor="random_forest",
        target="sMd",
        order=SCALES,
    )
    shown = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in shown] == [
        "150 pc",
        "400 pc",
        "3 kpc",
        "18\N{DOUBLE PRIME}",
        "36\N{DOUBLE PRIME}",
        "all scales",
    ]
    assert len({ax.get_xlim() for ax in shown}) == 1
    n_pixels = table.n_rows - np.count_nonzero(table["scale"] == "global")
    pooled = "\n".join(each.get_text() for each in shown[-1].texts)
    assert "20 galaxies" in pooled
    assert f"{n_pixels}\N{THIN SPACE}"[:3] in pooled.replace("\N{THIN SPACE}", "")


def test_pooled_pixels_weigh_one_over_the_pixels_of_the_galaxy(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        paper.predicted_vs_true, "figure", lambda panels, **_: seen.update(panels=panels)
    )
    table = together([predictions(5, 4, "sMd", scale) for scale in ("1kpc", "3kpc")])
    paper.scales(
        table,
        all_metrics(["1kpc", "3kpc", "all"]),
        regressor="random_forest",
        target="sMd",
        order=["1kpc", "3kpc"],
    )
    pooled = seen["panels"][-1].predictions
    for name in set(pooled["galaxy"]):
        assert pooled["weight"][pooled["galaxy"] == name].sum() == pytest.approx(1)


def test_a_run_without_pixels_says_so():
    figure = paper.scales(
        predictions(), metrics(), regressor="random_forest", target="sMd", order=["global"]
    )
    assert "this run has no pixels" in words(figure)


def test_highlighted_galaxies_are_marked_where_they_are():
    table = together([predictions(30, 1, target) for target in TARGETS])
    figure = paper.averages(table, metrics(), highlight=["G3", "absent"])
    assert len(figure.legends) == 1
    assert "G3" in words(figure)
    assert "absent" not in words(figure)
    for ax, target in zip(figure.axes, TARGETS):
        (row,) = np.flatnonzero((table["galaxy"] == "G3") & (table["target"] == target))
        star = ax.lines[-1]
        assert star.get_xdata()[0] == table["truth"][row]
        assert star.get_ydata()[0] == table["prediction"][row]


def test_overview_puts_pixels_in_their_places():
    table = together([pixels(target, "18arcsec") for target in TARGETS])
    row = {name: np.full(3, value) for name, value in METRICS.items()}
    figure = paper.overview(table, Table({"target": text(TARGETS), **row}), galaxy="G2")
    maps = [ax for ax in figure.axes if ax.images]
    assert len(maps) == 9
    image = maps[0].images[0].get_array()
    assert image.shape == (8, 8)  # a frame of one pixel
    mine = table.rows((table["galaxy"] == "G2") & (table["target"] == "sLd"))
    np.testing.assert_array_equal(image[1:-1, 1:-1].ravel(), mine["truth"])
    residual = maps[2].images[0]
    np.testing.assert_array_equal(
        residual.get_array()[1:-1, 1:-1].ravel(), mine["prediction"] - mine["truth"]
    )
    assert residual.norm.vmin == -residual.norm.vmax
    assert maps[0].images[0].get_clim() == maps[1].images[0].get_clim()
    assert "ME = " in words(figure)
    assert [ax.get_title() for ax in maps[:3]] == ["truth", "prediction", "residual"]


def test_overview_of_an_absent_galaxy_says_so():
    figure = paper.overview(pixels("sMd", "18arcsec"), Table(), galaxy="M31")
    assert "M31 is not in this run" in words(figure)


def test_told_scale_is_on_the_axes():
    table = together([pixels(target, "3kpc") for target in TARGETS])
    table["told"] = table["prediction"] + 0.1
    figure = paper.told(table, metrics(), scale="3kpc", told_scale="400pc")
    assert len(figure.axes) == 3
    for ax in figure.axes:
        assert "at 3 kpc" in ax.get_xlabel()
        assert "told 400 pc" in ax.get_ylabel()
        assert len(ax.lines) == 1
        offsets = ax.collections[0].get_offsets()
        np.testing.assert_allclose(offsets[:, 1] - offsets[:, 0], 0.1)
    assert "ME = " in words(figure)
    figure = paper.told(Table(), Table(), scale="3kpc", told_scale="400pc", reason="no pixels")
    assert "no pixels" in words(figure)


def test_fine_maps_stand_above_the_truth():
    fine, coarse = pixels("sMd", "6arcsec", side=9), pixels("sMd", "18arcsec", side=4)
    figure = paper.fine_maps(
        fine, coarse, target="sMd", galaxies=["G4", "gone", "G1"], titles=("fine", "coarse")
    )
    maps = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in maps] == ["G4", "G1", "", ""]
    shapes = [ax.images[0].get_array().shape for ax in maps]
    assert shapes == [(11, 11), (11, 11), (6, 6), (6, 6)]
    assert len({ax.images[0].get_clim() for ax in maps}) == 1
    mine = coarse.rows(coarse["galaxy"] == "G4")
    image = maps[2].images[0].get_array()
    np.testing.assert_array_equal(image[1:-1, 1:-1].ravel(), mine["truth"])
    assert {"fine", "coarse"} <= {ax.get_ylabel() for ax in maps}


def test_largest_galaxies_come_first():
    galaxy = text(["A", "B", "B", "C", "C", "C", "D"])
    assert paper.largest(Table({"galaxy": galaxy}), 3) == ["C", "B", "A"]


def test_a_run_of_whole_galaxies_has_no_maps():
    table = together([predictions(target=target) for target in TARGETS])
    figure = paper.overview(table, metrics(), galaxy="G1")
    assert "G1 is not in this run" in words(figure)
    figure = paper.fine_maps(
        table, table, target="sMd", galaxies=paper.largest(table), titles=("a", "b")
    )
    assert "none of the galaxies" in words(figure)
