"""Real images of two galaxies, cleaned: fluxes, magnitudes, the sky around them."""

import csv

import numpy as np
import pytest
from astropy.io import fits
from photutils.aperture import CircularAnnulus, CircularAperture, aperture_photometry

from dustcast.config import CONFIG_FOLDER
from dustcast.imaging.clean import clean_band
from dustcast.imaging.geometry import elliptical_radius, elliptical_radius_at, pixel, world
from dustcast.imaging.images import pixel_areas
from dustcast.sample import dustpedia_galaxies, rows_by_hand, with_hand

BANDS = ("GALEX_NUV", "WISE_12", "PACS_100", "SPIRE_250")
WISE = "0138m107_ac51-w{}-int-3_ra14.177751925_dec-9.913864294_asec1000.000.fits.gz"
NGC309 = {
    "2MASS_J": "aJ_asky_001022s0620186.fits.gz",
    "2MASS_H": "aH_asky_001022s0620186.fits.gz",
    "2MASS_Ks": "aK_asky_001022s0620186.fits.gz",
    "WISE_3.4": WISE.format(1),
    "WISE_4.6": WISE.format(2),
}
# Fluxes of magnitude 0, as in config/zero_points.csv.
ZERO_JY = {
    "2MASS_J": 1594.0,
    "2MASS_H": 1024.0,
    "2MASS_Ks": 666.7,
    "WISE_3.4": 306.682,
    "WISE_4.6": 170.663,
}


@pytest.fixture(scope="module")
def galaxies(data):
    folder = data / "dustpedia"
    table = dustpedia_galaxies(
        folder / "DustPedia_HyperLEDA_Herschel.csv", folder / "CAAPR_Aperture_Table.csv"
    )
    path = CONFIG_FOLDER / "galaxies.csv"
    return with_hand({one.galaxy: one for one in table}, rows_by_hand(path), path)


@pytest.fixture(scope="module")
def catalogue(data):
    path = data / "dustpedia" / "DustPedia_Aperture_Photometry_2.2.csv"
    with open(path, newline="", encoding="utf-8") as handle:
        return next(row for row in csv.DictReader(handle) if row["name"] == "NGC5584")


@pytest.fixture(scope="module")
def cleaned(data, galaxies):
    folder = data / "maps" / "NGC5584"
    return {
        band: clean_band(
            folder / f"NGC5584_{band}.fits.gz", band, galaxies["NGC5584"], [], missing_unit="Jy/pix"
        )
        for band in BANDS
    }


@pytest.mark.parametrize("band", BANDS)
def test_fluxes_of_ngc5584_are_those_of_the_catalogue(cleaned, catalogue, galaxies, band):
    image, galaxy = cleaned[band], galaxies["NGC5584"]
    # CAAPR's aperture has the axis ratio and angle of our ellipse, but a size of its own.
    size = 2 * float(catalogue["semimaj_arcsec"]) / galaxy.d25_arcsec
    inside = elliptical_radius(image.wcs, image.data.shape, galaxy) < size
    flux = np.nansum((image.data * pixel_areas(image.wcs, image.data.shape))[inside]) * 1e6
    expected, error = float(catalogue[band]), float(catalogue[f"{band}_err"])
    assert abs(flux - expected) < max(0.05 * expected, error), (flux, expected, error)


@pytest.mark.parametrize("band", BANDS)
def test_sky_around_ngc5584_is_zero(cleaned, galaxies, band):
    image, galaxy = cleaned[band], galaxies["NGC5584"]
    y, x = np.mgrid[: image.data.shape[0], : image.data.shape[1]]
    ra, dec = world(image.wcs, x, y)
    radius = elliptical_radius_at(ra, dec, galaxy)
    angle = np.arctan2(dec - galaxy.dec, (ra - galaxy.ra) * np.cos(np.radians(galaxy.dec)))
    ring = (radius > 2.1) & (radius < 3.1) & np.isfinite(image.data)
    sector = np.floor((angle + np.pi) / (2 * np.pi) * 24).astype(int)
    levels = [np.median(image.data[ring & (sector == k)]) for k in range(24)]
    # Sectors are a minute wide: their scatter holds the structure of the sky, not only the noise.
    assert abs(np.mean(levels)) < 3 * np.std(levels) / np.sqrt(24)


def test_edges_of_pacs_are_kept_out(cleaned, data):
    raw = fits.getdata(data / "maps" / "NGC5584" / "NGC5584_PACS_100.fits.gz")
    assert np.isnan(raw).mean() > 0.3
    assert np.isnan(cleaned["PACS_100"].data[np.isnan(raw)]).all()


@pytest.mark.parametrize("band", list(NGC309))
def test_magnitudes_of_ngc309_are_those_of_the_raw_map(data, galaxies, band):
    # DustPedia's catalogue lacks NGC 309. Aperture photometry of the raw DN, by photutils.
    path = data / "maps" / "NGC309" / NGC309[band]
    galaxy = galaxies["NGC309"]
    image = clean_band(path, band, galaxy, [])
    assert image.ok
    with fits.open(path) as hdus:
        counts, zero = np.nan_to_num(hdus[0].data.astype(float)), hdus[0].header["MAGZP"]
    scale = image.cards["DC_PIX"][0]
    place = tuple(map(float, pixel(image.wcs, galaxy.ra, galaxy.dec)))
    circle = CircularAperture(place, 80 / scale)
    ring = CircularAnnulus(place, 120 / scale, 200 / scale).to_mask(method="center")
    sky = np.median(ring.get_values(np.where(counts == 0, np.nan, counts), mask=counts == 0))
    dn = aperture_photometry(counts - sky, circle, mask=counts == 0)["aperture_sum"][0]
    raw_magnitude = zero - 2.5 * np.log10(dn)
    jy = np.nan_to_num(image.data) * pixel_areas(image.wcs, image.data.shape) * 1e6
    flux = aperture_photometry(jy / image.cards["DC_EXT"][0], circle)["aperture_sum"][0]
    assert -2.5 * np.log10(flux / ZERO_JY[band]) == pytest.approx(raw_magnitude, abs=0.1)
