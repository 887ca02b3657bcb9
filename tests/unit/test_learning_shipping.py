"""Models that leave their run: which part predicts whom, sigma's parts, errors of stars."""

import json

import numpy as np
import pytest

from dustcast.learning import shipping
from dustcast.learning.applicability import OUTSIDE
from dustcast.learning.experiments import select_features, train_fold
from dustcast.learning.features import TARGETS, build_features
from dustcast.tables import DataError, Table, stack_tables

BANDS = ["GALEX_NUV", "WISE_3.4", "WISE_12"]
N = 60
SPLIT = {
    "sLd": {"galaxy_share": 0.36, "inflation": 2.0, "length": 0.8, "source": "x"},
    "sMd": {"galaxy_share": 0.0, "inflation": 1.0, "length": 0.8, "source": "x"},
    "Td": {"galaxy_share": 1.0, "inflation": 1.0, "length": 0.8, "source": "x"},
}


def text(*values):
    return np.array(values, dtype=object)


def samples(count, scale="global", seed=0):
    rng = np.random.default_rng(seed)
    names = text(*(f"g{k}" for k in range(count)))
    ids = text(*(f"{name}/{scale}" for name in names))
    flux = {band: rng.lognormal(0, 0.5, count) for band in BANDS}
    photometry = Table(
        {
            "id": ids,
            "galaxy": names,
            "scale": np.full(count, scale, dtype=object),
            "x": np.arange(count, dtype=np.int32),
            "y": np.arange(count, dtype=np.int32),
            "area_arcsec2": np.full(count, 300.0),
            "pixel_scale_pc": np.full(count, 1000.0),
        }
    )
    short = Table({"id": ids, "best.reduced_chi_square": np.ones(count)})
    for band in BANDS:
        short[f"bayes.{band}"] = flux[band]
        short[f"bayes.{band}_err"] = 0.1 * flux[band]
    colour = np.log10(flux["WISE_12"] / flux["WISE_3.4"])
    truth = Table({"id": ids, "sLd": colour - 1, "sMd": 2 * colour - 3, "Td": 20 + 3 * colour})
    return photometry, short, truth


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of sixty galaxies in two folds."""
    root = tmp_path_factory.mktemp("model")
    photometry, short, truth = samples(N)
    features = build_features(short, None, photometry, BANDS, flux_errors=True, truth=truth)
    features, names = select_features(features, {"flux_errors": True})
    folds = {f"g{k}": k % 2 for k in range(N)}
    folds["NGC 12"] = folds.pop("g3")
    features["galaxy"][3] = "NGC 12"
    trained = {}
    for target in TARGETS:
        for fold in (0, 1):
            others = {name for name, other in folds.items() if other != fold}
            settings = {"n_inner": 2, "sigma": {"n_inner": 2}, "parameters": {"alpha": 0.01}}
            model = train_fold(features, names, target, others, "linear", settings)
            trained[target, fold] = root / "run" / target / f"fold{fold}"
            model.save(trained[target, fold])
    settings = {
        "name": "test",
        "bands": BANDS,
        "reference": "WISE_3.4",
        "w1": "surface_brightness",
        "selection": {"flux_errors": True},
        "scales": ["global"],
        "split": SPLIT,
        "stars": {},
    }
    shipping.ship_model(
        root / "shipped", features, names, trained, folds, settings, card="# Card\n"
    )
    return root / "shipped"


def test_a_galaxy_of_the_training_is_predicted_by_the_fold_that_did_not_see_it(folder):
    model = shipping.MapModel.load(folder)
    assert model.fold_of("g4") == 0
    assert model.fold_of("NGC12") == model.fold_of("ngc 12") == 1
    assert model.fold_of("g400") is None
    photometry, short, _ = samples(10, "18arcsec", seed=1)
    parts = {name: model.predict(short, photometry, name) for name in ("g4", "ngc12", "elsewhere")}
    assert [table.meta["fold"] for table in parts.values()] == ["fold0", "fold1", "whole"]
    values = [table["sLd"] for table in parts.values()]
    assert not np.allclose(values[0], values[1], rtol=1e-6)
    assert not np.allclose(values[0], values[2], rtol=1e-6)


def test_prediction_and_parts_of_sigma(folder):
    model = shipping.MapModel.load(folder)
    photometry, short, truth = samples(10, "18arcsec", seed=1)
    table = model.predict(short, photometry, "elsewhere")
    # A linear relation, learned by a linear model.
    np.testing.assert_allclose(table["sMd"], truth["sMd"], atol=1e-3)
    whole = Table(photometry)
    whole["scale"] = np.full(10, "global", dtype=object)
    at_home = model.predict(short, whole, "elsewhere")
    # Twice the sigma of a whole galaxy, of which 0.36 of the variance is the galaxy's.
    np.testing.assert_allclose(table["sLd_sigma"], 2 * at_home["sLd_sigma"])
    np.testing.assert_allclose(table["sLd_sigma_galaxy"], 0.6 * table["sLd_sigma"])
    np.testing.assert_allclose(table["sLd_sigma_pixel"], 0.8 * table["sLd_sigma"])
    np.testing.assert_allclose(table["sMd_sigma_galaxy"], 0)
    np.testing.assert_allclose(at_home["sLd_sigma_galaxy"], at_home["sLd_sigma"])


def test_pixels_unlike_the_training_are_outside_and_those_without_fit_are_listed(folder):
    photometry, short, _ = samples(10, "18arcsec", seed=1)
    short["bayes.WISE_12"][2] *= 1e6
    short = short.rows(np.arange(9))
    table = shipping.MapModel.load(folder).predict(short, photometry, "elsewhere")
    assert table.n_rows == 9
    assert table["sMd_applic"][2] == OUTSIDE
    assert np.mean(table["sMd_applic"] == OUTSIDE) < 0.5
    assert table.meta["exclusions"][0][0] == "g9"


def test_what_is_true_comes_with_the_full_fit(folder):
    photometry, short, _ = samples(3, "18arcsec", seed=1)
    full = Table({"id": photometry["id"][[2, 0]]})
    for name, value in (
        ("dust.luminosity", 3.828e26),
        ("stellar.lum", 3.828e27),
        ("dust.mass", 1.988409870698051e30),
        ("stellar.m_star", 100.0),
        ("dust.umin", 1.0),
    ):
        full[f"bayes.{name}"] = np.full(2, value)
        full[f"bayes.{name}_err"] = np.full(2, 0.1 * value)
    table = shipping.MapModel.load(folder).predict(short, photometry, "elsewhere", full)
    np.testing.assert_allclose(table["sLd_true"], [-1, np.nan, -1])
    np.testing.assert_allclose(table["sMd_true"], [-2, np.nan, -2], rtol=1e-4)
    np.testing.assert_allclose(table["dust_luminosity_true"], [1, np.nan, 1])
    np.testing.assert_allclose(table["dust_mass_true_err"][0], 0.1 / np.log(10))


def test_folders_that_are_no_model(folder, tmp_path):
    with pytest.raises(DataError, match="holds no model for maps"):
        shipping.MapModel.load(tmp_path)
    settings = json.loads((folder / "settings.json").read_text())
    del settings["split"]
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(DataError, match="split"):
        shipping.MapModel.load(tmp_path)
    assert (folder / "README.md").read_text() == "# Card\n"


def test_split_is_checked(tmp_path):
    path = tmp_path / "split.csv"
    rows = ["target,galaxy_share,inflation,length,source", "sLd,0.5,1,1,x", "sMd,0.5,1,1,x"]
    path.write_text("\n".join(rows))
    with pytest.raises(DataError, match="lacks the target Td"):
        shipping.read_sigma_shares(path)
    path.write_text("\n".join([*rows, "Td,1.5,1,1,x"]))
    with pytest.raises(DataError, match=r"Td: galaxy_share is 1\.5"):
        shipping.read_sigma_shares(path)
    path.write_text("\n".join([*rows, "Td,0.4,1.2,0.8,x"]))
    found = shipping.read_sigma_shares(path)["Td"]
    assert (found["inflation"], found["length"]) == (1.2, 0.8)
    path.write_text("\n".join([*rows, "Td,0.4,1.2,0,x"]))
    with pytest.raises(DataError, match=r"length 0\.0"):
        shipping.read_sigma_shares(path)


def test_errors_of_the_stars_are_measured_against_the_full_fit():
    rng = np.random.default_rng(2)
    n = 4000
    ids = text(*(f"g{k}/global" for k in range(n)))
    truth = np.zeros(n)
    # The error of the stars is half of what is stated, and goes against the residual.
    stars = 0.1 * rng.normal(size=n)
    residual = -0.6 * 0.3 * stars / 0.1 + 0.8 * 0.3 * rng.normal(size=n)
    predictions = Table(
        {
            "id": np.concatenate([ids, ids]),
            "galaxy": np.concatenate([ids, ids]),
            "target": text(*["sLd"] * n, *["sMd"] * n),
            "truth": np.concatenate([truth, truth]),
            "prediction": np.concatenate([residual, residual]),
        }
    )
    short, full = Table({"id": ids}), Table({"id": ids})
    for name in ("bayes.stellar.lum", "bayes.stellar.m_star"):
        full[name] = np.ones(n)
        short[name] = 10**stars
        short[f"{name}_err"] = 0.2 * np.log(10) * short[name]
    found = shipping.star_errors(predictions, short, full)["sMd"]
    assert found["factor"] == pytest.approx(0.5, rel=0.05)
    assert found["correlation"] == pytest.approx(-0.6, abs=0.03)
    assert found["scatter"] == pytest.approx(0.1, rel=0.05)
    assert found["sum_rmse"] == pytest.approx(np.sqrt(0.09 + 0.01 - 2 * 0.6 * 0.03), rel=0.05)


def test_sigma_on_pixels_that_scatter_more_in_two_parts():
    photometry, short, truth = samples(N)
    rng = np.random.default_rng(4)
    truth["sMd"] = truth["sMd"] + 0.2 * rng.normal(size=N)
    options = {"flux_errors": True}
    whole = build_features(short, None, photometry, BANDS, truth=truth, **options)
    whole, names = select_features(whole, options)
    # Forty pixels a galaxy like itself: 0.3 dex that they share, 0.4 of their own.
    rows = np.repeat(np.arange(N), 40)
    pixels = whole.rows(rows)
    spot = [f"{k % 8 * 3}_{k // 8 * 3}" for k in range(40)] * N
    pixels["id"] = np.array([f"g{g}/1kpc/{xy}" for g, xy in zip(rows, spot)], dtype=object)
    clean = samples(N)[2]["sMd"][rows]
    own = 0.4 * rng.normal(size=len(rows))
    pixels["sMd"] = clean + (0.3 * rng.normal(size=N))[rows] + own
    pixels["sLd"] = pixels["sLd"] + 1e-3 * own
    pixels["Td"] = pixels["Td"] + 1e-3 * own
    folds = {f"g{k}": k % 3 for k in range(N)}
    settings = {"n_inner": 3, "sigma": {"n_inner": 2}, "parameters": {"alpha": 0.01}}
    table = shipping.carried_sigma(whole, pixels, names, folds, "linear", settings)
    assert table["target"].tolist() == list(TARGETS)
    row = {name: table[name][1] for name in table}
    assert row["rmse"] == pytest.approx(0.5, rel=0.15)
    assert row["inflation"] == pytest.approx(0.5 / 0.2, rel=0.25)
    assert row["galaxy_share"] == pytest.approx(0.36, abs=0.12)
    assert (row["n_galaxies"], row["n_samples"]) == (N, 40 * N)


def test_a_model_of_pixels_has_shares_of_its_own():
    """Half of the variance is a galaxy's: of the scale with most galaxies, by target."""
    rng = np.random.default_rng(4)
    tables = []
    for scale, count, share in (("18arcsec", 60, 0.5), ("1kpc", 20, 0.1), ("global", 90, 0.0)):
        pixels = 1 if scale == "global" else 16
        galaxy = np.repeat([f"g{k}" for k in range(count)], pixels).astype(object)
        for target in TARGETS:
            common = np.repeat(rng.normal(0, np.sqrt(share), count), pixels)
            residual = common + rng.normal(0, np.sqrt(1 - share), count * pixels)
            places = [f"{name}/{scale}/{k % 4}_{k // 4 % 4}" for k, name in enumerate(galaxy)]
            tables.append(
                Table(
                    {
                        "id": np.array(places, dtype=object),
                        "galaxy": galaxy,
                        "scale": np.full(len(galaxy), scale, dtype=object),
                        "target": np.full(len(galaxy), target, dtype=object),
                        "truth": np.zeros(len(galaxy)),
                        "prediction": 0.3 * residual,
                        "sigma": np.full(len(galaxy), 0.3),
                    }
                )
            )
    found = shipping.own_shares(stack_tables(tables))
    for target in TARGETS:
        assert found[target]["galaxy_share"] == pytest.approx(0.5, abs=0.12)
        assert found[target]["inflation"] == pytest.approx(1, abs=0.1)
        assert found[target]["source"] == "held-out pixels of 18arcsec"
    assert shipping.own_shares(stack_tables(tables[-3:])) is None
    few = stack_tables([table.rows(np.arange(16 * 4)) for table in tables[:3]])
    assert shipping.own_shares(few) is None
