"""Dust maps of one's own galaxy through the workflow, and what is refused before it starts."""

import csv

import checkout
import numpy as np
import pytest
import yaml
from astropy.io import fits

from dustcast.tables import read_table

CONFIG = "mine.yaml"
SIZE, PIXEL = 120, 4.0
PRODUCTS = ("sLd", "sMd", "Td", "dust_mass", "dust_luminosity")


def write_image(path, level, seed, **more):
    header = checkout.sky_header(SIZE, PIXEL)
    header.update(more)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    disc = np.exp(-np.hypot(x, y) / 6)
    noise = np.random.default_rng(seed).normal(0, 0.003, disc.shape)
    fits.PrimaryHDU(level * (disc + noise), header).writeto(path)


@pytest.fixture(scope="module")
def mine(tiny, tmp_path_factory):
    """A copy of the repository with maps of a galaxy from three images made here."""
    folder = checkout.copy_compiled(tmp_path_factory.mktemp("maps") / "run", tiny)
    images = {"SDSS_r": 2.0, "WISE_3.4": 3.0, "WISE_12": 6.0, "SPIRE_500": 8.0}
    for seed, (band, level) in enumerate(images.items()):
        write_image(folder / f"{band}.fits", level, seed)
    write_image(folder / "far.fits", 1.0, 9, CRVAL2=25.0)
    write_image(folder / "kelvin.fits", 1.0, 9, BUNIT="K")
    write_image(folder / "unnamed.fits", 1.0, 9, BUNIT="")
    write_image(folder / "nowhere.fits", 1.0, 9, CTYPE1="LINEAR", CTYPE2="LINEAR")
    own = {"ra": 150.0, "dec": 20.0, "distance": 10.0, "radius_arcsec": 70.0}
    config = {
        "run": "mine",
        "scales": ["24arcsec", "36arcsec"],
        "sample": {"own": {"mine": own | {"ebv": 0.02, "ebv_err": 0.003}}},
        "survey": {
            "source": "local",
            "images": {"mine": {band: f"{band}.fits" for band in images}},
        },
        "stars": {"source": "by_hand"},
        "sed": {"grid": "demo"},
        "images": {"sky_pixels": 4},
    }
    (folder / CONFIG).write_text(yaml.safe_dump(config))
    checkout.snakemake(folder, "maps", "--cores", "2", config=CONFIG)
    return folder


def test_maps_of_a_galaxy(mine):
    made = mine / "results/mine/maps/mine/24arcsec"
    photometry = read_table(mine / "results/mine/photometry/mine/24arcsec.parquet")
    for name in PRODUCTS:
        with fits.open(made / f"{name}.fits") as hdus:
            hdus.verify("exception")
            value = hdus["VALUE"].data
            assert np.isfinite(value).sum() == photometry.n_rows
            assert np.isfinite(value[photometry["y"], photometry["x"]]).all()
            parts = np.hypot(hdus["SIGMA_GALAXY"].data, hdus["SIGMA_PIXEL"].data)
            np.testing.assert_allclose(parts, hdus["SIGMA"].data, rtol=1e-5)
            assert hdus["COVERAGE"].data.max() == 3
            assert "TRUTH" not in hdus
            # SPIRE 500 is seen at the other scale only, and matched to.
            known = np.isfinite(value)
            assert np.isfinite(hdus["MATCHED"].data[known]).all()
            assert (hdus["MATCHED_SIGMA"].data[known] > 0).all()
            assert np.ptp(hdus["CORRECTION"].data[known]) > 0
            assert hdus[0].header["DC_SRMTH"] == "weighted"
            assert hdus[0].header["DC_FOLD"] == "whole"
    with fits.open(mine / "results/mine/maps/mine/36arcsec/dust_mass.fits") as hdus:
        assert "TRUTH" in hdus
        assert "MATCHED" not in hdus
    page = mine / "results/mine/figures/dust_maps/mine_24arcsec.png"
    assert page.stat().st_size > 20_000


def test_totals_are_sums_over_the_maps(mine):
    made = mine / "results/mine/maps/mine/24arcsec"
    with open(made / "totals.csv", newline="") as handle:
        rows = {row["quantity"]: row for row in csv.DictReader(handle)}
    area = (24 / 206264.80624709636 * 10e6) ** 2
    for name in ("dust_mass", "dust_luminosity"):
        with fits.open(made / f"{name}.fits") as hdus:
            own = np.log(10) * hdus["SIGMA_PIXEL"].data.astype(float)
            mean = hdus["VALUE"].data * np.exp(own**2 / 2)
        assert float(rows[name]["total"]) == pytest.approx(np.nansum(mean) * area, rel=1e-4)
        assert float(rows[name]["error_dex"]) > float(rows[name]["error_galaxy_dex"]) > 0


def test_what_is_wrong_is_said_by_a_dry_run(mine):
    for change, why in (
        ({"WISE_12": "far.fits"}, "does not show mine"),
        ({"WISE_12": "missing.fits"}, "missing.fits does not exist"),
        ({"WISE_12": "nowhere.fits"}, "nowhere.fits has no celestial coordinates"),
        ({"WISE_12": "kelvin.fits"}, "kelvin.fits has the unit 'K'"),
        ({"WISE_12": "unnamed.fits"}, "unnamed.fits names no unit"),
        ({"WISE_12": CONFIG}, "no FITS image"),
    ):
        wrong = yaml.safe_load((mine / CONFIG).read_text())
        wrong["survey"]["images"]["mine"] |= change
        (mine / "wrong.yaml").write_text(yaml.safe_dump(wrong | {"run": "wrong"}))
        done = checkout.snakemake(mine, "maps", "-n", config="wrong.yaml", check=False)
        assert done.returncode != 0
        assert why in done.stdout
        assert "Traceback" not in done.stdout
    for section, change, why in (
        ("sample", {"own": {"mine": {"ra": 150, "dec": 20, "distance": 0}}}, "distance is 0"),
        ("survey", {"missing_unit": {"WISE_12": "furlong"}}, "has the unit 'furlong'"),
        ("scales", ["5arcsec"], "is wider than that of the scale 5arcsec"),
    ):
        wrong = yaml.safe_load((mine / CONFIG).read_text()) | {"run": "wrong"}
        wrong["survey"]["images"]["mine"]["WISE_12"] = (
            "unnamed.fits" if section == "survey" else "WISE_12.fits"
        )
        wrong[section] = wrong[section] | change if isinstance(change, dict) else change
        (mine / "wrong.yaml").write_text(yaml.safe_dump(wrong))
        done = checkout.snakemake(mine, "maps", "-n", config="wrong.yaml", check=False)
        assert done.returncode != 0
        assert why in done.stdout
        assert "Traceback" not in done.stdout
    twice = (mine / CONFIG).read_text().replace("      SDSS_r", "      WISE_12: a\n      SDSS_r")
    (mine / "wrong.yaml").write_text(twice)
    done = checkout.snakemake(mine, "maps", "-n", config="wrong.yaml", check=False)
    assert "survey.images.mine.WISE_12 twice" in done.stdout
    wrong = yaml.safe_load((mine / CONFIG).read_text()) | {"maps": {"model": "nowhere"}}
    (mine / "wrong.yaml").write_text(yaml.safe_dump(wrong))
    done = checkout.snakemake(mine, "maps", "-n", "--forceall", config="wrong.yaml", check=False)
    assert "maps.model: nowhere holds no model" in done.stdout
