"""Structure of the figures: panels, labels, texts, small inputs; bytes and sizes of the files."""

import numpy as np
import pytest
from figure_samples import METRICS, metrics, predictions, text, together, words

from dustcast.figures import calibration, density, parity, predicted_vs_true, style
from dustcast.tables import DataError, Table

TARGETS = ("sLd", "sMd", "Td")


def three(**settings):
    return together([predictions(target=target, **settings) for target in TARGETS])


def test_predicted_vs_true_has_a_panel_a_target():
    figure = predicted_vs_true.predicted_vs_true(
        three(), metrics(), regressor="random_forest", scale="global"
    )
    assert len(figure.axes) == 3
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(180)
    for ax, unit in zip(figure.axes, ("dex", "dex", "K")):
        assert ax.get_xlabel().startswith("true")
        assert ax.get_ylabel().startswith("predicted")
        assert ax.get_xlabel().endswith(f"[{unit}]")
        assert ax.get_xlim() == ax.get_ylim()
        inside = "\n".join(each.get_text() for each in ax.texts)
        assert f"RMSE = 0.324 ± 0.012 {unit}" in inside
        assert "$R^2$ = 0.831 ± 0.021" in inside
        assert "ME" not in inside
        assert "60 galaxies" in inside
        assert "pixels" not in inside
        assert ax.get_title()
        box, (width, height) = ax.get_position(), figure.get_size_inches()
        assert box.width * width == pytest.approx(box.height * height, rel=0.01)
    assert "one to one" in words(figure)
    assert "16th and 84th percentile" in words(figure)


def test_lines_of_a_panel_are_the_percentiles_of_the_truth():
    table = predictions(200)
    figure = predicted_vs_true.figure([predicted_vs_true.Panel(table, METRICS, "sMd")])
    one, lower, upper, median = figure.axes[0].lines
    assert list(one.get_xdata()) == list(one.get_ydata())
    centre, quantiles = density.binned_quantiles(
        table["prediction"], table["truth"], weights=table["weight"]
    )
    for line, expected in zip((lower, median, upper), quantiles):
        np.testing.assert_array_equal(line.get_xdata(), expected)
        np.testing.assert_array_equal(line.get_ydata(), centre)


def test_points_are_coloured_by_density_with_the_densest_on_top():
    table = predictions(200)
    figure = predicted_vs_true.figure([predicted_vs_true.Panel(table, METRICS, "sMd")])
    points = figure.axes[0].collections[0]
    colours = points.get_array()
    assert np.all(np.diff(colours) >= 0)
    assert colours[-1] == 1.0
    expected = density.kde(table["truth"], table["prediction"], table["weight"])
    np.testing.assert_allclose(np.asarray(colours), np.sort(expected) / expected.max())


def test_me_and_pixels_are_written_where_asked():
    panel = predicted_vs_true.Panel(predictions(30, 20), METRICS, "sMd", 'at 18"')
    figure = predicted_vs_true.figure([panel], names=("rmse", "r2", "me"))
    assert "ME = \N{MINUS SIGN}0.013 ± 0.010 dex" in words(figure)
    assert "30 galaxies" in words(figure)
    assert " pixels" in words(figure)
    assert 'at 18"' in words(figure)
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(88)


def test_panels_of_one_target_share_limits_and_outer_labels():
    panels = [
        predicted_vs_true.Panel(predictions(n, 3, seed=n), METRICS, "sMd", f"{n} galaxies")
        for n in (20, 40, 60, 30, 25)
    ]
    figure = predicted_vs_true.figure(panels, n_columns=4)
    assert len(figure.axes) == 8
    assert len({ax.get_xlim() for ax in figure.axes[:5]}) == 1
    assert [bool(ax.get_ylabel()) for ax in figure.axes[:5]] == [True, False, False, False, True]
    # A panel with none below it keeps its x label.
    assert [bool(ax.get_xlabel()) for ax in figure.axes[:5]] == [False, True, True, True, True]
    assert not any(ax.axison for ax in figure.axes[5:])


@pytest.mark.parametrize(("galaxies", "pixels"), [(1, 1), (2, 1), (8, 1), (1, 400)])
@pytest.mark.parametrize("module", ["predicted", "calibration"])
def test_small_samples_are_drawn(tmp_path, galaxies, pixels, module):
    table, rows = three(n_galaxies=galaxies, n_pixels=pixels), metrics()
    if module == "predicted":
        figure = predicted_vs_true.predicted_vs_true(
            table, rows, regressor="random_forest", scale="global"
        )
    else:
        figure = calibration.calibration(table, rows, regressor="random_forest", scale="global")
    style.save(figure, png_path=tmp_path / "small.png")
    counted = "1 galaxy" if galaxies == 1 else f"{galaxies} galaxies"
    assert words(figure).count(counted) == 3


def test_equal_values_are_drawn(tmp_path):
    table = predictions(30)
    table["prediction"] = np.full(30, -3.0)
    table["sigma"] = np.full(30, 0.3)
    for truth in (table["truth"], np.full(30, -3.0)):
        table["truth"] = truth
        figures = [
            predicted_vs_true.figure([predicted_vs_true.Panel(table, METRICS, "sMd")]),
            calibration.calibration(
                table, metrics(), regressor="random_forest", scale="global", targets=["sMd"]
            ),
        ]
        for figure in figures:
            style.save(figure, tmp_path / "equal.pdf", tmp_path / "equal.png")


def test_an_empty_panel_says_why():
    empty = predictions(4).rows(np.zeros(4, dtype=bool))
    empty.meta["reason"] = "no galaxy is large enough"
    panels = [predicted_vs_true.Panel(empty, None, "sMd")]
    assert "no galaxy is large enough" in words(predicted_vs_true.figure(panels))
    nothing = predictions(4)
    nothing["truth"] = np.full(4, np.nan)
    figure = predicted_vs_true.figure([predicted_vs_true.Panel(nothing, None, "sMd")])
    assert "no samples with both" in words(figure)
    nothing["sigma"] = np.full(4, np.nan)
    figure = calibration.calibration(nothing, metrics(), regressor="random_forest", scale="global")
    assert words(figure).count("no samples with a") == 3
    assert "nothing to show" in words(predicted_vs_true.figure([]))
    values = parity_values()
    figure = parity.parity(values.rows(values["quantity"] != "Tdust"), parity_statistics())
    assert words(figure).count("no galaxy with") == 2


def test_samples_without_weight_or_value_are_left_out():
    table = predictions(10)
    table["weight"][0] = 0.0
    table["prediction"][1] = np.nan
    figure = predicted_vs_true.figure([predicted_vs_true.Panel(table, METRICS, "sMd")])
    assert "8 galaxies" in words(figure)


def test_metrics_are_those_of_the_table_or_none():
    rows = metrics(regressors=("random_forest", "extra_trees"))
    row = predicted_vs_true.metrics_row(rows, regressor="extra_trees", target="Td", scale="global")
    assert row["regressor"] == "extra_trees"
    assert predicted_vs_true.metrics_row(rows, target="no_such") is None
    with pytest.raises(DataError, match="2 rows of the metrics match target Td"):
        predicted_vs_true.metrics_row(rows, target="Td")
    figure = predicted_vs_true.figure([predicted_vs_true.Panel(predictions(), None, "sMd")])
    assert "no metrics for this selection" in words(figure)


def test_points_beyond_the_axes_are_counted():
    table = predictions(6000)
    table["prediction"][:3] = 1e3
    figure = predicted_vs_true.figure([predicted_vs_true.Panel(table, METRICS, "sMd")])
    assert figure.axes[0].get_ylim()[1] < 5
    count = [line for line in words(figure).splitlines() if "beyond the axes" in line]
    assert len(count) == 1
    assert int(count[0].split()[0]) >= 3


def test_a_column_that_lacks_is_named():
    table = predictions(10)
    del table["weight"]
    with pytest.raises(DataError, match="lack the column weight"):
        predicted_vs_true.figure([predicted_vs_true.Panel(table, METRICS, "sMd")])


def test_calibration_shows_sigma_rms_and_contours():
    figure = calibration.calibration(
        three(n_galaxies=400), metrics(), regressor="random_forest", scale="global"
    )
    assert len(figure.axes) == 3
    for ax, unit in zip(figure.axes, ("dex", "dex", "K")):
        assert ax.get_xscale() == "log"
        assert ax.get_xlabel().endswith(f"[{unit}]")
        assert ax.get_ylabel().startswith("predicted $-$ true")
        assert r"$\chi^2$ = 1.04 ± 0.11" in "\n".join(each.get_text() for each in ax.texts)
        low, high = ax.get_ylim()
        assert low == -high
        down, up, rms_down, rms_up = ax.lines
        np.testing.assert_allclose(up.get_xdata(), up.get_ydata())
        np.testing.assert_allclose(down.get_xdata(), -down.get_ydata())
        np.testing.assert_array_equal(rms_down.get_ydata(), -rms_up.get_ydata())
        # The errors were drawn with the predicted sigma: the green line lies on the black.
        ratio = rms_up.get_ydata() / rms_up.get_xdata()
        assert np.all(np.abs(np.log10(ratio)) < 0.15)
        points, contours = ax.collections
        assert len(contours.levels) == 3
        assert points.get_array().max() <= 1.0
    assert "99.7%" in words(figure)


def parity_values(n=50):
    rng = np.random.default_rng(0)
    names = list(parity.QUANTITIES)
    official = rng.uniform(6, 10, n * len(names))
    return Table(
        {
            "galaxy": text([f"G{i}" for i in range(n)] * len(names)),
            "quantity": text(name for name in names for _ in range(n)),
            "own": official + rng.normal(0, 0.02, official.size),
            "official": official,
            "reduced_chi2": np.tile(np.linspace(0.2, 5.0, n), len(names)),
        }
    )


def parity_statistics():
    names = list(parity.QUANTITIES)
    return Table(
        {
            "quantity": text(name for name in names for _ in range(2)),
            "subset": text(["all", "chi2_below_3"] * len(names)),
            "n": np.tile([50, 30], len(names)),
            "median_offset": np.tile([-0.0012, 0.0], len(names)),
            "rms": np.tile([0.0241, 0.0183], len(names)),
        }
    )


def test_parity_shows_values_residuals_and_statistics():
    figure = parity.parity(parity_values(), parity_statistics())
    assert len(figure.axes) == 10
    for ax, below in zip(figure.axes[:5], figure.axes[5:]):
        assert ax.get_xlim() == ax.get_ylim()
        assert below.get_ylim()[0] == -below.get_ylim()[1]
        assert below.get_xlabel().startswith("official")
        assert "all (50)" in ax.get_title(loc="left")
    titles = figure.axes[0].get_title(loc="left")
    assert "median \N{MINUS SIGN}0.001, rms 0.024" in titles
    assert "median 0.000, rms 0.018" in titles
    assert "median 0.00, rms 0.02" in figure.axes[2].get_title(loc="left")


def test_parity_puts_wild_galaxies_at_the_edge():
    values = parity_values()
    values["own"][:1] += 3.0
    lower = parity.parity(values, parity_statistics()).axes[5]
    assert lower.get_ylim()[1] < 1.0
    heights = np.concatenate([each.get_offsets()[:, 1] for each in lower.collections])
    assert heights.max() < lower.get_ylim()[1]
    assert heights.size == 50


def test_parity_refuses_a_table_without_its_columns():
    values = parity_values()
    del values["own"]
    with pytest.raises(DataError, match="values lacks the column own"):
        parity.parity(values, parity_statistics())


def test_files_have_equal_bytes_and_no_date(tmp_path):
    for name in ("first", "second"):
        figure = predicted_vs_true.predicted_vs_true(
            three(), metrics(), regressor="random_forest", scale="global"
        )
        style.save(figure, tmp_path / f"{name}.pdf", tmp_path / f"{name}.png")
    for suffix in ("pdf", "png"):
        first = (tmp_path / f"first.{suffix}").read_bytes()
        assert first == (tmp_path / f"second.{suffix}").read_bytes()
        for word in (b"CreationDate", b"matplotlib", b"Software"):
            assert word not in first
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "first.pdf",
        "first.png",
        "second.pdf",
        "second.png",
    ]


def test_a_large_sample_makes_a_small_file(tmp_path):
    table = predictions(100, 700, "sMd")
    assert table.n_rows > 50_000
    figure = predicted_vs_true.figure([predicted_vs_true.Panel(table, METRICS, "sMd")])
    style.save(figure, tmp_path / "large.pdf", tmp_path / "large.png")
    assert (tmp_path / "large.pdf").stat().st_size < 1_500_000
    assert (tmp_path / "large.png").stat().st_size < 1_000_000


def test_nothing_is_cut_off():
    figures = [
        predicted_vs_true.predicted_vs_true(
            three(), metrics(), regressor="random_forest", scale="global"
        ),
        predicted_vs_true.figure([predicted_vs_true.Panel(predictions(), METRICS, "sMd")]),
        calibration.calibration(three(), metrics(), regressor="random_forest", scale="global"),
        calibration.calibration(
            three(), metrics(), regressor="random_forest", scale="global", targets=["Td"]
        ),
        parity.parity(parity_values(), parity_statistics()),
    ]
    for figure in figures:
        with style.context():
            figure.draw_without_rendering()
            renderer = figure._get_renderer()
            page = figure.bbox
            artists = [figure.axes, figure.legends]
            for artist in [each for group in artists for each in group]:
                box = artist.get_tightbbox(renderer)
                assert box.x0 >= page.x0 - 1
                assert box.x1 <= page.x1 + 1
                assert box.y0 >= page.y0 - 1
                assert box.y1 <= page.y1 + 1


@pytest.mark.parametrize(
    ("value", "error", "unit", "expected"),
    [
        (0.3241, 0.0123, "dex", "0.324 ± 0.012 dex"),
        (0.905, 0.0348, "", "0.905 ± 0.035"),
        (0.905, 0.048, "", "0.90 ± 0.05"),
        (1.1177, 0.2026, "", "1.12 ± 0.20"),
        (5.0, 0.951, "", "5.0 ± 1.0"),
        (3.4401, 0.1234, "K", "3.44 ± 0.12 K"),
        (1.06, 0.0096, "", "1.060 ± 0.010"),
        (-0.0004, 0.013, "", "0.000 ± 0.013"),
        (-0.0131, None, "", "\N{MINUS SIGN}0.0131"),
        (0.5, float("nan"), "", "0.500"),
        (0.5, 0.0, "", "0.500"),
        (float("nan"), 0.1, "K", "\N{EN DASH}"),
        (0.0, None, "", "0.00"),
        (12345.6, 250.0, "", "12346 ± 250"),
    ],
)
def test_numbers_end_where_their_error_begins(value, error, unit, expected):
    assert style.format_value(value, error, unit) == expected


def test_an_unknown_target_is_written_by_its_name():
    assert style.quantity("dust_age", "Gyr").label("true") == "true dust age [Gyr]"
