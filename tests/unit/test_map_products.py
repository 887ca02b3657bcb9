"""Maps as files: where pixels lie, units, extensions, what a FITS reader finds."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS

from dustcast.imaging.cube import Cube, write_cube
from dustcast.imaging.layers import Settings
from dustcast.imaging.resampling import Grid
from dustcast.maps import products
from dustcast.tables import DataError, Table

N, PIXEL = 9, 18.0
BANDS = ["GALEX_NUV", "WISE_12", "PACS_100"]


@pytest.fixture
def sky(tmp_path):
    shape = (3, N, N)
    flux = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    mask = np.full(shape, 4, np.uint8)
    mask[:, 3:6, 3:6] = 0
    cube = Cube(
        "mine",
        "18arcsec",
        "SPIRE_250",
        BANDS,
        Grid(150.0, 20.0, PIXEL, N),
        flux,
        flux,
        {"RMS": flux},
        mask,
        ["", "", "no image"],
        [{}, {}, {}],
        21.0,
    )
    write_cube(tmp_path / "cube.fits", cube, Settings())
    return products.read_sky(tmp_path / "cube.fits")


def tables():
    n = 2
    ids = np.array(["mine/18arcsec/3_4", "mine/18arcsec/5_4"], dtype=object)
    predictions = Table({"id": ids, "x": np.array([3, 5]), "y": np.array([4, 4])})
    for target, value in (("sLd", -1.0), ("sMd", -2.0), ("Td", 20.0)):
        predictions[target] = np.array([value, value + 0.5])
        for end, size in (("", 0.5), ("_galaxy", 0.3), ("_pixel", 0.4)):
            predictions[f"{target}_sigma{end}"] = np.full(n, size)
        predictions[f"{target}_applic"] = np.array([0, 2], dtype=np.uint8)
    predictions["Td_true"] = np.array([21.0, np.nan])
    predictions["Td_true_err"] = np.array([1.0, np.nan])
    predictions.meta = {"model": "test", "fold": "whole"}
    # Another order, and a pixel more: rows are matched by id.
    order = [1, 2, 0]
    all_ids = np.array([*ids, "mine/18arcsec/4_4"], dtype=object)[order]
    photometry = Table({"id": all_ids, "pixel_scale_pc": np.full(3, 1000.0)})
    photometry["distance"] = np.full(3, 11.5)
    photometry["GALEX_NUV"] = np.array([1.0, 1.0, np.nan])
    photometry["WISE_12"] = np.ones(3)
    short = Table({"id": all_ids, "bayes.stellar.m_star": np.array([2e8, 9e8, 1e8])})
    short["bayes.stellar.lum"] = short["bayes.stellar.m_star"] * 3.828e26
    for name in ("m_star", "lum"):
        short[f"bayes.stellar.{name}_err"] = np.zeros(3)
    stars = {target: {"factor": 1.0, "correlation": 0.0} for target in ("sLd", "sMd")}
    return predictions, photometry, short, stars


def written(sky, path, name="dust_mass", **options):
    predictions, photometry, short, stars = tables()
    made = products.map_products(sky, predictions, photometry, short, stars, BANDS, **options)
    origin = {"rule": "predict_map", "config": "c", "code": "d"}
    cards = products.header_cards(sky, predictions, 11.5, "mine", "18arcsec", origin)
    planes, unit = made[name]
    products.write_map(path, sky, planes, unit, name, cards)
    return made


def test_pixels_lie_where_the_cube_has_them(sky, tmp_path):
    written(sky, tmp_path / "m.fits")
    with fits.open(tmp_path / "m.fits") as hdus:
        value = hdus["VALUE"].data
        assert np.argwhere(np.isfinite(value)).tolist() == [[4, 3], [4, 5]]
        # Mass to light times mass over a square kpc: 10^-2 x 1e8 / 1e6, 10^-1.5 x 2e8 / 1e6.
        np.testing.assert_allclose(value[4, [3, 5]], [1, 2 * 10**0.5], rtol=1e-6)
        ra, dec = WCS(hdus["VALUE"].header).pixel_to_world_values(4, 4)
        assert (float(ra), float(dec)) == pytest.approx((150.0, 20.0))
        assert hdus["APPLIC"].data[4, 3:6].tolist() == [0, 255, 2]
        assert hdus["COVERAGE"].data[4, 3:6].tolist() == [1, 0, 2]
        assert hdus[0].header["DC_FOLD"] == "whole"
        assert hdus[0].header["DC_BANDS"] == "GALEX_NUV;WISE_12"


def test_files_are_valid_fits_and_a_reader_finds_the_unit(sky, tmp_path):
    for name, unit in (("dust_mass", u.solMass / u.pc**2), ("Td", u.K)):
        path = tmp_path / f"{name}.fits"
        written(sky, path, name)
        with fits.open(path) as hdus:
            hdus.verify("exception")
        data = CCDData.read(path, hdu="VALUE")
        assert data.unit == unit
        assert data.wcs.has_celestial


def test_truth_stands_where_it_is_known(sky, tmp_path):
    made = written(sky, tmp_path / "m.fits", "Td")
    planes, unit = made["Td"]
    assert unit == "K"
    assert list(planes) == [
        "VALUE",
        "SIGMA",
        "SIGMA_GALAXY",
        "SIGMA_PIXEL",
        "APPLIC",
        "COVERAGE",
        "TRUTH",
        "TRUTH_ERR",
    ]
    assert planes["TRUTH"][4, 3] == 21
    assert "TRUTH" not in made["sMd"][0]


def test_matched_maps_stand_beside_the_prediction(sky, tmp_path):
    predictions, *others = tables()
    matched = Table({key: predictions[key] for key in ("id", "x", "y")})
    for name in (*products.TARGETS, "dust_mass", "dust_luminosity"):
        matched[name] = np.array([4e6, 8e6])
        matched[f"{name}_sigma"], matched[f"{name}_correction"] = np.full((2, 2), 0.1)
    matched.meta = {"cards": {"DC_SRMTH": ["exact", "method"]}}
    # Rows are matched by id.
    matched = matched.rows(np.array([1, 0]))
    made = products.map_products(sky, predictions, *others, BANDS, matched=matched, deproject=0.5)
    planes, unit = made["dust_mass"]
    np.testing.assert_allclose(planes["MATCHED"][4, [3, 5]], [2, 4])
    assert made["Td"][0]["MATCHED"][4, 5] == 8e6
    assert planes["CORRECTION"][4, 3] == np.float32(0.1)
    origin = {"rule": "predict_map", "config": "c", "code": "d"}
    cards = products.header_cards(sky, predictions, 11.5, "mine", "18arcsec", origin, matched)
    products.write_map(tmp_path / "m.fits", sky, planes, unit, "dust_mass", cards)
    with fits.open(tmp_path / "m.fits") as hdus:
        hdus.verify("exception")
        assert hdus["MATCHED"].header["BUNIT"] == "solMass pc-2"
        assert "BUNIT" not in hdus["CORRECTION"].header
        assert hdus[0].header["DC_SRMTH"] == "exact"


def test_deprojected_densities_and_totals(sky, tmp_path):
    plain = written(sky, tmp_path / "m.fits")["dust_mass"][0]["VALUE"]
    tilted = written(sky, tmp_path / "m.fits", deproject=0.5)["dust_mass"][0]["VALUE"]
    np.testing.assert_allclose(tilted, 0.5 * plain)
    *parts, stars = tables()
    split = {target: {"length": 0.8} for target in ("sLd", "sMd")}
    model = {"stars": stars, "split": split}
    rows = products.totals_rows(sky, *parts, model, "mine", "18arcsec", 1.15)
    mass = rows[1]
    # The mean of a log-normal with the pixel's sigma only.
    factor = np.exp((np.log(10) * 0.4) ** 2 / 2)
    assert mass["total"] == pytest.approx((1e6 + 2e8 * 10**-1.5) * factor)
    assert mass["error_galaxy_dex"] == pytest.approx(0.3)
    # A tenth of the distance, twice; it is in no other error.
    assert mass["error_distance_dex"] == pytest.approx(0.2 / np.log(10))
    nowhere = products.totals_rows(sky, *parts, model, "mine", "18arcsec", np.nan)
    assert nowhere[1]["error_dex"] == mass["error_dex"]
    assert (mass["n_pixel"], mass["n_pixel_d25"]) == (2, 9)
    products.write_totals(tmp_path / "t.csv", rows)
    assert (tmp_path / "t.csv").read_text().count("\n") == 3


def test_no_pixels_make_empty_maps(sky):
    predictions, photometry, short, stars = tables()
    predictions = predictions.rows(np.zeros(0, dtype=int))
    made = products.map_products(sky, predictions, photometry, short, stars, BANDS)
    assert np.isnan(made["sMd"][0]["VALUE"]).all()
    model = {"stars": stars, "split": {}}
    assert products.totals_rows(sky, predictions, photometry, short, model, "a", "x", 1.0) == []


def test_tables_that_do_not_belong_together(sky):
    predictions, photometry, short, stars = tables()
    with pytest.raises(DataError, match="a table of the predicted pixels lacks"):
        products.map_products(sky, predictions, photometry.rows(np.arange(1)), short, stars, BANDS)
