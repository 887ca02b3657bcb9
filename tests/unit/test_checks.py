"""What is wrong with images of one's own, from the cards of their headers."""

import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from dustcast import checks
from dustcast.config import best_scale, check_twice, complete
from dustcast.sample import Galaxy, plan, read_galaxies
from dustcast.tables import DataError

GALAXY = Galaxy("mine", 150.0, 20.0, 10.0, 0.0, 120.0, 1.0, 0.0, float("nan"), "made here")


def header(**more):
    cards = {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": 150.0,
        "CRVAL2": 20.0,
        "CRPIX1": 50.5,
        "CRPIX2": 50.5,
        "CDELT1": -3 / 3600,
        "CDELT2": 3 / 3600,
        "BUNIT": "MJy/sr",
    }
    return fits.Header(cards | more)


def check_image(path):
    checks.check_place(checks.image_header(path, "x"), path, GALAXY, "x")


def image(path, **more):
    fits.PrimaryHDU(np.zeros((100, 100), np.float32), header(**more)).writeto(path, overwrite=True)
    return str(path)


def config(images, **more):
    own = {"mine": {"ra": 150, "dec": 20, "distance": 10, "d25_arcsec": 120}}
    return complete(
        {"run": "x", "survey": {"source": "local", "images": {"mine": images}}}
        | {"sample": {"own": own}, "scales": ["best"], "maps": {"model": "results/x/m"}}
        | more
    )


def check(content):
    galaxies = read_galaxies(content)
    checks.check_maps(content, galaxies, plan(content, galaxies))


def test_cards_are_those_that_astropy_reads(tmp_path):
    path = image(tmp_path / "a.fits", OBJECT="it's / one", EQUINOX=2000.0)
    found = checks.image_header(path, "x")
    expected = fits.getheader(path)
    assert found["OBJECT"] == expected["OBJECT"]
    for name in ("NAXIS1", "CRVAL1", "CDELT1", "EQUINOX"):
        assert float(found[name]) == expected[name]


def test_an_image_in_an_extension_and_a_gzipped_one(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "D", array=np.arange(1000.0))])
    second = fits.ImageHDU(np.zeros((7, 5)), header())
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), table, second]).writeto(path)
    zipped = tmp_path / "a.fits.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    for name in (path, zipped):
        found = checks.image_header(name, "x")
        assert (found["NAXIS1"], found["NAXIS2"], found["CTYPE1"]) == ("5", "7", "RA---TAN")


def test_a_compressed_image(tmp_path):
    path = tmp_path / "a.fits"
    hdu = fits.CompImageHDU(np.zeros((30, 20), np.float32), header())
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    assert checks.image_header(path, "x")["NAXIS1"] == "20"
    check_image(path)


@pytest.mark.parametrize("turn", [0.0, 30.0, 120.0])
def test_an_image_that_reaches_the_galaxy_passes_and_one_that_does_not_is_refused(tmp_path, turn):
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    matrix = {"PC1_1": cos, "PC1_2": -sin, "PC2_1": sin, "PC2_2": cos}
    for away in (0.0, 0.03, 0.2, 5.0):
        path = image(tmp_path / "a.fits", CRVAL2=20.0 + away, **matrix)
        x, y = WCS(fits.getheader(path)).world_to_pixel_values(150.0, 20.0)
        inside = -0.5 <= x <= 99.5 and -0.5 <= y <= 99.5
        if inside:
            check_image(path)
        elif away > 0.1:
            with pytest.raises(DataError, match="does not show mine"):
                check_image(path)


def test_right_ascension_wraps():
    assert checks.separation(359.9, 0.0, 0.1, 0.0) == pytest.approx(0.2)
    assert checks.separation(10.0, 80.0, 190.0, 80.0) == pytest.approx(20.0)


def test_files_that_are_no_images(tmp_path):
    for name, content, why in (
        ("text.fits", b"hello", "no FITS image"),
        ("none.fits", None, "does not exist"),
        ("nowcs.fits", "nowcs", "no celestial coordinates"),
        ("empty.fits", "empty", "no image of two axes"),
    ):
        path = tmp_path / name
        if content == "nowcs":
            image(path, CTYPE1="LINEAR", CTYPE2="LINEAR")
        elif content == "empty":
            fits.PrimaryHDU().writeto(path)
        elif content:
            path.write_bytes(content)
        with pytest.raises(DataError, match=why):
            check_image(path)


UNITS = """Jy/pix, mJy pixel-1, MJY/SR, Jy / arcsec2, Jy/beam, DN, counts/s, ct s-1, cps, nanomaggy,
W m-2 Hz-1 sr-1, erg/s/cm2/Hz/arcsec2, DN/pix"""


@pytest.mark.parametrize("unit", [unit.strip() for unit in UNITS.split(",")])
def test_units_of_images_pass(tmp_path, unit):
    path = image(tmp_path / "a.fits", BUNIT=unit)
    check(config({"WISE_12": path}))


@pytest.mark.parametrize("unit", ["K", "furlong", "mag", "Jy", "m/s", "electron"])
def test_a_unit_that_is_none_of_an_image_is_refused(tmp_path, unit):
    path = image(tmp_path / "a.fits", BUNIT=unit)
    with pytest.raises(DataError, match=rf"mine\.WISE_12: .*a\.fits has the unit '{unit}'"):
        check(config({"WISE_12": path}))
    # Nor may the configuration name it.
    path = image(tmp_path / "b.fits", BUNIT="")
    survey = {"source": "local", "images": {"mine": {"WISE_12": path}}}
    with pytest.raises(DataError, match=f"has the unit '{unit}'"):
        check(config({}, survey=survey | {"missing_unit": {"WISE_12": unit}}))


def test_a_missing_unit_is_that_of_the_configuration(tmp_path):
    path = image(tmp_path / "a.fits", BUNIT="")
    survey = {"source": "local", "images": {"mine": {"WISE_12": path, "WISE_3.4": path}}}
    for missing in (None, {"WISE_12": "Jy/pix"}):
        with pytest.raises(DataError, match="names no unit"):
            check(config({}, survey=survey | {"missing_unit": missing}))
    for missing in ("Jy/pix", {"WISE_12": "DN", "WISE_3.4": "Jy/pix"}):
        check(config({}, survey=survey | {"missing_unit": missing}))
    # 2MASS writes its zero point only.
    path = image(tmp_path / "b.fits", BUNIT="", MAGZP=20.5)
    check(config({"2MASS_J": path}))


def test_a_distance_that_is_none(tmp_path):
    path = image(tmp_path / "a.fits")
    for distance, why in (
        (0, "must be above 0"),
        (-3, "must be above 0"),
        ("far", "a number is needed"),
    ):
        own = {"mine": {"ra": 150, "dec": 20, "distance": distance, "d25_arcsec": 120}}
        with pytest.raises(DataError, match=rf"distance is .*{why}"):
            config({"WISE_12": path}, sample={"own": own})


def test_scale_best_is_the_widest_input_image(tmp_path):
    path = image(tmp_path / "a.fits")
    content = config({"GALEX_NUV": path, "WISE_12": path, "SPIRE_250": path})
    assert content["scales"] == ["6.5arcsec"]
    check(content)
    with pytest.raises(DataError, match="scales names best"):
        best_scale(content | {"survey": {"images": {}}})


def test_bands_that_make_no_map(tmp_path):
    path = image(tmp_path / "a.fits")
    with pytest.raises(DataError, match="no band from ultraviolet to mid-infrared"):
        check(config({"SPIRE_250": path}, scales=["18arcsec"]))
    with pytest.raises(
        DataError, match=r"PSF of WISE_22 .* is wider than that of the scale 7arcsec"
    ):
        check(config({"WISE_12": path, "WISE_22": path}, scales=["7arcsec"]))
    with pytest.raises(DataError, match=r"maps\.model: nowhere holds no model"):
        checks.check_model(config({"WISE_12": path}, maps={"model": "nowhere"}))
    other = {"model": "results/other/shipped/mine"}
    with pytest.raises(DataError, match="or run snakemake results/other/shipped/mine with"):
        checks.check_model(config({"WISE_12": path}, maps=other))
    (tmp_path / "settings.json").write_text('{"bands": ["WISE_3.4"]}')
    with pytest.raises(DataError, match="the model was not trained on WISE_12"):
        checks.check_model(config({"WISE_12": path}, maps={"model": str(tmp_path)}))
    checks.check_model(config({"WISE_3.4": path}, maps={"model": str(tmp_path)}))
    # A model of the run itself is not there before the run.
    checks.check_model(config({"WISE_12": path}))


def test_galaxies_described_in_the_configuration(tmp_path):
    path = image(tmp_path / "a.fits")
    own = {"mine": {"ra": 150, "dec": 20, "distance": 10, "radius_arcsec": 60}}
    (galaxy,) = read_galaxies(config({"WISE_12": path}, sample={"own": own}))
    assert (galaxy.d25_arcsec, galaxy.axis_ratio, galaxy.pa) == (120, 1, 0)
    own["mine"]["d25_arcsec"] = 120
    with pytest.raises(DataError, match="one of them"):
        read_galaxies(config({"WISE_12": path}, sample={"own": own}))
    own["mine"] |= {"distance": 0}
    with pytest.raises(DataError, match="distance is 0: it must be above 0"):
        config({"WISE_12": path}, sample={"own": own})


def test_a_key_that_stands_twice(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("survey:\n  images:\n    a: {WISE_12: x.fits}\n    b: {WISE_12: y.fits}\n")
    check_twice(path)
    path.write_text("survey:\n  images:\n    a:\n      WISE_12: x.fits\n      WISE_12: y.fits\n")
    with pytest.raises(DataError, match=r"survey\.images\.a\.WISE_12 twice \(line 5\)"):
        check_twice(path)
