"""Simulated images against direct sums, and through the stages that clean and convolve them."""

import math
from dataclasses import replace

import mock_models
import numpy as np
import pytest
from astropy.io import fits

from dustcast.bands import band_table
from dustcast.config import complete
from dustcast.imaging.clean import clean_band
from dustcast.imaging.images import read_clean, read_image, write_clean
from dustcast.imaging.layers import Settings, grid_of, make_layers, scale_of
from dustcast.imaging.matching import REACH_ARCSEC, reach_of
from dustcast.imaging.pixels import d25_ellipse
from dustcast.imaging.psf import find_psf
from dustcast.imaging.resampling import Grid
from dustcast.imaging.stars import expected_flux, find_stars, read_gaia
from dustcast.mock import observation as mock
from dustcast.mock.sky import CELL_ARCSEC, Sky, make_sky, psf_reach, read_sky, write_sky
from dustcast.mock.stages import stage_residuals
from dustcast.mock.truth import read_maps, true_maps, true_table, write_maps
from dustcast.population import mock_galaxies, read_moments
from dustcast.sample import plan, with_reddening
from dustcast.tables import DataError
from dustcast.units import MJY_SR_PER_MJY_ARCSEC2, SOLAR_LUMINOSITY_W, grid_scale

BANDS = ["GALEX_NUV", "SDSS_r", "WISE_3.4", "WISE_22", "PACS_100", "SPIRE_250"]
SEED = 1
SETTINGS = Settings()


@pytest.fixture(scope="module")
def galaxy():
    """Return a spiral of 122" at 21 Mpc."""
    return mock_galaxies(12, SEED)[10]


@pytest.fixture(scope="module")
def sky(galaxy):
    return make_sky(galaxy, mock_models.spectra(), seed=SEED)


@pytest.fixture(scope="module")
def rows(galaxy):
    config = complete(
        {
            "run": "x",
            "survey": {"source": "mock"},
            "mock": {"level": "images"},
            "photometry": {"source": "images"},
            "scales": ["18arcsec", "3kpc", "global"],
            "bands": {"leave_out": [band for band in band_table() if band not in BANDS]},
        }
    )
    return plan(config, [galaxy])


def observe(galaxy, sky, rows, bands=BANDS, **options):
    found = mock.observe(
        galaxy, sky, rows, bands, SETTINGS, **({"seed": SEED, "least_pixel_arcsec": 2} | options)
    )
    return {band: (image, truth) for band, image, truth in found}


@pytest.fixture
def deep(monkeypatch):
    """Make all images deep, whole and of every band, and all stars near."""
    moments = read_moments()
    depth = {band: 0.01 * value for band, value in moments["depth"].items()}
    moments = moments | {"depth": depth, "present": dict.fromkeys(depth, 1.0)}
    monkeypatch.setattr(mock, "read_moments", lambda: moments)
    monkeypatch.setattr(mock, "photons_per_jy", lambda: {})
    monkeypatch.setattr(mock, "PARALLAX_MAS", 50.0)
    monkeypatch.setattr(mock, "STARS_PER_DEG2", 1000.0)
    monkeypatch.setattr(mock, "missing_bands", lambda galaxy, bands, seed: set())
    monkeypatch.setattr(mock, "CUT_IMAGES", 0.0)


# ---------------------------------------------------------------------------------------------
# The sky


def test_sky_holds_what_the_models_emit(galaxy, sky):
    total = {name: plane.sum() * CELL_ARCSEC**2 for name, plane in sky.maps.items()}
    assert 0 < total["dust.luminosity"] < total["stellar.lum"]
    w1 = total["WISE_3.4"] / MJY_SR_PER_MJY_ARCSEC2 * grid_scale(galaxy.distance)
    # nu L_nu of W1 from mJy at 10 pc, over the light of all stars: a few percent.
    nu_l = 4 * math.pi * (10 * 3.0857e16) ** 2 * w1 * 1e-29 * 2.998e8 / 3.37e-6
    assert 0.01 < nu_l / (total["stellar.lum"] * SOLAR_LUMINOSITY_W) < 0.2


def test_smoothed_dust_keeps_its_mass(galaxy, sky):
    smooth = make_sky(galaxy, mock_models.spectra(), seed=SEED, dust_smoothing_kpc=1.0)
    for name in ("dust.mass", "dust.luminosity", "SPIRE_250"):
        assert smooth.maps[name].sum() == pytest.approx(sky.maps[name].sum(), rel=1e-5)
        assert smooth.maps[name].max() < sky.maps[name].max()
    np.testing.assert_allclose(smooth.maps["stellar.lum"].max(), sky.maps["stellar.lum"].max())


def test_sky_file(tmp_path, sky):
    write_sky(tmp_path / "sky.fits", sky)
    again = read_sky(tmp_path / "sky.fits")
    assert again.grid == sky.grid
    assert list(again.maps) == list(sky.maps)
    for name, plane in sky.maps.items():
        np.testing.assert_allclose(again.maps[name], plane, rtol=1e-6)


# ---------------------------------------------------------------------------------------------
# Images


def test_galaxy_image_is_a_sum_over_cells(galaxy):
    # A few cells of a smooth source, seen in a rotated image: the sum over cells through the PSF.
    grid = Grid(galaxy.ra, galaxy.dec, CELL_ARCSEC, 31)
    axis = CELL_ARCSEC * (np.arange(31) - 15)
    source = np.exp(-((axis[:, None] - 4) ** 2 + (axis + 6) ** 2) / (2 * 4.0**2))
    rng = np.random.default_rng(0)
    wcs, _, step = mock._frame(galaxy, "PACS_100", 120.0, rng, 0.0)
    shape = (41, 41)
    reach = 90.0
    image = mock.galaxy_image(Sky(grid, {"PACS_100": source}), "PACS_100", wcs, shape, reach)
    psf = find_psf("PACS_100")
    radii = np.linspace(0, reach, 4000)
    values = psf.profile(radii)
    values /= np.trapezoid(2 * np.pi * radii * values, radii)
    for row, column in ((20, 20), (15, 22), (26, 14)):
        ra, dec = wcs.wcs_pix2world([[column, row]], 0)[0]
        north, west = (
            (dec - galaxy.dec) * 3600,
            -(ra - galaxy.ra) * 3600 * math.cos(math.radians(galaxy.dec)),
        )
        distance = np.hypot(axis[:, None] - north, axis - west)
        expected = np.sum(source * np.interp(distance, radii, values, right=0)) * CELL_ARCSEC**2
        assert image[row, column] == pytest.approx(expected, rel=0.01)
    assert step == 3.0


def test_stars_have_their_flux_and_place(galaxy):
    wcs, shape, step = mock._frame(galaxy, "SDSS_r", 80.0, np.random.default_rng(0), 0.0)
    ra, dec = wcs.wcs_pix2world([[60.3, 44.8]], 0)[0]
    star = {
        "ra": np.array([ra]),
        "dec": np.array([dec]),
        "phot_g_mean_mag": np.array([15.0]),
        "temperature": np.array([5200.0]),
    }
    image = mock.star_image(star, "SDSS_r", wcs, shape, step, 90.0, 1e-12)
    assert image.sum() == pytest.approx(expected_flux(15.0, "SDSS_r"), rel=0.02)
    y, x = np.indices(shape)
    assert (image * x).sum() / image.sum() == pytest.approx(60.3, abs=0.1)
    assert (image * y).sum() / image.sum() == pytest.approx(44.8, abs=0.1)


def test_noise_is_that_of_18_arcsec_squares(galaxy, sky, rows):
    dark = Sky(sky.grid, {name: np.zeros_like(plane) for name, plane in sky.maps.items()})
    image, truth = observe(galaxy, dark, rows, ["PACS_100"])["PACS_100"]
    data, _ = image
    terms = {
        tuple(map(int, name.split("_")[1:])): value
        for name, value in truth.items()
        if name.startswith("sky_")
    }
    area = (3 / 206264.806) ** 2 * 1e6
    rest = (data - mock.sky_plane(terms, data.shape) * area)[10:-10, 10:-10]
    n = len(rest) // 6 * 6
    squares = rest[:n, :n].reshape(n // 6, 6, n // 6, 6).sum(axis=(1, 3))
    assert np.nanstd(squares) * 1e3 == pytest.approx(read_moments()["depth"]["PACS_100"], rel=0.1)


def test_same_seed_same_images(galaxy, sky, rows):
    bands = ["GALEX_NUV", "PACS_100"]
    first, second = (observe(galaxy, sky, rows, bands) for _ in range(2))
    alone = observe(galaxy, sky, rows, bands[1:])
    other = observe(galaxy, sky, rows, bands, seed=2)
    for band in bands:
        np.testing.assert_array_equal(first[band][0][0], second[band][0][0])
    np.testing.assert_array_equal(first["PACS_100"][0][0], alone["PACS_100"][0][0])
    assert first["PACS_100"][1]["calibration_error"] != other["PACS_100"][1]["calibration_error"]


def test_files_are_those_of_an_archive(tmp_path, monkeypatch, galaxy, sky, rows):
    monkeypatch.setattr(mock, "missing_bands", lambda galaxy, bands, seed: {"WISE_22"})
    monkeypatch.setattr(mock, "CUT_IMAGES", 0.0)
    paths = {band: tmp_path / f"{band}.fits" for band in BANDS}
    done = []
    stars, bands = mock.observe_galaxy(
        galaxy, sky, rows, paths, tmp_path / "gaia.csv", tmp_path / "ebv.csv", SETTINGS,
        seed=SEED, least_pixel_arcsec=2.0, progress=lambda: done.append(1),
    )  # fmt: skip
    assert len(done) == len(BANDS) == bands.n_rows
    assert list(bands["band"][~bands["present"]]) == ["WISE_22"]
    assert fits.getheader(paths["WISE_22"])["DC_OK"] is False
    for band in BANDS:
        if band != "WISE_22":
            header = fits.getheader(paths[band])
            assert header["SIGUNIT"] == "Jy/pix"
            image = read_image(paths[band], band)
            assert image.pixel_arcsec == pytest.approx(max(band_table()[band].pixel_arcsec, 2))
            assert 0 < np.isnan(image.data).mean() < 0.2
            # GALEX's headers tell what its photon noise follows from.
            known = {"GALEX_NUV": pytest.approx(mock.photons_per_jy()["GALEX_NUV"], rel=1e-3)}
            assert image.photons_per_jy == known.get(band, pytest.approx(np.nan, nan_ok=True))
    listed = read_gaia(tmp_path / "gaia.csv")
    np.testing.assert_allclose(listed["ra"], stars["ra"], rtol=1e-11)
    assert (listed["parallax"] > 5 * listed["parallax_error"]).mean() > 0.3
    stated = with_reddening(galaxy, tmp_path / "ebv.csv")
    true, *expected = mock.draw_reddening(galaxy, SEED)
    assert [stated.ebv, stated.ebv_err] == expected
    assert abs(true - stated.ebv) < 5 * stated.ebv_err


def test_edges_are_ragged_and_some_images_cut(monkeypatch):
    monkeypatch.setattr(mock, "CUT_IMAGES", 1.0)
    cut = mock._covered((200, 200), np.random.default_rng(0))
    assert 0.5 < cut.mean() < 0.85
    monkeypatch.setattr(mock, "CUT_IMAGES", 0.0)
    whole = mock._covered((200, 200), np.random.default_rng(0))
    assert whole[6:-6, 6:-6].all()
    assert not whole.all()


def test_fields_hold_the_cubes(galaxy, rows):
    side = mock.field_arcsec(galaxy, rows, SETTINGS)
    assert side >= mock.FIELD_D25 * galaxy.d25_arcsec
    near = replace(galaxy, distance=0.5, d25_arcsec=1500.0)
    assert mock.field_arcsec(near, rows, SETTINGS) == 3600.0


# ---------------------------------------------------------------------------------------------
# Truth


def test_true_table_sums_the_sky(galaxy, sky, rows):
    by_scale = {row["scale"]: row for row in rows}
    grid, maps = true_maps(galaxy, sky, rows, rows, SETTINGS)["18arcsec"]
    # Convolution and resampling keep what there is, over the whole grid.
    for name in ("stellar.lum", "dust.mass", "PACS_100"):
        total = np.nansum(maps[name]) * grid.pixel**2
        assert total == pytest.approx(sky.maps[name].sum() * CELL_ARCSEC**2, rel=3e-3)
    table = true_table(galaxy, by_scale["18arcsec"], [*BANDS, "SPIRE_500"], grid, maps)
    assert table.n_rows == pytest.approx(by_scale["18arcsec"]["n_pixel_expected"], rel=0.15)
    assert np.isnan(table["SPIRE_500"]).all()
    np.testing.assert_allclose(
        table["sLd"], np.log10(table["dust.luminosity"] / table["stellar.lum"])
    )
    np.testing.assert_allclose(table["Td"], 18.3 * table["dust.umin"] ** (1 / 5.79))
    alone = true_maps(galaxy, sky, [by_scale["global"]], rows, SETTINGS)
    whole = true_table(galaxy, by_scale["global"], BANDS, *alone["global"])
    assert list(whole["id"]) == [f"{galaxy.galaxy}/global"]
    assert 0.7 < whole["dust.mass"][0] / table["dust.mass"].sum() < 1.3


@pytest.mark.parametrize("scale", ["6.7arcsec", "18.4arcsec"])
def test_truth_of_any_scale_is_the_sky_through_its_psf(galaxy, sky, rows, scale):
    """Against the sum over cells at some pixels, averaged over Hann's window of a pixel."""
    others = [band for band in band_table() if band not in BANDS]
    config = {"run": "x", "survey": {"source": "mock"}, "bands": {"leave_out": others}}
    (row,) = plan(complete(config | {"scales": [scale]}), [galaxy])
    grid, maps = true_maps(galaxy, sky, [row], rows, SETTINGS)[scale]
    psf = find_psf(row["target_psf"])
    axis = CELL_ARCSEC * (np.arange(sky.grid.n) - sky.grid.n // 2)
    radii = np.linspace(0, reach_of(row["target_psf"]), 9000)
    profile = psf.profile(radii)
    profile = profile / np.trapezoid(2 * np.pi * radii * profile, radii)
    steps = np.linspace(-1, 1, 11)
    middle = grid.n // 2
    for north, west in ((0, 0), (2, -1), (-1, 3)):
        values, window = [], []
        for dy in steps:
            for dx in steps:
                distance = np.hypot(
                    axis[:, None] - (north + dy) * grid.pixel, axis - (west + dx) * grid.pixel
                )
                shares = np.interp(distance, radii, profile, right=0) * CELL_ARCSEC**2
                values.append(np.sum(shares * sky.maps["dust.mass"]))
                window.append(math.cos(math.pi / 2 * min(math.hypot(dx, dy), 1)) ** 2)
        found = maps["dust.mass"][middle + north, middle + west]
        assert found == pytest.approx(np.average(values, weights=window), rel=0.03)


def test_maps_file(tmp_path, galaxy, sky, rows):
    found = true_maps(galaxy, sky, rows, rows, SETTINGS)
    grid = found["3kpc"][0]
    found["1kpc"] = grid, None
    write_maps(tmp_path / "maps.fits", galaxy, found)
    with fits.open(tmp_path / "maps.fits") as hdus:
        number = 1 + [row["scale"] for row in rows].index("3kpc")
        assert hdus["TD", number].header["BUNIT"] == "K"
        middle = grid.n // 2
        assert 12 < hdus["TD", number].data[middle, middle] < 40
        assert hdus["SLD", number].data[middle, middle] < 0
    again = read_maps(tmp_path / "maps.fits")
    assert list(again) == list(found)
    for scale in ("18arcsec", "3kpc"):
        np.testing.assert_allclose(
            again[scale]["dust.mass"], found[scale][1]["dust.mass"], rtol=1e-6
        )
    assert again["1kpc"] is None
    (tmp_path / "text.fits").write_text("no image")
    with pytest.raises(DataError, match="delete it"):
        read_maps(tmp_path / "text.fits")


def test_fields_too_small_for_a_cube(galaxy, sky, rows):
    row = rows[1] | {"pixel_arcsec": 600.0}
    _, maps = true_maps(galaxy, sky, [row], [row], SETTINGS)[row["scale"]]
    assert maps is None
    assert true_table(galaxy, row, BANDS, None, maps).meta["reason"]


# ---------------------------------------------------------------------------------------------
# Through the stages


def test_fluxes_survive_cleaning_and_convolution(tmp_path, deep, galaxy, sky, rows):
    paths = {band: tmp_path / f"{band}.fits" for band in BANDS}
    stars, bands = mock.observe_galaxy(
        galaxy, sky, rows, paths, tmp_path / "gaia.csv", tmp_path / "ebv.csv", SETTINGS,
        seed=SEED, least_pixel_arcsec=2.0, progress=lambda: None,
    )  # fmt: skip
    apertures = find_stars(paths, galaxy, read_gaia(tmp_path / "gaia.csv"))
    scale = scale_of(rows[0])
    grid, maps = true_maps(galaxy, sky, rows[:1], rows, SETTINGS)[scale.name]
    shares = d25_ellipse(galaxy).shares(grid)
    reddened = replace(galaxy, ebv=mock.draw_reddening(galaxy, SEED)[0], ebv_err=0.0)
    clean, found = {}, {}
    for band in BANDS:
        image = clean_band(
            paths[band], band, reddened, [star for star in apertures if star.band == band]
        )
        clean[band] = tmp_path / f"clean_{band}.fits"
        write_clean(clean[band], image)
        image = read_clean(clean[band])
        found[band] = np.sum(
            shares * make_layers(image, [scale], reddened, SETTINGS)[scale.name].flux
        )
    # Where a grid reaches beyond the maps they are NaN.
    edged = {name: np.where(shares > 0, plane, np.nan) for name, plane in maps.items()}
    table = stage_residuals(
        galaxy, sky, stars, bands, clean, {scale.name: edged}, rows[:1], SETTINGS,
        progress=lambda: None,
    )  # fmt: skip
    rows_of = {tuple(row[1:5]): row[5] for row in zip(*table.values())}
    for band, offset in zip(bands["band"], bands["calibration_error"]):
        filled = rows_of["stars", "flux_filled", scale.name, band]
        total = found[band] / (1 + offset) / np.sum(shares * maps[band])
        assert total - filled == pytest.approx(1, abs=0.01), band
        assert abs(filled) < 0.03
        for stage, quantity, at in (
            ("stars", "flux_left", ""), ("sky", "flux", ""), ("convolve", "flux", scale.name)
        ):  # fmt: skip
            assert abs(rows_of[stage, quantity, at, band]) < 0.005, (band, stage)
    # Wings are as far as kernels know them, whatever the scales.
    assert psf_reach(rows[:1]) == psf_reach(rows[:0]) == REACH_ARCSEC


@pytest.mark.science
def test_stars_take_and_leave_little(tmp_path, monkeypatch):
    """Fluxes inside D25 with stars in front over those without, in images of 20 galaxies."""
    monkeypatch.setattr(mock, "missing_bands", lambda galaxy, bands, seed: set())
    monkeypatch.setattr(mock, "photons_per_jy", lambda: {})
    monkeypatch.setattr(mock, "CUT_IMAGES", 0.0)
    bands = ["GALEX_NUV", "SDSS_r", "WISE_3.4"]
    density, changes = mock.STARS_PER_DEG2, []
    spectra = mock_models.spectra()
    for galaxy in mock_galaxies(60, SEED)[4:24]:
        sky = make_sky(galaxy, spectra, seed=SEED)
        config = complete(
            {
                "run": "x",
                "survey": {"source": "mock"},
                "mock": {"level": "images"},
                "scales": ["18arcsec"],
                "photometry": {"source": "images"},
                "bands": {"leave_out": [b for b in band_table() if b not in [*bands, "SPIRE_250"]]},
            }
        )
        rows = [row for row in plan(config, [galaxy]) if row["scale"] == "18arcsec"]
        scale, reddened = scale_of(rows[0]), replace(galaxy, ebv=0.03, ebv_err=0.0)
        fluxes = {}
        for stars_per_deg2 in (0.0, density):
            monkeypatch.setattr(mock, "STARS_PER_DEG2", stars_per_deg2)
            paths = {band: tmp_path / f"{band}.fits" for band in bands}
            mock.observe_galaxy(
                galaxy, sky, rows, paths, tmp_path / "gaia.csv", tmp_path / "ebv.csv", SETTINGS,
                seed=SEED, least_pixel_arcsec=1.0, progress=lambda: None,
            )  # fmt: skip
            apertures = find_stars(paths, galaxy, read_gaia(tmp_path / "gaia.csv"))
            for band in bands:
                mine = [star for star in apertures if star.band == band]
                write_clean(tmp_path / "c.fits", clean_band(paths[band], band, reddened, mine))
                image = read_clean(tmp_path / "c.fits")
                flux = make_layers(image, [scale], reddened, SETTINGS)[scale.name].flux
                shares = d25_ellipse(galaxy).shares(grid_of(galaxy, scale, SETTINGS))
                fluxes[band, stars_per_deg2] = np.nansum(shares * flux)
        changes.append([fluxes[band, density] / fluxes[band, 0.0] - 1 for band in bands])
    low, median, high = 100 * np.percentile(changes, [16, 50, 84], axis=0)
    for values in zip(bands, median, (high - low) / 2):
        print("{}: {:+.2f}% +- {:.2f}%".format(*values))
    assert np.abs(median).max() < 1
    assert (high - low).max() / 2 < 2


@pytest.mark.science
def test_errors_are_those_of_re_draws(tmp_path, monkeypatch, galaxy, sky, rows):
    """Calibration and extinction set to their true values, what is left is the noise of the sky."""
    monkeypatch.setattr(mock, "STARS_PER_DEG2", 0.0)
    monkeypatch.setattr(mock, "CUT_IMAGES", 0.0)
    monkeypatch.setattr(mock, "missing_bands", lambda galaxy, bands, seed: set())
    bands = ["WISE_22", "PACS_100", "SPIRE_250"]
    scale = scale_of(rows[0])
    grid, maps = true_maps(galaxy, sky, rows[:1], rows, SETTINGS)[scale.name]
    radius = grid.elliptical_radius(galaxy.pa, galaxy.axis_ratio) / (galaxy.d25_arcsec / 2)
    pulls = {band: [] for band in bands}
    around = {band: [] for band in bands}
    for seed in range(8):
        reddened = replace(galaxy, ebv=mock.draw_reddening(galaxy, seed)[0], ebv_err=0.0)
        paths = {band: tmp_path / f"{band}.fits" for band in bands}
        _, table = mock.observe_galaxy(
            galaxy, sky, rows[:1], paths, tmp_path / "gaia.csv", tmp_path / "ebv.csv", SETTINGS,
            seed=seed, least_pixel_arcsec=4.0, progress=lambda: None,
        )  # fmt: skip
        for band, offset in zip(bands, table["calibration_error"]):
            write_clean(tmp_path / "clean.fits", clean_band(paths[band], band, reddened, []))
            image = read_clean(tmp_path / "clean.fits")
            layer = make_layers(image, [scale], reddened, SETTINGS)[scale.name]
            pull = (layer.flux / (1 + offset) - maps[band]) / layer.parts["RMS"]
            pulls[band].append(pull[radius <= 1])
            around[band].append(pull[(radius > 1.8) & (radius < 3)])
    for band in bands:
        assert 0.9 < np.std(pulls[band]) < 1.1, band
        assert 0.9 < np.nanstd(around[band]) < 1.1, band


@pytest.mark.science
def test_calibration_and_extinction_are_those_of_re_draws(
    tmp_path, monkeypatch, deep, galaxy, sky, rows
):
    """Either error alone, the other undone: its scatter over 200 surveys is what is stated."""
    monkeypatch.setattr(mock, "STARS_PER_DEG2", 0.0)
    bands = ["GALEX_NUV", "SDSS_r", "SPIRE_250"]
    scale = scale_of(rows[0])
    grid, maps = true_maps(galaxy, sky, rows[:1], rows, SETTINGS)[scale.name]
    shares = d25_ellipse(galaxy).shares(grid)
    found = {(band, "CAL"): [] for band in bands}
    found |= {(band, "EXT"): [] for band in bands if band_table()[band].extinction > 0}
    for seed in range(200):
        true, stated, error = mock.draw_reddening(galaxy, seed)
        known = {
            "CAL": replace(galaxy, ebv=true, ebv_err=0.0),
            "EXT": replace(galaxy, ebv=stated, ebv_err=error),
        }
        for band, (image, put_in) in observe(
            galaxy, sky, rows[:1], bands, seed=seed, least_pixel_arcsec=4
        ).items():
            mock._write_raw(tmp_path / "raw.fits", galaxy, band, image)
            for part, reddened in known.items():
                if (band, part) not in found:
                    continue
                gain = 1 + put_in["calibration_error"] if part == "EXT" else 1.0
                image = clean_band(tmp_path / "raw.fits", band, reddened, [])
                write_clean(tmp_path / "clean.fits", image)
                clean = read_clean(tmp_path / "clean.fits")
                layer = make_layers(clean, [scale], reddened, SETTINGS)[scale.name]
                # The error of all pixels is one. Bad ones are interpolated but in SPIRE's own PSF.
                parts = (layer.flux / gain - maps[band], layer.parts[part], layer.flux)
                found[band, part].append([np.nansum(shares * plane) for plane in parts])
    for (band, part), sums in found.items():
        residual, error, flux = np.transpose(sums)
        pull, offset = residual / error, np.mean(residual / flux)
        print(f"{band} {part}: scatter {np.std(pull):.3f}, mean residual {100 * offset:.2f}%")
        assert 0.9 < np.std(pull) < 1.1, (band, part)
        # What is left on average is no error of these two but what the stages lose.
        assert abs(offset) < 0.01, (band, part)
