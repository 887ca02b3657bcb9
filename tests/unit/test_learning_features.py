import numpy as np
import pytest

from dustcast.learning import features as ft
from dustcast.tables import DataError, Table, read_table, write_table
from dustcast.temperature import log_umin

BANDS = ["GALEX_FUV", "WISE_3.4", "WISE_12"]
MSUN_KG = 1.988409870698051e30
L_SUN = 3.828e26


def text(*values):
    return np.array(values, dtype=object)


@pytest.fixture
def photometry():
    return Table(
        {
            "id": text("a/global", "b/1kpc/0_0", "b/1kpc/1_0"),
            "galaxy": text("a", "b", "b"),
            "scale": text("1kpc", "1kpc", "1kpc"),
            "distance": np.array([10.0, 20.0, 20.0]),
            "pixel_scale_pc": np.array([1000.0, 1000.0, 1000.0]),
            "area_arcsec2": np.array([100.0, 25.0, 25.0]),
            "GALEX_FUV": np.array([1.0, np.nan, -2.0]),
            "GALEX_FUV_err": np.array([0.1, np.nan, 1.0]),
            "WISE_3.4": np.array([10.0, 20.0, 30.0]),
            "WISE_3.4_err": np.array([1.0, -1.0, 3.0]),
            "WISE_12": np.array([5.0, 0.0, 5.0]),
            "WISE_12_err": np.array([0.5, 0.5, 0.0]),
        }
    )


@pytest.fixture
def short():
    # In another order than the photometry: rows are matched by id.
    return Table(
        {
            "id": text("b/1kpc/1_0", "a/global", "b/1kpc/0_0"),
            "bayes.GALEX_FUV": np.array([3.0, 1.0, 2.0]),
            "bayes.WISE_3.4": np.array([30.0, 10.0, 20.0]),
            "bayes.WISE_12": np.array([15.0, 4.0, 2.0]),
            "best.reduced_chi_square": np.array([1.0, 0.5, np.nan]),
        }
    )


@pytest.fixture
def full():
    n = 3
    columns = {
        "bayes.dust.luminosity": (np.full(n, 1e9 * L_SUN), 0.1e9 * L_SUN),
        "bayes.stellar.lum": (np.full(n, 1e10 * L_SUN), 0.2e10 * L_SUN),
        "bayes.dust.mass": (np.full(n, 1e7 * MSUN_KG), 0.3e7 * MSUN_KG),
        "bayes.stellar.m_star": (np.full(n, 1e10), 0.4e10),
        "bayes.dust.umin": (np.array([1.0, 1.0, 2.0]), 0.5),
    }
    table = Table({"id": text("a/global", "b/1kpc/0_0", "b/1kpc/1_0")})
    for name, (mean, error) in columns.items():
        table |= {name: mean, name + "_err": np.full(n, error)}
    return Table(table | {"best.reduced_chi_square": np.ones(n)})


def test_columns_and_values(short, full, photometry):
    table = ft.build_features(short, full, photometry, BANDS)
    expected = "id galaxy scale weight c_GALEX_FUV c_WISE_12 log_w1 log_scale"
    assert " ".join(table) == (
        f"{expected} sLd sLd_err sMd sMd_err Td Td_err Td_geometric Td_geometric_err"
    )
    np.testing.assert_allclose(table["c_GALEX_FUV"], np.log10([0.1, 0.1, 0.1]))
    np.testing.assert_allclose(table["c_WISE_12"], np.log10([0.4, 0.1, 0.5]))
    steradian = np.array([100.0, 25.0, 25.0]) / 206264.80624709636**2
    np.testing.assert_allclose(table["log_w1"], np.log10([1e-8, 2e-8, 3e-8] / steradian))
    np.testing.assert_allclose(table["log_scale"], 3)
    np.testing.assert_allclose(table["weight"], [1, 0.5, 0.5])
    np.testing.assert_allclose(table["sLd"], -1)
    np.testing.assert_allclose(table["sMd"], -3, atol=1e-4)
    np.testing.assert_allclose(table["Td"], [18.3, 18.3, 18.3 * 2 ** (1 / 5.79)])
    assert table.exclusions.n_rows == 0


def test_errors_against_sampling(short, full, photometry):
    """First-order errors equal the scatter of random means of small relative error."""
    draws = np.random.default_rng(1).normal(size=(4, 200000))
    for name in list(full):
        if name.endswith("_err"):
            full[name] = full[name] / 20
    table = ft.build_features(short, full, photometry, BANDS)
    ratio = np.log10((1 + 0.005 * draws[0]) / (1 + 0.01 * draws[1]))
    assert table["sLd_err"][0] == pytest.approx(ratio.std(), rel=0.01)
    ratio = np.log10((1 + 0.015 * draws[2]) / (1 + 0.02 * draws[3]))
    assert table["sMd_err"][0] == pytest.approx(ratio.std(), rel=0.01)
    temperature = 18.3 * (1 + 0.025 * draws[0]) ** (1 / 5.79)
    assert table["Td_err"][0] == pytest.approx(temperature.std(), rel=0.01)


def test_luminosity(short, full, photometry):
    table = ft.build_features(short, full, photometry, BANDS, w1="luminosity")
    metres = 10e6 * 3.0856775814913674e16
    assert table["log_w1"][0] == pytest.approx(np.log10(4 * np.pi * metres**2 * 10e-29))
    assert table.units["log_w1"] == "dex(W/Hz)"


def test_observed_features_are_missing_where_nothing_positive_was_measured(short, full, photometry):
    table = ft.build_features(short, full, photometry, BANDS, observed=True)
    np.testing.assert_allclose(table["o_GALEX_FUV"], [0, np.nan, np.nan], atol=1e-12)
    # A negative flux of known error still tells how deep the image is.
    np.testing.assert_allclose(table["e_GALEX_FUV"], [-1, np.nan, np.log10(1 / 3)])
    # A negative error marks an upper limit, an error of zero no measurement.
    np.testing.assert_allclose(table["o_WISE_3.4"], [0, np.nan, 0], atol=1e-12)
    np.testing.assert_allclose(table["o_WISE_12"], [np.log10(1.25), np.nan, np.nan])
    np.testing.assert_allclose(table["e_WISE_12"], [np.log10(0.125), np.log10(0.25), np.nan])


@pytest.mark.parametrize(
    ("where", "column", "value", "reason"),
    [
        ("short", "bayes.WISE_12", np.nan, "no Bayesian flux"),
        ("short", "best.reduced_chi_square", 11.0, "short fit: reduced chi2 > 10"),
        ("full", "best.reduced_chi_square", np.inf, "full fit: reduced chi2 > 10"),
        ("full", "bayes.dust.mass", 0.0, "no finite target"),
        ("photometry", "area_arcsec2", -1.0, "area_arcsec2"),
    ],
)
def test_exclusions(short, full, photometry, where, column, value, reason):
    tables = {"short": short, "full": full, "photometry": photometry}
    tables[where][column][np.asarray(tables[where]["id"]) == "a/global"] = value
    table = ft.build_features(short, full, photometry, BANDS)
    assert table["id"].tolist() == ["b/1kpc/0_0", "b/1kpc/1_0"]
    assert table.exclusions["id"].tolist() == ["a/global"]
    assert table.exclusions["galaxy"].tolist() == ["a"]
    assert reason in table.exclusions["reason"][0]


def test_sample_without_fit(short, full, photometry):
    table = ft.build_features(short.rows(np.array([0, 2])), full, photometry, BANDS)
    assert table.exclusions["reason"].tolist() == ["no row in the short fit"]


def test_without_far_infrared_targets_are_missing(short, photometry):
    table = ft.build_features(short, None, photometry, BANDS)
    assert table.n_rows == 3
    assert np.isnan(table["Td"]).all()


def test_external_truth(short, photometry):
    truth = Table(
        {
            "id": text("b/1kpc/0_0", "a/global"),
            "sLd": np.array([-0.5, -1.5]),
            "sMd": np.array([-3.0, -2.0]),
            "Td": np.array([25.0, np.inf]),
        }
    )
    table = ft.build_features(short, None, photometry, BANDS, truth=truth)
    assert table["id"].tolist() == ["b/1kpc/0_0"]
    assert table["sLd"].tolist() == [-0.5]
    assert np.isnan(table["sLd_err"]).all()
    assert sorted(table.exclusions["reason"]) == [
        "no finite target",
        "no row in the table of true values",
    ]


def test_refusals(short, full, photometry):
    with pytest.raises(DataError, match="w1 is"):
        ft.build_features(short, full, photometry, BANDS, w1="flux")
    with pytest.raises(DataError, match="reference band"):
        ft.build_features(short, full, photometry, BANDS, reference="SDSS_u")
    with pytest.raises(DataError, match=r"short fit lacks the column bayes\.SDSS_u"):
        ft.build_features(short, full, photometry, [*BANDS, "SDSS_u"])
    photometry["id"][1] = "a/global"
    with pytest.raises(DataError, match="more than once"):
        ft.build_features(short, full, photometry, BANDS)


def test_no_samples(short, full, photometry):
    empty = photometry.rows(np.zeros(3, bool))
    table = ft.build_features(short, full, empty, BANDS)
    assert table.n_rows == 0
    assert "c_WISE_12" in table


def test_written_and_read(tmp_path, short, full, photometry):
    table = ft.build_features(short, full, photometry, BANDS)
    write_table(tmp_path / "f.parquet", table)
    again = read_table(tmp_path / "f.parquet")
    assert list(again) == list(table)
    assert again.meta["reference"] == "WISE_3.4"
    np.testing.assert_array_equal(again["Td"], table["Td"])


def test_weights():
    galaxy = ["a", "b", "a", "a", "b"]
    scale = ["1kpc", "1kpc", "3kpc", "1kpc", "3kpc"]
    np.testing.assert_allclose(ft.sample_weights(galaxy), [1 / 3, 1 / 2, 1 / 3, 1 / 3, 1 / 2])
    np.testing.assert_allclose(ft.sample_weights(galaxy, scale), [1 / 2, 1, 1, 1 / 2, 1])
    assert len(ft.sample_weights([], [])) == 0


def test_scales_together(short, full, photometry):
    one = ft.build_features(short, full, photometry, BANDS)
    both = ft.concatenate([one, one])
    assert both.n_rows == 6
    other = ft.build_features(short, full, photometry, BANDS, w1="luminosity")
    with pytest.raises(DataError, match="differ"):
        ft.concatenate([one, other])


def test_errors_of_bayesian_fluxes_are_features_where_asked_for(short, full, photometry):
    with pytest.raises(DataError, match=r"bayes\.GALEX_FUV_err"):
        ft.build_features(short, full, photometry, BANDS, flux_errors=True)
    for band in BANDS:
        short[f"bayes.{band}_err"] = np.array([0.1, 0.01, 0.0]) * short[f"bayes.{band}"]
    table = ft.build_features(short, full, photometry, BANDS, flux_errors=True)
    assert [name for name in table if name.startswith("s_")] == [f"s_{band}" for band in BANDS]
    # Rows in the order of the photometry; no error of a fit of one model is no feature.
    np.testing.assert_allclose(table["s_WISE_12"], [-2, np.nan, -1])


def test_context_follows_the_ids():
    features = Table(
        {"id": np.array(["b/1", "a/1"], object), "galaxy": np.array(["b", "a"], object)}
    )
    photometry = Table(
        {"id": np.array(["a/1", "x/1", "b/1"], object), "r_r25": np.array([0.1, 0.2, 0.3])}
    )
    galaxies = Table(
        {"galaxy": np.array(["a", "b"], object), "hubble_stage": np.array([3, np.nan])}
    )
    ft.add_context(features, photometry, galaxies)
    np.testing.assert_array_equal(features["r_r25"], [0.3, 0.1])
    np.testing.assert_array_equal(features["hubble_stage"], [np.nan, 3])
    del photometry["r_r25"]
    ft.add_context(features, photometry, galaxies)
    assert np.isnan(features["r_r25"]).all()


def test_logarithm_of_umin_against_draws(full):
    """From mean and standard deviation where the fit gives no logarithm, else that itself."""
    draws = np.exp(np.random.default_rng(5).normal(0.7, 0.6, 200_000))
    full["bayes.dust.umin"] = np.full(3, draws.mean())
    full["bayes.dust.umin_err"] = np.full(3, draws.std())
    mean, sigma = log_umin(full)
    np.testing.assert_allclose(mean, 0.7, atol=0.01)
    np.testing.assert_allclose(sigma, 0.6, atol=0.01)
    full["bayes.dust.umin_log"], full["bayes.dust.umin_log_err"] = np.zeros(3), np.full(3, 0.1)
    targets = ft.targets_from_fit(full)
    np.testing.assert_allclose(targets["Td_geometric"], 18.3)
    np.testing.assert_allclose(targets["Td_geometric_err"], 18.3 * 0.1 * np.log(10) / 5.79)
    assert (targets["Td"] > 20).all()


def test_the_geometric_temperature_takes_the_place_of_the_other(short, full, photometry):
    table = ft.build_features(short, full, photometry, BANDS)
    expected = np.array(table["Td_geometric"])
    assert (expected < table["Td"]).all()
    ft.choose_geometric(table)
    np.testing.assert_array_equal(table["Td"], expected)
    with pytest.raises(DataError, match="let truth be one"):
        ft.choose_geometric(table)
