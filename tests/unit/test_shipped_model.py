"""The model that ships: its size, its card, what it says of a typical and of an odd galaxy."""

import numpy as np
import pytest

from dustcast.bands import bands_of
from dustcast.config import REPOSITORY
from dustcast.learning.applicability import INSIDE, OUTSIDE
from dustcast.learning.shipping import MapModel
from dustcast.tables import Table
from dustcast.units import MJY_SR_PER_MJY_ARCSEC2

FOLDER = REPOSITORY / "resources/models/dustpedia"
# Medians of the training galaxies with their observed bands: flux over that of WISE 3.4, relative
# error, surface brightness of WISE 3.4 in MJy/sr.
MEDIANS = {
    "GALEX_FUV": (0.031, 0.104),
    "GALEX_NUV": (0.052, 0.072),
    "SDSS_u": (0.162, 0.066),
    "SDSS_g": (0.542, 0.056),
    "SDSS_r": (0.876, 0.035),
    "SDSS_i": (1.171, 0.033),
    "SDSS_z": (1.451, 0.037),
    "2MASS_J": (1.733, 0.047),
    "2MASS_H": (2.049, 0.052),
    "2MASS_Ks": (1.674, 0.049),
    "WISE_3.4": (1.0, 0.036),
    "WISE_4.6": (0.607, 0.036),
    "WISE_12": (1.161, 0.126),
    "WISE_22": (1.464, 0.207),
    "Spitzer_3.6": (0.952, 0.037),
    "Spitzer_4.5": (0.627, 0.034),
    "Spitzer_5.8": (0.692, 0.083),
    "Spitzer_8.0": (1.199, 0.157),
}
W1_MJY_SR = 0.304


@pytest.fixture(scope="module")
def model():
    return MapModel.load(FOLDER)


def sample(errors=1.0):
    """Return photometry and short fit of a typical pixel; `errors` multiplies those of fluxes."""
    keys = {
        "id": "x/18arcsec/0_0",
        "galaxy": "x",
        "scale": "18arcsec",
        "x": 0,
        "y": 0,
        "area_arcsec2": 324.0,
        "pixel_scale_pc": 1000.0,
    }
    photometry = Table(
        {
            name: np.array([value], dtype=object if isinstance(value, str) else None)
            for name, value in keys.items()
        }
    )
    short = Table({"id": photometry["id"], "best.reduced_chi_square": np.ones(1)})
    w1 = W1_MJY_SR * 324.0 / MJY_SR_PER_MJY_ARCSEC2
    for band, (flux, error) in MEDIANS.items():
        short[f"bayes.{band}"] = np.array([w1 * flux])
        short[f"bayes.{band}_err"] = errors * error * short[f"bayes.{band}"]
    return short, photometry


def test_it_is_small_and_has_its_card(model):
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 10e6
    assert {path.suffix for path in files} == {".ubj", ".json", ".npz", ".csv", ".md"}
    card = (FOLDER / "README.md").read_text()
    for word in ("nuv_w3", "jhk_w1_w2", "no_sdss", "no_irac", "random", "Limits"):
        assert word in card
    assert model.settings["bands"] == bands_of("input")
    assert model.settings["scales"] == ["global"]
    assert not any("log_scale" in name for name in model.applicability.names)
    assert len(model.folds) == 714


def test_a_typical_sample_is_inside_and_larger_errors_of_fluxes_widen_sigma(model):
    sharp, vague = (model.predict(*sample(errors), "x") for errors in (1.0, 8.0))
    for target in ("sLd", "sMd"):
        assert sharp[f"{target}_applic"][0] == INSIDE
        assert vague[f"{target}_sigma"][0] > 1.3 * sharp[f"{target}_sigma"][0]
    # A typical spiral galaxy.
    assert -1.0 < sharp["sLd"][0] < -0.3
    assert -3.6 < sharp["sMd"][0] < -2.4


def test_a_sample_beyond_all_galaxies_is_outside(model):
    short, photometry = sample()
    short["bayes.WISE_22"] *= 1e3
    assert model.predict(short, photometry, "x")["sMd_applic"][0] == OUTSIDE


def test_training_galaxies_are_known_by_any_spelling(model):
    assert model.fold_of("ngc 5584") == model.folds["NGC5584"]
    assert model.predict(*sample(), "NGC5584").meta["fold"] == "fold1"
