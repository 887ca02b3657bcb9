"""FITS files of the images stage, and the photometry that cubes give."""

import math

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from scenes import GALAXY, clean, native, offsets

from dustcast.imaging import pixels
from dustcast.imaging.cube import (
    NO_COVER,
    OUTSIDE,
    STAR,
    read_cube,
    read_layer,
    stack,
    write_cube,
    write_layers,
)
from dustcast.imaging.layers import Layer, Scale, Settings, make_layers
from dustcast.imaging.pixels import Ellipse, d25_ellipse, ellipse_fluxes, pixel_photometry
from dustcast.tables import DataError
from dustcast.units import MJY_SR_PER_MJY_ARCSEC2

SETTINGS = Settings()
BANDS = ("GALEX_NUV", "WISE_3.4", "WISE_12", "SPIRE_250")
SCALE = Scale("18arcsec", "SPIRE_250", 18.0, BANDS)


def galaxy_image(band, side=1400.0, seed=0, star=None):
    """Return the image of an exponential disc in the D25 ellipse, with noise and maybe a star."""
    _, shape, wcs = native(band, side, rotation=20)
    east, north = offsets(wcs, shape)
    cos, sin = math.cos(math.radians(GALAXY.pa)), math.sin(math.radians(GALAXY.pa))
    radius = np.hypot(north * cos + east * sin, (east * cos - north * sin) / GALAXY.axis_ratio)
    image = 5 * np.exp(-radius / 15) + np.random.default_rng(seed).normal(0, 1e-3, shape)
    if star is None:
        return clean(band, image, wcs, DC_EBVERR=0.004)
    mask = np.hypot(east - star, north) < 25
    image[mask] = np.nan
    return clean(band, image, wcs, stars=mask.astype(np.uint8))


@pytest.fixture(scope="module")
def layers():
    """Three bands, the second with a star 36 arcsec east of the centre, and one that is missing."""
    found = {
        "GALEX_NUV": galaxy_image("GALEX_NUV"),
        "WISE_3.4": galaxy_image("WISE_3.4", star=36.0),
        "SPIRE_250": galaxy_image("SPIRE_250"),
    }
    made = {
        band: make_layers(image, [SCALE], GALAXY, SETTINGS)["18arcsec"]
        for band, image in found.items()
    }
    return [made.get(band) or Layer(why="no image") for band in BANDS]


@pytest.fixture(scope="module")
def cube(layers):
    return stack(GALAXY, SCALE, layers, SETTINGS)


def test_width_of_the_psf_comes_with_the_layers(cube, layers, monkeypatch):
    # Measuring it again would load reproject into every job that stacks.
    monkeypatch.setattr("dustcast.imaging.cube.effective_fwhm", lambda *_: 99.0)
    assert stack(GALAXY, SCALE, layers, SETTINGS).fwhm == cube.fwhm == pytest.approx(24.3, abs=0.1)
    assert stack(GALAXY, SCALE, [Layer(why="no image")] * 4, SETTINGS).fwhm == 99.0


def test_layers_survive_their_file(tmp_path, layers):
    path = tmp_path / "WISE_3.4.fits"
    write_layers(path, "WISE_3.4", {"18arcsec": layers[1], "36arcsec": Layer(why="\u03b1 \u2013")})
    with fits.open(path) as hdus:
        names = [f"18ARCSEC_{part}" for part in ("FLUX", "RMS", "CAL", "EXT", "COVER", "STAR")]
        assert [hdu.name for hdu in hdus] == ["PRIMARY", *names, "36ARCSEC_FLUX"]
        assert hdus["18ARCSEC_FLUX"].header["DC_PSF"] == "SPIRE_250"
        assert hdus["18ARCSEC_FLUX"].data.dtype == np.dtype(">f4")
    found = read_layer(path, "18arcsec")
    assert np.array_equal(found.flux, layers[1].flux.astype(np.float32), equal_nan=True)
    assert found.info["DC_RMS"][0] == pytest.approx(layers[1].info["DC_RMS"][0])
    assert read_layer(path, "36arcsec").why == "? ?"
    assert read_layer(path, "1kpc").why == "not convolved for 1kpc"
    write_layers(path, "WISE_3.4", {}, "no such image in the archive")
    absent = read_layer(path, "18arcsec")
    assert absent.why == "no such image in the archive"
    # That is listed by who cleans images, and not again here.
    cube = stack(GALAXY, SCALE, [absent] * 4, SETTINGS)
    assert pixels.missing_bands(cube) == []
    write_cube(tmp_path / "cube.fits", cube, SETTINGS)
    assert pixels.missing_bands(read_cube(tmp_path / "cube.fits")) == []


def test_cube_has_the_agreed_extensions(tmp_path, cube):
    path = tmp_path / "18arcsec.fits"
    write_cube(path, cube, SETTINGS)
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus][1:] == [
            "FLUX", "ERROR", "ERR_RMS", "ERR_CAL", "ERR_EXT", "MASK", "BANDS"
        ]  # fmt: skip
        n = cube.grid.n
        for hdu in hdus[1:7]:
            assert hdu.data.shape == (4, n, n)
            assert hdu.data.dtype == (np.uint8 if hdu.name == "MASK" else np.dtype(">f4"))
        names = ["band", "wavelength_um", "fwhm_arcsec", "calibration", "used", "why"]
        assert set(names) <= set(hdus["BANDS"].columns.names)
        assert hdus["BANDS"].data["used"].tolist() == [True, True, False, True]
        wcs = WCS(hdus["FLUX"].header)
        assert wcs.naxis == 3
        ra, dec = wcs.celestial.pixel_to_world_values(n // 2, n // 2)
        assert (float(ra), float(dec)) == pytest.approx((GALAXY.ra, GALAXY.dec))
        assert hdus["FLUX"].header["BUNIT"] == "MJy/sr"
        # Pixels as wide as the PSF broaden it by a third.
        assert hdus[0].header["DC_TFWHM"] == pytest.approx(18.38, abs=0.05)
        assert hdus[0].header["DC_EFWHM"] == pytest.approx(24.3, abs=0.2)
    found = read_cube(path)
    for name in ("flux", "error", "mask"):
        assert np.array_equal(getattr(found, name), getattr(cube, name), equal_nan=True)
    assert (found.grid, found.bands, found.why) == (cube.grid, cube.bands, cube.why)
    assert found.fwhm == pytest.approx(cube.fwhm)


def test_errors_add_in_quadrature(cube):
    parts = [cube.parts[name].astype(float) for name in ("RMS", "CAL", "EXT")]
    total = np.sqrt(sum(part**2 for part in parts))
    assert np.allclose(cube.error, total, rtol=1e-6, equal_nan=True)
    assert np.nanmax(cube.parts["EXT"][0]) > 0
    assert np.nanmax(cube.parts["EXT"][3]) == 0


def test_mask(cube):
    half = cube.grid.n // 2
    assert np.all(cube.mask[2] & NO_COVER)
    assert np.isnan(cube.flux[2]).all()
    # The star, but only in its band; the value there is interpolated.
    assert cube.mask[1, half, half - 2] & STAR
    assert np.isfinite(cube.flux[1, half, half - 2])
    assert not np.any(cube.mask[[0, 3]] & STAR)
    inside = cube.grid.elliptical_radius(GALAXY.pa, GALAXY.axis_ratio) <= 60
    assert np.array_equal((cube.mask[0] & OUTSIDE) == 0, inside)


def test_pixels(cube):
    bands = [*BANDS, "IRAS_60"]
    table = pixel_photometry(cube, GALAXY, bands)
    inside = (cube.mask[0] & OUTSIDE) == 0
    assert table.n_rows == inside.sum()
    assert np.all(table["r_r25"] <= 1)
    k = int(np.argmin(table["r_r25"]))
    half = cube.grid.n // 2
    assert (table["x"][k], table["y"][k]) == (half, half)
    assert table["id"][k] == f"NGC0001/18arcsec/{half}_{half}"
    assert (table["ra"][k], table["dec"][k]) == pytest.approx((GALAXY.ra, GALAXY.dec))
    # 1 MJy/sr over 324 arcsec2.
    factor = 1e9 * 324 * (math.pi / 648000) ** 2
    assert table["GALEX_NUV"][k] == pytest.approx(cube.flux[0, half, half] * factor)
    assert table["GALEX_NUV_err"][k] == pytest.approx(cube.error[0, half, half] * factor)
    assert np.isnan([table["WISE_12"], table["IRAS_60"]]).all()
    star = (table["x"] == half - 2) & (table["y"] == half)
    assert star.sum() == 1
    assert np.isnan(table["WISE_3.4"][star]).all()
    assert np.isfinite(table["SPIRE_250"][star]).all()
    assert table.units["GALEX_NUV"] == "mJy"
    assert ["NGC0001", "WISE_12", "18arcsec", "stack_cube", "no image"] in table.meta["exclusions"]


def test_a_cube_without_input_bands_gives_an_empty_table_with_the_reason(cube):
    table = pixel_photometry(cube, GALAXY, ["SPIRE_250"])
    assert table.n_rows == 0
    assert "no pixel inside D25" in table.meta["reason"]


def test_sums_over_the_ellipse_are_those_of_the_pixels():
    scale = Scale("global", "SPIRE_500", 18.0, ("GALEX_NUV", "WISE_3.4"))
    found = [
        make_layers(galaxy_image(band), [scale], GALAXY, SETTINGS)["global"] for band in scale.bands
    ]
    cube = stack(GALAXY, scale, found, SETTINGS)
    fluxes, exclusions = ellipse_fluxes(cube, list(scale.bands), d25_ellipse(GALAXY))
    assert exclusions == []
    table = pixel_photometry(cube, GALAXY, list(scale.bands))
    for band in scale.bands:
        assert fluxes[band] == pytest.approx(np.sum(table[band]), rel=0.02)
    # The disc's own flux over a much larger ellipse: 2 pi h^2 q times the brightness.
    large = Ellipse(200.0, 1.0, 0.0)
    truth = 5 * 2 * math.pi * 15**2 * GALAXY.axis_ratio / MJY_SR_PER_MJY_ARCSEC2
    fluxes, _ = ellipse_fluxes(cube, list(scale.bands), large)
    for band in scale.bands:
        assert fluxes[band] == pytest.approx(truth, rel=0.01)
    # A sky of 0.1 MJy/sr comes off with an annulus.
    cube.flux += 0.1
    fluxes, _ = ellipse_fluxes(cube, list(scale.bands), large, annulus=(1.1, 1.5))
    assert fluxes["WISE_3.4"] == pytest.approx(truth, rel=0.02)


def test_errors_of_sums_are_the_scatter_of_sums():
    scale = Scale("global", "SPIRE_500", 18.0, ("GALEX_NUV",))
    ellipse = d25_ellipse(GALAXY)
    rng = np.random.default_rng(7)
    _, shape, wcs = native("GALEX_NUV", 1200)
    sums, errors = [], []
    for _ in range(40):
        image = clean("GALEX_NUV", rng.normal(0, 1, shape), wcs)
        layer = make_layers(image, [scale], GALAXY, SETTINGS)["global"]
        fluxes, _ = ellipse_fluxes(stack(GALAXY, scale, [layer], SETTINGS), ["GALEX_NUV"], ellipse)
        sums.append(fluxes["GALEX_NUV"])
        errors.append(fluxes["GALEX_NUV_err"])
    # The scatter of 40 is known to 11%; the ellipse is only twice as wide as the PSF.
    assert np.mean(errors) == pytest.approx(np.std(sums, ddof=1), rel=0.35)


def test_gaps_in_an_ellipse(cube):
    ellipse = d25_ellipse(GALAXY)
    whole, _ = ellipse_fluxes(cube, ["SPIRE_250"], ellipse)
    half = cube.grid.n // 2
    holed = cube.flux[3].copy()
    cube.flux[3, half + 1, half] = np.nan
    filled, _ = ellipse_fluxes(cube, ["SPIRE_250"], ellipse)
    cube.flux[3, :, half:] = np.nan
    missing, exclusions = ellipse_fluxes(cube, ["SPIRE_250"], ellipse)
    cube.flux[3] = holed
    assert filled["SPIRE_250"] == pytest.approx(whole["SPIRE_250"], rel=0.15)
    assert math.isnan(missing["SPIRE_250"])
    assert any("covers" in row[-1] for row in exclusions)


def test_sums_of_galaxies(cube):
    galaxies = {"NGC0001": GALAXY}
    ellipses = {"NGC0001": Ellipse(80.0, 0.5, 10.0)}
    table = pixels.sum_galaxies([cube], galaxies, list(BANDS), ellipses)
    assert table["id"].tolist() == ["NGC0001/global"]
    assert table["area_arcsec2"][0] == pytest.approx(math.pi * 80**2 * 0.5)
    assert np.isfinite(table["GALEX_NUV"][0])
    assert np.isnan(table["WISE_12"][0])
    assert ["NGC0001", "WISE_12", "18arcsec", "stack_cube", "no image"] in table.meta["exclusions"]


def test_apertures_of_the_catalogue(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("name,semimaj_arcsec,axial_ratio,pos_angle\nA,100,2,30\n")
    assert pixels.catalogue_apertures(path) == {"A": Ellipse(100.0, 0.5, 120.0)}
    path.write_text("name,semimaj_arcsec,axial_ratio,pos_angle\nA,wide,2,30\n")
    with pytest.raises(DataError, match="A: could not convert"):
        pixels.catalogue_apertures(path)


def test_faulty_files_are_refused(tmp_path):
    path = tmp_path / "WISE_12.fits"
    path.write_bytes(b"not FITS")
    with pytest.raises(DataError, match=r"is not a cube"):
        read_cube(path)
    with pytest.raises(DataError, match=r"cannot be read"):
        read_layer(path, "18arcsec")
