"""The closure table: errors of known size come back, split within and between galaxies."""

import numpy as np
import pytest

from dustcast.figures import closure as closure_figure
from dustcast.figures import style
from dustcast.mock import closure
from dustcast.tables import DataError, Table


def text(values):
    return np.array(list(values), dtype=object)


def survey(seed=1, n_galaxies=60, n_pixels=30, within=0.1, between=0.2, bias=0.05):
    """Fit, truth and photometry of a scale whose fit is off by known errors in log10 dust mass."""
    rng = np.random.default_rng(seed)
    galaxy = np.repeat(np.arange(n_galaxies), n_pixels)
    n = len(galaxy)
    ids = text(f"G{g}/18arcsec/{k}_0" for k, g in enumerate(galaxy))
    names = {"id": ids, "galaxy": text(f"G{g}" for g in galaxy)}
    truth = {name: 10 ** rng.normal(30, 1, n) for name in closure.EXTENSIVE.values()}
    umin = 10 ** rng.normal(0, 0.3, n)
    off = bias + between * rng.normal(size=n_galaxies)[galaxy] + within * rng.normal(size=n)
    fit = {f"bayes.{name}": values.copy() for name, values in truth.items()}
    fit["bayes.dust.mass"] *= 10**off
    fit["bayes.dust.umin"] = umin
    flux = np.where(np.arange(n) % 3 == 0, 10.0, 1.0)
    photometry = names | {"SPIRE_250": flux, "SPIRE_250_err": np.ones(n)}
    truth |= {"Td": 18.3 * umin ** (1 / 5.79), "sLd": np.zeros(n), "sMd": np.zeros(n)}
    return Table(names | fit), Table(names | truth), Table(photometry), off


def by_quantity(rows):
    return {row["quantity"]: row for row in rows}


def test_errors_come_back():
    fit, truth, photometry, off = survey()
    rows = by_quantity(closure.fit_rows("fit_full", "18arcsec", fit, truth, photometry))
    for quantity in ("log_Mdust", "sMd"):
        row = rows[quantity]
        assert row["stage"] == "fit_full"
        assert row["scale"] == "18arcsec"
        assert row["n"] == len(off)
        assert row["bias"] == pytest.approx(off.mean())
        assert row["within"] == pytest.approx(0.1, rel=0.1)
        assert row["between"] == pytest.approx(np.hypot(0.2, 0.05), rel=0.25)
        mean_square = row["within"] ** 2 + row["between"] ** 2
        assert mean_square == pytest.approx(np.mean(off**2))
        assert row["bias"] ** 2 + row["scatter"] ** 2 == pytest.approx(mean_square)
    for quantity in ("log_Ldust", "log_Lstar", "log_Mstar", "sLd", "Td"):
        assert rows[quantity]["scatter"] == pytest.approx(0, abs=1e-6)


def test_rows_of_bright_and_faint_dust():
    fit, truth, photometry, off = survey()
    rows = by_quantity(closure.fit_rows("fit_full", "18arcsec", fit, truth, photometry))
    bright = np.arange(len(off)) % 3 == 0
    assert rows["sMd at S/N > 5"]["n"] == bright.sum()
    assert rows["sMd at S/N < 5"]["n"] == (~bright).sum()
    assert rows["sMd at S/N > 5"]["band"] == "SPIRE_250"
    assert rows["sMd at S/N > 5"]["bias"] == pytest.approx(off[bright].mean(), abs=1e-9)
    assert "log_Mstar at S/N > 5" not in rows


def test_samples_are_matched_by_id():
    fit, truth, photometry, _ = survey()
    order = np.random.default_rng(2).permutation(fit.n_rows)
    rows = by_quantity(
        closure.fit_rows("fit_full", "18arcsec", fit.rows(order[:900]), truth, photometry)
    )
    assert rows["log_Ldust"]["scatter"] == pytest.approx(0, abs=1e-6)
    assert rows["log_Mdust"]["n"] == 900
    with pytest.raises(DataError, match="the truth at 18arcsec lacks G"):
        closure.fit_rows("fit_full", "18arcsec", fit, truth.rows(slice(10)), photometry)


def test_galaxies_have_equal_weight():
    """A galaxy of a thousand pixels says no more than one of two."""
    residual = np.r_[np.full(1000, 1.0), 0.0, 0.0]
    row = closure.split_error(residual, text(["A"] * 1000 + ["B"] * 2))
    assert row["bias"] == 0.5
    assert row["between"] == pytest.approx(np.sqrt(0.5))
    assert row["within"] == 0


def test_fits_without_dust_do_not_count():
    fit, truth, photometry, off = survey()
    fit["bayes.dust.mass"][:7] = 0.0
    rows = by_quantity(closure.fit_rows("fit_full", "18arcsec", fit, truth, photometry))
    assert rows["log_Mdust"]["n"] == len(off) - 7
    assert np.isfinite(rows["log_Mdust"]["scatter"])
    assert closure.fit_rows("fit_full", "18arcsec", Table(), truth, photometry) == []
    assert np.isnan(closure.split_error(np.empty(0), text([]))["bias"])


def test_stages_of_the_images_count_galaxies():
    def table(galaxy, stars, sky):
        return Table(
            {
                "galaxy": text([galaxy] * 2),
                "stage": text(["stars", "sky"]),
                "quantity": text(["flux_left", "flux"]),
                "scale": text(["", ""]),
                "band": text(["SDSS_r"] * 2),
                "residual": np.array([stars, sky]),
            }
        )

    rows = closure.stage_rows([table("A", 0.02, -0.1), table("B", 0.04, 0.3)])
    assert [row["stage"] for row in rows] == ["stars", "sky"]
    assert [row["n"] for row in rows] == [2, 2]
    assert rows[0]["bias"] == pytest.approx(0.03)
    assert rows[1]["between"] == pytest.approx(np.sqrt(0.05))
    assert rows[1]["within"] == 0
    assert closure.stage_rows([]) == []


def predictions(truth):
    n = truth.n_rows
    return Table(
        {"id": truth["id"], "galaxy": truth["galaxy"], "scale": text(["18arcsec"] * n)}
        | {"target": text(["sMd"] * n), "truth": np.full(n, 0.3), "prediction": np.full(n, 0.5)}
    )


def test_predictions_are_compared_with_fit_and_truth():
    _, truth, _, _ = survey()
    rows = closure.prediction_rows(predictions(truth), {"18arcsec": truth, "1kpc": truth})
    assert [(row["stage"], row["quantity"], row["scale"]) for row in rows] == [
        ("predict_fit", "sMd", "18arcsec"),
        ("predict_truth", "sMd", "18arcsec"),
    ]
    assert rows[0]["bias"] == pytest.approx(0.2)
    assert rows[1]["bias"] == pytest.approx(0.5)


def test_the_table_has_the_agreed_columns():
    fit, truth, photometry, _ = survey()
    table = closure.closure_table(closure.fit_rows("fit_full", "x", fit, truth, photometry))
    assert tuple(table) == (
        "stage", "quantity", "scale", "band", "n", "bias", "scatter", "within", "between",
    )  # fmt: skip
    assert table["n"].dtype.kind == "i"


def test_the_figure_has_a_bar_a_stage_and_scale():
    fit, truth, photometry, _ = survey()
    rows = []
    for scale in ("18arcsec", "1kpc"):
        for stage in ("fit_full", "fit_short"):
            rows += closure.fit_rows(stage, scale, fit, truth, photometry)
    figure = closure_figure.closure(closure.closure_table(rows))
    middle = figure.axes[list(style.TARGETS).index("sMd")]
    heights = sorted(bar.get_height() for bar in middle.patches)
    row = next(row for row in rows if row["quantity"] == "sMd")
    assert heights == pytest.approx(
        sorted([row["between"], np.hypot(row["between"], row["within"])] * 4)
    )
    assert [label.get_text() for label in middle.get_xticklabels()] == ["18arcsec", "1kpc"]


def test_stages_of_images_have_a_panel_of_their_own():
    residuals = [("sky", "flux", "", "WISE_12", 0.01), ("sky", "flux", "", "GALEX_FUV", -0.03)]
    residuals += [("convolve", "flux", "18arcsec", "WISE_12", 0.002)]
    residuals += [("convolve", "flux", "3kpc", "WISE_12", -0.004)]
    columns = dict(zip(("stage", "quantity", "scale", "band"), map(text, zip(*residuals))))
    columns |= {"galaxy": text(["A"] * 4), "residual": np.array([row[-1] for row in residuals])}
    table = closure.closure_table(closure.stage_rows([Table(columns)]))
    page = closure_figure.closure(table)
    *_, ax = page.axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["GALEX FUV", "WISE 3"]
    found = {line.get_label(): line.get_xydata() for line in ax.lines}
    np.testing.assert_allclose(found["sky"], [[0.1, 3.0], [1.1, 1.0]])
    # The largest of the scales, and a line to the least.
    np.testing.assert_allclose(found["convolution and resampling"], [[1.3, 0.4]], rtol=1e-6)
    assert len(found["masks that are filled"]) == 0
    lines = [part for whole in ax.collections for part in whole.get_segments()]
    np.testing.assert_allclose(lines[-1], [[1.3, 0.2], [1.3, 0.4]], rtol=1e-6)


def test_a_figure_of_nothing_says_so():
    empty = closure.closure_table([])
    assert "known truth" in closure_figure.closure(empty).axes[0].texts[0].get_text()
    with pytest.raises(DataError, match="the closure table lacks the column within"):
        closure_figure.closure(Table({"stage": [], "quantity": [], "scale": [], "between": []}))
