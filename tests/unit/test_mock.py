"""The survey without images: its samples add up, its noise has the stated size and length."""

import mock_models
import numpy as np
import pytest

from dustcast.bands import band_table
from dustcast.config import complete
from dustcast.mock import table as mock
from dustcast.population import mock_galaxies, read_moments
from dustcast.sample import plan
from dustcast.tables import DataError
from dustcast.units import SOLAR_MASS_KG, grid_scale

BANDS = mock_models.BANDS
SCALES = ["18arcsec", "1kpc", "global"]
QUIET = {"depth": dict.fromkeys(BANDS, 0.0), "present": dict.fromkeys(BANDS, 1.0)}


def survey(n=10, seed=1, scales=SCALES, galaxies=None, max_pixels=40, **options):
    galaxies = mock_galaxies(n, seed) if galaxies is None else galaxies
    config = complete({"run": "x", "survey": {"source": "mock"}, "scales": scales})
    calls = []
    tables = mock.simulate(
        mock_models.spectra(),
        galaxies,
        plan(config, galaxies),
        BANDS,
        seed=seed,
        max_pixels=max_pixels,
        progress=lambda done, total: calls.append((done, total)),
        **options,
    )
    assert calls[-1] == (len(galaxies), len(galaxies))
    return tables


@pytest.fixture
def quiet(monkeypatch):
    """Take away noise, calibration errors and missing bands."""

    def silence():
        moments = {**read_moments(), **QUIET}
        monkeypatch.setattr(mock, "read_moments", lambda: moments)
        monkeypatch.setattr(mock, "calibration_errors", lambda bands, seed: dict.fromkeys(bands, 0))

    return silence


def test_tables_have_the_agreed_columns():
    tables = survey()
    assert list(tables) == SCALES
    for scale, (photometry, truth) in tables.items():
        names = list(mock.KEY_COLUMNS) + [band + end for band in BANDS for end in ("", "_err")]
        assert list(photometry) == names
        assert set(truth) == {"id", "galaxy", "scale", "dust.umin", *mock.TRUTH_UNITS, *BANDS}
        assert list(truth["id"]) == list(photometry["id"])
        assert set(photometry["scale"]) == {scale}
        assert len(set(photometry["id"])) == photometry.n_rows
        assert photometry["x"].dtype == photometry["y"].dtype == np.int32
    photometry, _ = tables["18arcsec"]
    row = 5
    galaxy, x, y = (photometry[name][row] for name in ("galaxy", "x", "y"))
    assert photometry["id"][row] == f"{galaxy}/18arcsec/{x}_{y}"
    assert (photometry["r_r25"] <= 1).all()


def test_truth_is_consistent():
    for _, truth in survey().values():
        np.testing.assert_allclose(
            truth["sLd"], np.log10(truth["dust.luminosity"] / truth["stellar.lum"])
        )
        mass = truth["dust.mass"] / SOLAR_MASS_KG
        np.testing.assert_allclose(truth["sMd"], np.log10(mass / truth["stellar.m_star"]))
        np.testing.assert_allclose(truth["Td"], 18.3 * truth["dust.umin"] ** (1 / 5.79))
        assert (truth["sLd"] < 0).all()
        # Warmer dust shines more than its mass says.
        assert (truth["Td_luminosity"] > 0.9 * truth["Td"]).all()


def test_a_galaxy_without_noise_is_its_emission(quiet, monkeypatch):
    """The sum over the survey's points against that over another set of points."""
    quiet()
    monkeypatch.setattr(mock, "POINTS_ACROSS", 160)
    galaxies = mock_galaxies(8, 2)[4:6]
    photometry, truth = survey(galaxies=galaxies, seed=2)["global"]
    spectra = mock_models.spectra()
    for row, galaxy in enumerate(galaxies):
        one = mock.MockGalaxy(galaxy, spectra, 2)
        step = galaxy.d25_arcsec / 200
        axis = np.arange(-galaxy.d25_arcsec / 2, galaxy.d25_arcsec / 2 + step, step)
        east, north = (values.ravel() for values in np.meshgrid(axis, axis))
        keep = np.hypot(*one.disc_plane(east, north)) <= 1
        east, north = east[keep], north[keep]
        mass = one.surface_mass_formed(east, north) * step**2
        emitted = spectra.emission(mass, one.parameters(east, north))
        for band in ("GALEX_NUV", "WISE_12", "SPIRE_250"):
            column = BANDS.index(band)
            flux = (emitted.stars + emitted.dust)[:, column].sum() / grid_scale(galaxy.distance)
            assert photometry[band][row] == pytest.approx(flux, rel=0.05)
        assert truth["dust.mass"][row] == pytest.approx(emitted.dust_mass.sum(), rel=0.05)
        assert truth["stellar.m_star"][row] == pytest.approx(emitted.m_star.sum(), rel=0.05)


def test_pixels_add_up_to_the_galaxy(quiet):
    """All pixels of a large galaxy hold what the whole has, less what the PSF carries outside."""
    quiet()
    galaxies = mock_galaxies(8, 1)[1:2]
    tables = survey(galaxies=galaxies, max_pixels=10_000, scales=["18arcsec", "400pc", "global"])
    whole, whole_truth = tables["global"]
    for scale in ("18arcsec", "400pc"):
        photometry, truth = tables[scale]
        for band in ("SDSS_r", "WISE_12", "SPIRE_250"):
            assert photometry[band].sum() == pytest.approx(whole[band][0], rel=0.03), (scale, band)
        for name in ("dust.luminosity", "dust.mass", "stellar.lum"):
            assert truth[name].sum() == pytest.approx(whole_truth[name][0], rel=0.03)
    # Weighted by dust mass the field of the pixels is that of the whole.
    mean = np.average(truth["dust.umin"], weights=truth["dust.mass"])
    assert mean == pytest.approx(whole_truth["dust.umin"][0], rel=0.03)


def test_pixels_lie_where_they_say(quiet):
    """Offsets of the coordinates, turned back, give the radius; x grows to the west."""
    quiet()
    galaxy = mock_galaxies(8, 1)[3]
    photometry, _ = survey(galaxies=[galaxy], max_pixels=10_000, scales=["18arcsec"])["18arcsec"]
    assert photometry.n_rows == pytest.approx(galaxy.area_arcsec2 / 18**2, rel=0.03)
    turn = (photometry["ra"] - galaxy.ra + 180) % 360 - 180
    east = turn * 3600 * np.cos(np.radians(galaxy.dec))
    north = (photometry["dec"] - galaxy.dec) * 3600
    assert np.corrcoef(east, photometry["x"])[0, 1] == pytest.approx(-1)
    assert np.corrcoef(north, photometry["y"])[0, 1] == pytest.approx(1)
    one = mock.MockGalaxy(galaxy, mock_models.spectra(), 1)
    radius = np.hypot(*one.disc_plane(east, north))
    np.testing.assert_allclose(radius, photometry["r_r25"], atol=1e-6)
    assert (photometry["WISE_3.4"][radius < 0.2].min()) > photometry["WISE_3.4"][radius > 0.9].max()


def test_a_cap_keeps_some_of_the_pixels(quiet):
    quiet()
    galaxies = mock_galaxies(8, 1)[2:3]
    every, _ = survey(galaxies=galaxies, max_pixels=10_000, scales=SCALES[:1])["18arcsec"]
    some, _ = survey(galaxies=galaxies, max_pixels=25, scales=SCALES[:1])["18arcsec"]
    assert some.n_rows == 25
    place = [list(every["id"]).index(name) for name in some["id"]]
    np.testing.assert_allclose(some["SPIRE_250"], every["SPIRE_250"][place])


def test_noise_has_the_size_of_the_depth(monkeypatch):
    """Residuals of one seed against the noiseless survey of that seed, over the stated errors."""
    galaxies = mock_galaxies(8, 1)[1:4:2]
    options = {"galaxies": galaxies, "max_pixels": 500, "scales": ["18arcsec", "400pc"]}
    monkeypatch.setattr(mock, "missing_bands", lambda galaxy, bands, seed: set())
    monkeypatch.setattr(mock, "calibration_errors", lambda bands, seed: dict.fromkeys(bands, 0))
    noisy = survey(**options)
    monkeypatch.setattr(mock, "read_moments", lambda: {**read_moments(), **QUIET})
    silent = survey(**options)
    moments = read_moments()
    for scale, (photometry, _) in noisy.items():
        for band in BANDS:
            if scale == "18arcsec" and band == "SPIRE_500":
                continue  # its beam is wider
            true = silent[scale][0][band]
            share = photometry["area_arcsec2"] / 18**2
            rms = moments["depth"][band] * share ** moments["depth_slope"][band]
            pull = (photometry[band] - true) / rms
            assert pull.std() == pytest.approx(1, abs=0.1), band
            calibration = band_table()[band].calibration * photometry[band]
            np.testing.assert_allclose(photometry[f"{band}_err"], np.hypot(rms, calibration))


def test_noise_of_neighbours_is_correlated():
    """exp(-d^2 / 4 sigma^2), with the PSF as wide as the pixel: 0.25 a pixel away."""
    galaxy = mock_galaxies(8, 1)[1]
    row = {"scale": "18arcsec", "pixel_arcsec": 18.0, "pixel_scale_pc": 100.0}
    sums, counts = {}, {}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        keys, noise = mock._pixels(galaxy, row, 18.0, 1, 10_000, rng)
        grid = np.full((keys["y"].max() + 1, keys["x"].max() + 1), np.nan)
        grid[keys["y"], keys["x"]] = noise[:, 0]
        for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1), (0, 3)):
            product = grid[dy:, dx:] * grid[: len(grid) - dy, : grid.shape[1] - dx]
            sums[dy, dx] = sums.get((dy, dx), 0) + np.nansum(product)
            counts[dy, dx] = counts.get((dy, dx), 0) + np.isfinite(product).sum()
    found = {lag: sums[lag] / counts[lag] for lag in sums}
    sigma = 18 / 2.3548
    for (dy, dx), value in found.items():
        expected = np.exp(-(18**2) * (dy**2 + dx**2) / (4 * sigma**2))
        assert value == pytest.approx(expected, abs=0.03), (dy, dx)


def test_calibration_errors_are_one_draw_a_band(quiet, monkeypatch):
    """The same factor in every galaxy, pixel and scale; another one for another seed."""
    quiet()
    galaxies = mock_galaxies(8, 1)[4:]
    silent = survey(galaxies=galaxies)
    monkeypatch.undo()
    monkeypatch.setattr(mock, "read_moments", lambda: {**read_moments(), **QUIET})
    loud = survey(galaxies=galaxies)
    offsets = mock.calibration_errors(BANDS, 1)
    for scale in SCALES:
        for band in BANDS:
            ratio = loud[scale][0][band] / silent[scale][0][band]
            np.testing.assert_allclose(ratio[np.isfinite(ratio)], 1 + offsets[band])
    draws = np.array([list(mock.calibration_errors(BANDS, seed).values()) for seed in range(400)])
    stated = [band_table()[band].calibration for band in BANDS]
    np.testing.assert_allclose(draws.std(axis=0), stated, rtol=0.15)


def test_instruments_are_absent_as_often_as_in_dustpedia():
    galaxies = mock_galaxies(3000, 1)
    present = read_moments()["present"]
    missing = [mock.missing_bands(galaxy, BANDS, 1) for galaxy in galaxies]
    for band in BANDS:
        share = np.mean([band not in one for one in missing])
        assert share == pytest.approx(present[band], abs=0.03)
    # Of an instrument's bands the rarer one is there only where the other is.
    assert all("SDSS_r" in one for one in missing if "SDSS_u" in one)
    assert all("GALEX_FUV" in one for one in missing if "GALEX_NUV" in one)


def test_bands_that_the_scale_has_not_are_missing():
    """At a narrow angle the plan drops the wide beams; bands without images are always missing."""
    galaxies = mock_galaxies(8, 1)[4:6]
    photometry, _ = survey(galaxies=galaxies, scales=["18arcsec"])["18arcsec"]
    assert np.isnan(photometry["SPIRE_500"]).all()
    assert np.isnan(photometry["SPIRE_500_err"]).all()
    assert np.isfinite(photometry["WISE_12"]).all()
    assert "Planck_850" in mock.missing_bands(galaxies[0], ["Planck_850"], 1)


def test_light_that_spreads_keeps_its_sum(quiet):
    """Smeared over 300 pc, dust fills the gaps between arms but not more is there."""
    quiet()
    galaxies = mock_galaxies(8, 1)[2:3]
    options = {"galaxies": galaxies, "max_pixels": 10_000, "scales": ["18arcsec"]}
    (_, local), (_, smeared) = (
        survey(**options, dust_smoothing_kpc={galaxies[0].galaxy: width})["18arcsec"]
        for width in (0.0, 0.3)
    )
    assert smeared["dust.luminosity"].sum() == pytest.approx(
        local["dust.luminosity"].sum(), rel=0.1
    )
    np.testing.assert_array_equal(smeared["stellar.lum"], local["stellar.lum"])
    assert smeared["dust.luminosity"].std() < local["dust.luminosity"].std()


def test_true_photometry_is_what_noise_was_added_to(quiet):
    noisy = survey()["18arcsec"]
    true = mock.true_photometry(*noisy)
    quiet()
    exact, _ = survey()["18arcsec"]
    assert list(true) == list(noisy[0])
    assert np.isfinite(noisy[0]["PACS_100"]).any()
    for band in BANDS:
        seen = np.isfinite(noisy[0][band])
        np.testing.assert_array_equal(true[band][seen], exact[band][seen])
        assert np.isnan(true[band][~seen]).all()
        np.testing.assert_array_equal(true[f"{band}_err"], noisy[0][f"{band}_err"])
    for name in ("id", "ra", "distance"):
        np.testing.assert_array_equal(true[name], noisy[0][name])
    none = noisy[0].rows(np.zeros(noisy[0].n_rows, dtype=bool))
    assert mock.true_photometry(none, noisy[1]).n_rows == 0
    with pytest.raises(DataError, match=r"lacks .*/18arcsec/.* anew"):
        mock.true_photometry(noisy[0], noisy[1].rows(slice(1, None)))


def test_a_seed_fixes_everything():
    one, two, other = (survey(galaxies=mock_galaxies(24, 5)[4:8], seed=seed) for seed in (5, 5, 6))
    for scale in SCALES:
        for first, second in zip(one[scale], two[scale]):
            assert list(first) == list(second)
            for name in first:
                np.testing.assert_array_equal(first[name], second[name])
    assert not np.array_equal(one["global"][1]["sLd"], other["global"][1]["sLd"])


def test_a_scale_without_galaxies_is_an_empty_table():
    galaxies = [one for one in mock_galaxies(30, 1) if one.distance > 5][:3]
    photometry, truth = survey(galaxies=galaxies, scales=["150pc", "global"])["150pc"]
    assert photometry.n_rows == truth.n_rows == 0
    assert "reason" in photometry.meta
