"""From raw images to clean ones through the workflow, with images made here."""

import checkout
import numpy as np
import pytest
import yaml
from astropy.io import fits

from dustcast.archive.catalogue import read_photometry
from dustcast.archive.gaia import COLUMNS as GAIA
from dustcast.imaging.cube import read_cube
from dustcast.imaging.pixels import (
    CATALOGUE_ANNULUS,
    catalogue_apertures,
    ellipse_fluxes,
    pixel_photometry,
)
from dustcast.sample import GALAXY_COLUMNS, galaxy_table
from dustcast.tables import read_table

FOLDER = "results/own/images/mine"
CONFIG = "own.yaml"
SIZE = 150


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A copy of the repository with clean images of a galaxy of one's own, and the page of it."""
    folder = checkout.copy_repository(tmp_path_factory.mktemp("images"))
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    disc = 20 * np.exp(-np.hypot(x, y) / 5)
    for name in ("r", "w"):
        data = 5 + disc + rng.normal(0, 0.2, disc.shape)
        fits.PrimaryHDU(data, checkout.sky_header(SIZE, 3)).writeto(folder / f"{name}.fits")
    broken = folder / "broken.fits"
    broken.write_bytes((folder / "r.fits").read_bytes()[:5000])
    row = "mine,150,20,10,0,60,1,0,,made here,,"
    # What the servers of IRSA and Gaia would send.
    for name, text in {
        "reddening": "galaxy,ebv,ebv_err,source\nmine,0.1,0.01,test\n",
        "gaia": ",".join(GAIA) + "\n1,150.02,20.02,5,0.1,0,1,0,1,12\n",
    }.items():
        (folder / "mirror" / name).mkdir(parents=True)
        (folder / "mirror" / name / "mine.csv").write_text(text)
    (folder / "galaxies.csv").write_text(f"{','.join(GALAXY_COLUMNS)}\n{row}\n")
    (folder / "stars.csv").write_text(
        "galaxy,band,action,ra,dec,radius_arcsec,to_ra,to_dec,reason\n"
        "mine,,add,150.01,20.01,9,,,a star\n"
    )
    images = {"SDSS_r": "r.fits", "SDSS_i": "broken.fits", "WISE_12": "w.fits"}
    config = {
        "run": "own",
        "survey": {"source": "local", "images": {"mine": images}},
        "sample": {"by_hand": "galaxies.csv"},
        "mirror": "mirror",
        "stars": {"by_hand": "stars.csv"},
    }
    (folder / CONFIG).write_text(yaml.safe_dump(config))
    page = "results/own/figures/quicklook/mine.png"
    checkout.snakemake(folder, f"{FOLDER}/clean/WISE_12.fits", page, "--cores", "2", config=CONFIG)
    return folder


def test_each_band_has_a_product(own):
    clean = own / FOLDER / "clean"
    assert len(list(clean.glob("*.fits"))) == 26
    with fits.open(clean / "SDSS_r.fits") as hdus:
        assert hdus[0].header["DC_OK"] is True
        assert hdus[0].header["DC_EXT"] == pytest.approx(10 ** (0.4 * 2.285 * 0.1))
        assert hdus["STARS"].data.sum() >= np.pi * 3**2 - 5
        assert np.isnan(hdus[0].data[hdus["STARS"].data > 0]).all()
    for band, why in (("SDSS_i", "cut short or damaged"), ("PACS_70", "there is no image")):
        cards = fits.getheader(clean / f"{band}.fits")
        assert cards["DC_OK"] is False
        assert why in cards["DC_WHY"]


def test_what_is_left_out_is_listed(own):
    table = read_table(own / FOLDER / "clean.parquet")
    assert table["ok"].sum() == 2
    rows = table.meta["exclusions"]
    assert len(rows) == 24
    (found,) = [row for row in rows if row[1] == "SDSS_i"]
    assert found[:4] == ["mine", "SDSS_i", "", "clean_image"]
    assert "raw/SDSS_i.fits" in found[4]


def test_raw_images_are_links(own):
    raw = own / FOLDER / "raw/SDSS_r.fits"
    assert raw.is_symlink()
    assert raw.resolve() == (own / "r.fits").resolve()


def test_stars_come_from_both_lists(own):
    text = (own / FOLDER / "stars.ecsv").read_text()
    # The star of Gaia is not on the images, but its magnitude promises it up to 10 micron.
    assert text.count(" magnitude\n") == 1
    assert text.count(" added\n") == 3


def test_page_is_small(own):
    page = own / "results/own/figures/quicklook/mine.png"
    assert 10_000 < page.stat().st_size <= 300_000


def test_second_run_has_nothing_to_do(own):
    target = "results/own/figures/quicklook/mine.png"
    assert "Nothing to be done" in checkout.snakemake(own, target, "-n", config=CONFIG).stdout


def test_images_that_are_not_there(own):
    wrong = yaml.safe_load((own / CONFIG).read_text())
    wrong["survey"]["images"]["mine"] = {"SDSS_r": "nowhere.fits"}
    (own / "wrong.yaml").write_text(yaml.safe_dump(wrong | {"run": "wrong"}))
    target = "results/wrong/images/mine/clean/SDSS_r.fits"
    done = checkout.snakemake(own, target, "-n", config="wrong.yaml", check=False)
    assert done.returncode != 0
    assert "nowhere.fits" in done.stdout


def test_fetched_files_are_kept(own):
    kept = own / "data/gaia/mine.csv"
    text = kept.read_text() + "2,150.03,20.03,5,0.1,0,1,0,1,19\n"
    kept.write_text(text)
    checkout.snakemake(own, "data/gaia/mine.csv", "--force", "--cores", "1", config=CONFIG)
    assert kept.read_text() == text


# ---------------------------------------------------------------------------------------------
# Cubes and photometry of NGC 5584

MAPS = ["GALEX_NUV", "WISE_12", "PACS_100", "SPIRE_250"]


@pytest.mark.science
def test_photometry_of_a_real_galaxy_is_that_of_the_catalogue(tmp_path, data):
    folder = checkout.copy_repository(tmp_path)
    paths = {band: str(data / f"maps/NGC5584/NGC5584_{band}.fits.gz") for band in MAPS}
    scales = ["18arcsec", "25arcsec", "3kpc"]
    config = {
        "run": "own",
        "mirror": str(data),
        "scales": [*scales, "global"],
        "survey": {
            "source": "local",
            "images": {"NGC5584": paths},
            "missing_unit": "Jy/pix",
        },
        "stars": {"source": "by_hand"},
        "photometry": {"source": "images"},
    }
    (folder / CONFIG).write_text(yaml.safe_dump(config))
    results = folder / "results/own"
    wanted = ["cubes", "pixels", "results/own/photometry/global.parquet"]
    checkout.snakemake(folder, *wanted, "--cores", "2", config=CONFIG)
    catalogue = read_photometry(data / "dustpedia/DustPedia_Aperture_Photometry_2.2.csv", MAPS)
    row = list(catalogue["galaxy"]).index("NGC5584")
    aperture = catalogue_apertures(data / "dustpedia/CAAPR_Aperture_Table.csv")["NGC5584"]
    for scale in [*scales, "global"]:
        cube = read_cube(results / f"cubes/NGC5584/{scale}.fits")
        fluxes, _ = ellipse_fluxes(cube, MAPS, aperture, annulus=CATALOGUE_ANNULUS)
        for band in MAPS:
            # Within 5%; where the PSF is widest, or within the catalogue's error.
            error = catalogue[f"{band}_err"][row] if scale == "global" else 0
            known = pytest.approx(catalogue[band][row], rel=0.05, abs=error)
            assert fluxes[band] == known, (scale, band)
    table = read_table(results / "photometry/apertures.parquet")
    assert table["GALEX_NUV"][0] == pytest.approx(catalogue["GALEX_NUV"][row], rel=0.05)
    # Sums over D25 are those of the pixels of the same images.
    table = read_table(results / "photometry/global.parquet")
    galaxy = galaxy_table(results / "sample/galaxies.csv")["NGC5584"]
    pixels = pixel_photometry(cube, galaxy, MAPS)
    for band in MAPS:
        assert np.nansum(pixels[band]) == pytest.approx(table[band][0], rel=0.02)
    # What is empty has been said before, and what is large is gone.
    assert read_table(results / "photometry/NGC5584/18arcsec.parquet").meta["exclusions"] == []
    assert not list((results / "convolved").rglob("*.fits"))
