"""The synthetic sample: its truth is the sum of its models, its noise has the stated size."""

import numpy as np
import pytest

from dustcast.bands import band_table
from dustcast.config import CONFIG_FOLDER, read_yaml
from dustcast.mock import table as mock
from dustcast.photometry import global_photometry
from dustcast.sample import mock_galaxies
from dustcast.sed import engine, grid
from dustcast.sed.fit import fit_table
from dustcast.sed.spec import FactorisedGrid, Quantity
from dustcast.tables import DataError
from dustcast.units import grid_scale

BANDS = ["GALEX_FUV", "GALEX_NUV", "SDSS_u", "SDSS_r", "2MASS_Ks", "WISE_3.4", "WISE_12", "WISE_22",
         "PACS_100", "SPIRE_250", "SPIRE_500"]  # fmt: skip
TRUE = ("dust.luminosity", "stellar.lum", "dust.mass", "stellar.m_star")


@pytest.fixture(scope="module")
def models():
    """A grid of the demonstration's kind."""
    content = read_yaml(CONFIG_FOLDER / "grids" / "demo.yaml")
    content["sfhdelayedtrunc"] |= {"tau_main": [1700, 5800], "age": [4500]}
    content["dl2007"] |= {"umin": [0.3, 0.7, 1.5, 3.0, 7.0, 15.0]}
    return grid.build_grid(grid.read_spec(content), BANDS)


@pytest.fixture
def drawn(models, monkeypatch):
    """Return a function that simulates and also returns which models were summed."""

    def simulate(n, seed, one=None, **constants):
        picked = []
        nearest = mock._nearest

        def recorded(nodes, wanted):
            picked.append(nearest(nodes, wanted))
            return picked[-1]

        monkeypatch.setattr(mock, "_nearest", recorded)
        for name, value in constants.items():
            monkeypatch.setattr(mock, name, value)
        fluxes, truth = mock.simulate(one or models, mock_galaxies(n), seed=seed)
        monkeypatch.undo()
        return fluxes, truth, picked[0::2], picked[1::2]

    return simulate


def test_truth_is_the_sum_of_its_models(models, drawn):
    """Shares of the sum are solved from the true values alone, then predict noiseless fluxes."""
    fluxes, truth, stellar, dusty = drawn(60, 1, ABSENT={}, NOISE=0.0)
    distance = np.array([one.distance for one in mock_galaxies(60)])
    factors = {q.name: q for q in models.quantities}
    assert len(stellar) == len(dusty) == mock.N_COMPONENTS == 3

    def values(name, row):
        one = factors[name]
        dust = 1.0 if one.dust is None else one.dust[[j[row] for j in dusty]]
        return one.stellar[[i[row] for i in stellar]] * dust

    solved = 0
    for row in range(60):
        matrix = np.array([values(name, row) for name in TRUE])
        true = np.array([truth[f"bayes.{name}"][row] for name in TRUE])
        scale = np.abs(matrix).max(axis=1)
        if (scale == 0).any() or np.linalg.cond(matrix / scale[:, None]) > 1e6:
            continue  # the same model twice: its shares cannot be told apart
        share, *_ = np.linalg.lstsq(matrix / scale[:, None], true / scale, rcond=None)
        np.testing.assert_allclose(matrix @ share, true, rtol=1e-9)
        assert (share > 0).all()
        # Masses have a median of 1e10 Msun formed.
        assert 6 < np.log10(share.sum()) < 14
        model = sum(
            a * (models.stellar_flux[i[row]] + models.luminosity[i[row]] * models.dust_flux[j[row]])
            for a, i, j in zip(share, stellar, dusty)
        ) / grid_scale(distance[row])
        for column, band in enumerate(BANDS):
            sigma = band_table()[band].calibration * model[column]
            assert fluxes[f"{band}_err"][row] == pytest.approx(sigma, rel=1e-6)
            assert abs(fluxes[band][row] - model[column]) < 5 * sigma
        field = values("dust.mass", row) * share
        umin = models.dust_parameters["dust.umin"][[j[row] for j in dusty]]
        assert truth["bayes.dust.umin"][row] == pytest.approx(
            np.average(umin, weights=field), rel=1e-6
        )
        solved += 1
    assert solved > 20


def test_components_lie_near_each_other(models, drawn):
    """Within a galaxy the parameters scatter by a part of what they do among galaxies."""
    _, _, stellar, _ = drawn(400, 2)
    level = np.log10(models.stellar_parameters["sfh.r_sfr"])[np.array(stellar)]
    assert level.std(axis=0).mean() < 0.5 * level.mean(axis=0).std()


def test_truth_is_named_like_a_fit_and_has_no_error(models, drawn):
    _, truth, _, _ = drawn(10, 3)
    names = {f"bayes.{name}" for name in (*TRUE, "dust.umin")}
    assert set(truth) == {"galaxy"} | names | {f"{name}_err" for name in names}
    for name in names:
        assert (truth[f"{name}_err"] == 0).all()
        assert np.isfinite(truth[name]).all()
        assert (truth[name] >= 0).all()
    assert list(truth["galaxy"]) == [one.galaxy for one in mock_galaxies(10)]
    # Energy balance: dust emits a part of what stars make.
    assert (truth["bayes.dust.luminosity"] < truth["bayes.stellar.lum"]).all()


def test_a_seed_fixes_everything(models):
    one, two, other = (mock.simulate(models, mock_galaxies(30), seed=seed) for seed in (5, 5, 6))
    for first, second in zip(one, two):
        assert list(first) == list(second)
        for name in list(first)[1:]:
            np.testing.assert_array_equal(first[name], second[name])
    assert not np.array_equal(one[1]["bayes.dust.luminosity"], other[1]["bayes.dust.luminosity"])


def test_noise_has_the_stated_size(models, drawn):
    """The noise of one seed against the noiseless sample of the same seed, band by band."""
    n = 3000
    noisy, _, _, _ = drawn(n, 7, ABSENT={})
    silent, _, _, _ = drawn(n, 7, ABSENT={}, NOISE=0.0, _calibration=lambda band: 0.0)
    for band in BANDS:
        truth = silent[band]
        assert (silent[f"{band}_err"] == 0).all()
        relative = np.hypot(band_table()[band].calibration, 0.03)
        np.testing.assert_allclose(noisy[f"{band}_err"], relative * truth, rtol=1e-12)
        pull = (noisy[band] - truth) / noisy[f"{band}_err"]
        assert abs(pull.mean()) < 4 / np.sqrt(n), band
        assert abs(pull.std() - 1) < 4 / np.sqrt(2 * n), band


def test_instruments_are_absent_as_often_as_stated(models, drawn):
    n = 3000
    fluxes, _, _, _ = drawn(n, 8)
    for instrument, bands in (("GALEX", BANDS[:2]), ("SDSS", BANDS[2:4]), ("PACS", ["PACS_100"])):
        share = mock.ABSENT[instrument]
        gone = np.isnan(fluxes[bands[0]])
        assert abs(gone.mean() - share) < 4 * np.sqrt(share * (1 - share) / n)
        for band in bands:  # all bands of an instrument together, flux and error
            np.testing.assert_array_equal(np.isnan(fluxes[band]), gone)
            np.testing.assert_array_equal(np.isnan(fluxes[f"{band}_err"]), gone)
    for band in ("2MASS_Ks", "WISE_3.4", "SPIRE_250"):
        assert np.isfinite(fluxes[band]).all()


def test_bands_without_a_calibration_have_that_of_mips_160(models):
    """IRAS and Planck have no images."""
    named = dict(zip(BANDS, BANDS)) | {"SPIRE_500": "Planck_550"}
    one = FactorisedGrid(
        tuple(named.values()),
        models.stellar_flux,
        models.luminosity,
        models.dust_flux,
        models.quantities,
        models.stellar_parameters,
        models.dust_parameters,
    )
    fluxes, _ = mock.simulate(one, mock_galaxies(8), seed=1)
    ratio = fluxes["Planck_550_err"] / fluxes["Planck_550"]
    assert np.median(ratio) == pytest.approx(np.hypot(0.12, 0.03), rel=0.1)


def test_a_grid_without_known_parameters_is_refused():
    one = FactorisedGrid(
        ("WISE_3.4",),
        np.ones((2, 1)),
        np.ones(2),
        np.ones((2, 1)),
        (Quantity("dust.luminosity", 1, "W", stellar=np.ones(2)),),
        {"sfh.other": np.ones(2)},
        {"dust.other": np.ones(2)},
    )
    with pytest.raises(DataError, match="the mock needs a grid of sfhdelayedtrunc, dustatt_calzle"):
        mock.simulate(one, mock_galaxies(8), seed=1)


def refit(models, fluxes):
    galaxies = {one.galaxy: one for one in mock_galaxies(len(fluxes["galaxy"]))}
    photometry = global_photometry(fluxes, galaxies, BANDS, input_bands=BANDS[:8])
    assert photometry.n_rows == len(galaxies)
    return fit_table(photometry, models, BANDS, engine.FitOptions(method="screen"))


def test_refits_recover_galaxies_that_are_models(models, drawn):
    """Without scatter among components a galaxy is a model of the grid that fits it.

    Fits add 10% to the errors, so pulls are narrower than a normal distribution's.
    """
    fluxes, truth, _, _ = drawn(80, 9, ABSENT={}, COMPONENT_SCATTER=0.0)
    fit = refit(models, fluxes)
    assert list(fit["galaxy"]) == list(truth["galaxy"])
    assert np.median(fit["best.reduced_chi_square"]) < 1
    dusty = truth["bayes.dust.luminosity"] > 0
    for name in TRUE:
        found, error = fit[f"bayes.{name}"][dusty], fit[f"bayes.{name}_err"][dusty]
        true = truth[f"bayes.{name}"][dusty]
        pull = np.abs(found - true) / error
        assert (pull < 1).mean() > 0.68, name
        assert (pull < 3).all(), name
        assert abs(np.median(np.log10(found / true))) < 0.02, name


def test_refits_recover_galaxies_that_are_sums(models, drawn):
    """Sums lie between models: unbiased, and within the step of a coarse grid."""
    fluxes, truth, _, _ = drawn(80, 9, ABSENT={})
    fit = refit(models, fluxes)
    dusty = truth["bayes.dust.luminosity"] > 1e-3 * truth["bayes.stellar.lum"]
    for name in TRUE:
        ratio = np.log10(fit[f"bayes.{name}"] / truth[f"bayes.{name}"])[dusty]
        assert abs(np.median(ratio)) < 0.05, name
        assert np.sqrt(np.mean(ratio**2)) < 0.15, name
