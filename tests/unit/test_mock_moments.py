"""Moments of the DustPedia galaxies: those that ship are those that the code measures."""

import json

import numpy as np
import pytest

from dustcast.mock import moments
from dustcast.population import MOMENTS, read_moments
from dustcast.tables import Table, read_table
from dustcast.units import DUST_TEMPERATURE_EXPONENT

FILES = [
    "dustpedia_cigale_results_final_version.csv",
    "DustPedia_HyperLEDA_Herschel.csv",
    "DustPedia_Aperture_Photometry_2.2.csv",
]


@pytest.fixture(scope="module")
def measured(data):
    official, hyperleda, photometry = (data / "dustpedia" / name for name in FILES)
    return moments.measure_moments(
        moments.read_official(official),
        moments.read_hyperleda(hyperleda),
        read_table(photometry),
        moments.stellar_models(),
    )


def test_what_ships_is_what_is_measured(measured, tmp_path):
    """The last digit may differ between machines: sums of 13,000 numbers are rounded to five."""
    moments.write_moments(tmp_path / "made.json", measured, FILES)
    made = json.loads((tmp_path / "made.json").read_text())
    ships = read_moments()
    assert made.keys() == ships.keys()
    assert made["quantities"] == ships["quantities"] == list(moments.QUANTITIES)
    assert made["sources"] == ships["sources"]
    for key in ("present", "depth", "depth_slope"):
        assert made[key] == pytest.approx(ships[key], rel=1e-3)
    np.testing.assert_allclose(made["distance_mpc"], ships["distance_mpc"], rtol=1e-4)
    for one, other in zip(made["components"], ships["components"], strict=True):
        assert one["weight"] == pytest.approx(other["weight"], rel=1e-3)
        np.testing.assert_allclose(one["mean"], other["mean"], rtol=1e-2, atol=1e-3)
        scale = np.sqrt(np.diag(other["covariance"]))
        difference = np.array(one["covariance"]) - other["covariance"]
        assert np.abs(difference / np.outer(scale, scale)).max() < 0.01
    assert MOMENTS.read_text().endswith("}\n")


def test_moments_are_those_of_the_tables(measured, data):
    """The mixture has the mean and the variance of the galaxies."""
    official = moments.read_official(data / "dustpedia" / FILES[0])
    keep = np.isfinite(official["Ldust__Lsol"]) & np.isfinite(official["Umin"])
    official = official.rows(keep)
    assert measured["n_galaxies"] == official.n_rows == 814
    sLd = np.log10(official["Ldust__Lsol"] / official["Lbolo__Lsol"])
    qhac = np.log10(official["qhac"])
    weight = np.array([component["weight"] for component in measured["components"]])
    assert weight.sum() == pytest.approx(1, abs=1e-4)
    for name, values in (("sLd", sLd), ("log_qhac", qhac)):
        row = moments.QUANTITIES.index(name)
        mean = np.array([component["mean"][row] for component in measured["components"]])
        variance = np.array([part["covariance"][row][row] for part in measured["components"]])
        total = weight @ mean
        assert total == pytest.approx(values.mean(), abs=0.01)
        spread = np.sqrt(weight @ (variance + mean**2) - total**2)
        assert spread == pytest.approx(values.std(), rel=0.02)
    assert measured["targets"]["Td"]["mean"] == pytest.approx(official["Tdust__K"].mean(), abs=0.02)
    photometry = read_table(data / "dustpedia" / FILES[2])
    share = np.isfinite(photometry["PACS_100"]).mean()
    assert measured["present"]["PACS_100"] == pytest.approx(share, abs=1e-4)


def test_depth_is_near_that_of_maps(measured, data):
    """The scatter of squares of 18 arcsec in the published maps of NGC5584, far from the galaxy.

    It includes the large-scale structure of the sky, and squares see less of a beam than a PSF of
    18 arcsec does: within a factor of 2.5.
    """
    from astropy.io import fits
    from astropy.stats import sigma_clipped_stats

    for band in ("GALEX_NUV", "WISE_12", "PACS_100", "SPIRE_250"):
        with fits.open(data / "maps" / "NGC5584" / f"NGC5584_{band}.fits.gz") as hdus:
            header, image = hdus[0].header, hdus[0].data.squeeze().astype(float)
        pixel = 3600 * np.hypot(header.get("CD1_1", header.get("CDELT1")), header.get("CD2_1", 0))
        n = round(18 / pixel)
        image[image == 0] = np.nan
        shape = np.array(image.shape) // n
        blocks = image[: shape[0] * n, : shape[1] * n].reshape(shape[0], n, shape[1], n)
        flux = 1e3 * blocks.sum(axis=(1, 3)) * (18 / (n * pixel)) ** 2  # mJy in 18" x 18"
        y, x = np.indices(flux.shape)
        away = np.hypot(y - shape[0] / 2, x - shape[1] / 2) * 18 > 150
        *_, scatter = sigma_clipped_stats(flux[away & np.isfinite(flux)], sigma=3)
        assert 0.4 < measured["depth"][band] / scatter < 2.5, band


def test_a_mixture_finds_two_populations():
    """Drawn from two Gaussians with all means and covariances known."""
    rng = np.random.default_rng(1)
    size = len(moments.QUANTITIES)
    means = np.zeros((2, size))
    means[1, :3] = (3, -2, 4)
    roots = rng.normal(size=(2, size, size)) / np.sqrt(size) + 0.3 * np.eye(size)
    warm = rng.random(6000) < 0.3
    values = np.empty((size, 6000))
    for mode in (0, 1):
        pick = warm == bool(mode)
        values[:, pick] = means[mode][:, None] + roots[mode] @ rng.normal(size=(size, pick.sum()))
    # The start is wrong for one galaxy in five.
    start = warm ^ (rng.random(6000) < 0.2)
    parts = moments.mixture(np.repeat(values[:, :, None], 2, axis=2), start)
    for mode, (weight, mean, covariance) in enumerate(parts):
        assert weight == pytest.approx((0.7, 0.3)[mode], abs=0.02)
        np.testing.assert_allclose(mean, means[mode], atol=0.15)
        np.testing.assert_allclose(covariance, roots[mode] @ roots[mode].T, atol=0.25)


def test_effective_field_belongs_to_luminosity_and_mass():
    """Where Umin is known the two agree; where it is the prior's, mass and luminosity decide."""
    umin = np.array([0.5, 1.0, 2.0, 4.0, 14.0])
    gamma = np.array([0.0, 0.01, 0.02, 0.0, 0.0])
    power = 200 * umin * (1 - gamma + gamma * np.log(1e7 / umin))
    power[4] = 200 * 1.5  # the mass says 1.5
    table = Table(
        {"Umin": umin, "Umin_err": np.array([0.05, 0.1, 0.2, 0.4, 20.0]), "gamma": gamma}
        | {"Ldust__Lsol": power * 1e6, "Mdust__Msol": np.full(5, 1e6)}
    )
    np.testing.assert_allclose(moments.effective_umin(table), [0.5, 1, 2, 4, 1.5], rtol=1e-9)


def test_noise_of_apertures_is_read_off_their_errors():
    """Errors made of a known calibration, depth and slope."""
    rng = np.random.default_rng(2)
    semi_major = rng.uniform(40, 400, 500)
    flux = 10 ** rng.uniform(-3, 0, 500)  # Jy
    noise = 1e-3 * 0.7 * (np.pi * semi_major**2 / 1.5 / 18**2) ** 0.8
    flux[:100] = np.nan
    table = Table(
        {
            "semimaj_arcsec": semi_major,
            "axial_ratio": np.full(500, 1.5),
            "WISE_12": flux,
            "WISE_12_err": np.hypot(0.046 * flux, noise),
        }
    )
    present, depth, slope = moments.noise_of_apertures(table)
    assert present == {"WISE_12": 0.8}
    assert depth["WISE_12"] == pytest.approx(0.7, rel=1e-3)
    assert slope["WISE_12"] == pytest.approx(0.8, rel=1e-3)


def test_temperatures_have_two_modes(data):
    """The warmer one is that of the prior: galaxies whose Umin is not known."""
    official = moments.read_official(data / "dustpedia" / FILES[0])
    umin, error = official["Umin"], official["Umin_err"]
    temperature = 18.3 * umin**DUST_TEMPERATURE_EXPONENT
    counts, _ = np.histogram(temperature, bins=[20, 22, 26, 28, 30])
    assert counts[0] > counts[2] < counts[3]
    warm = np.isfinite(umin) & (temperature > 28) & (temperature < 30)
    assert np.median(error[warm] / umin[warm]) > 1
