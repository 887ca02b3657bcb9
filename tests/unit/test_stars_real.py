"""Stars in front of real galaxies, from lists made by hand.

No Gaia list of these fields is at hand, so positions are those of peaks on the maps that look like
a star: round, as wide as the beam (centroids in 1.5 beams, wherever an archive's maps have the
source). G is what a black body of 5200 K has of the flux in J or WISE 3.4 within 1.5 beams, for
the bright star at NGC 5584 in WISE 12; J and WISE 3.4 differ by 0.3 magnitudes at most. Knots of
the galaxies are in the lists too, without a parallax, as Gaia lists bright HII regions.
"""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from test_clean_real import NGC309

from dustcast.bands import band_table
from dustcast.config import CONFIG_FOLDER
from dustcast.imaging.clean import clean_band
from dustcast.imaging.geometry import pixel
from dustcast.imaging.images import read_image
from dustcast.imaging.stars import find_stars, read_gaia, star_mask
from dustcast.sample import dustpedia_galaxies, rows_by_hand, with_hand

# Right ascension, declination (deg), G.
STARS = {
    "NGC5584": {"bright": (215.63638, -0.34155, 9.5), "ultraviolet": (215.67550, -0.41248, 14.3)},
    "NGC309": {
        "beside the disc": (14.15323, -9.91441, 14.6),
        "brightest": (14.13380, -9.89169, 13.0),
        "north": (14.19429, -9.88437, 12.9),
        "east": (14.21447, -9.94040, 14.6),
        "far east": (14.23685, -9.93780, 14.9),
        "south": (14.21930, -9.98895, 15.3),
        "west": (14.14163, -9.90615, 15.4),
    },
}
KNOTS = {"NGC5584": (215.59016, -0.36892, 14.5), "NGC309": (14.16449, -9.93715, 15.9)}
MAPS = {
    "NGC5584": {
        band: f"NGC5584/NGC5584_{band}.fits.gz" for band in ("GALEX_NUV", "WISE_12")
    },
    "NGC309": {band: f"NGC309/{name}" for band, name in NGC309.items()},
}  # fmt: skip
# What no band has: the star north of NGC 309 is outside 2MASS's tile.
CASES = [(galaxy, band) for galaxy, maps in MAPS.items() for band in maps]


@pytest.fixture(scope="module")
def fields(data, tmp_path_factory):
    """Return by galaxy the galaxy, paths and images by band, and apertures."""
    folder = data / "dustpedia"
    table = dustpedia_galaxies(
        folder / "DustPedia_HyperLEDA_Herschel.csv", folder / "CAAPR_Aperture_Table.csv"
    )
    hand = CONFIG_FOLDER / "galaxies.csv"
    galaxies = with_hand({one.galaxy: one for one in table}, rows_by_hand(hand), hand)
    found = {}
    for name, stars in STARS.items():
        path = tmp_path_factory.mktemp(name) / "gaia.csv"
        rows = [(*star, 2.0) for star in stars.values()] + [(*KNOTS[name], 0.0)]
        path.write_text(
            "ra,dec,phot_g_mean_mag,parallax,parallax_error,pmra,pmra_error,pmdec,pmdec_error\n"
            + "".join(f"{','.join(map(str, row))},0.1,0,1,0,1\n" for row in rows)
        )
        paths = {band: data / "maps" / place for band, place in MAPS[name].items()}
        images = {
            band: read_image(path, band, missing_unit="Jy/pix") for band, path in paths.items()
        }
        apertures = find_stars(paths, galaxies[name], read_gaia(path), missing_unit="Jy/pix")
        found[name] = galaxies[name], paths, images, apertures
    return found


def distances(image, ra, dec):
    """Return the distance of each pixel in arcsec."""
    y, x = np.indices(image.data.shape)
    column, row = pixel(image.wcs, ra, dec)
    return np.hypot(x - column, y - row) * image.pixel_arcsec


@pytest.mark.parametrize(("galaxy", "band"), CASES)
def test_stars_are_masked_where_they_are_seen(fields, galaxy, band):
    _, _, images, apertures = fields[galaxy]
    image, beam = images[band], band_table()[band].fwhm_arcsec
    mine = [star for star in apertures if star.band == band]
    mask = star_mask(mine, image.wcs, image.data.shape)
    seen = 0
    for ra, dec, _ in STARS[galaxy].values():
        distance = distances(image, ra, dec)
        near = image.data[distance < beam]
        if not near.size:
            continue  # off the image
        around = image.data[(distance > 4 * beam) & (distance < 8 * beam)]
        level = np.nanmedian(around)
        noise = 1.4826 * np.nanmedian(np.abs(around - level))
        if np.nanmax(near) - level < 5 * noise:
            assert not mask[distance < beam / 2].any()
            continue
        seen += 1
        (star,) = (
            one
            for one in mine
            if SkyCoord(one.ra, one.dec, unit="deg")
            .separation(SkyCoord(ra, dec, unit="deg"))
            .arcsec
            < 3
        )
        assert star.origin == "fit"
        assert mask[(distance < beam) & (image.data > level + (np.nanmax(near) - level) / 2)].all()
        # At the edge, on the side where nothing else is, 2% of the peak at most is left.
        distance = distances(image, star.ra, star.dec)
        edge = image.data[(distance > star.radius) & (distance < star.radius + beam / 2)]
        assert np.nanpercentile(edge, 25) - level < 0.02 * (np.nanmax(near) - level) + noise
        assert star.radius < 4 * beam
    assert seen == {"GALEX_NUV": 2, "WISE_12": 1}.get(band, 6 + (band[:4] == "WISE"))
    assert len(mine) == seen


@pytest.mark.parametrize(("galaxy", "band"), CASES)
def test_nucleus_and_knots_are_not(fields, galaxy, band):
    whose, paths, images, apertures = fields[galaxy]
    beam = band_table()[band].fwhm_arcsec
    mine = [star for star in apertures if star.band == band]
    image = clean_band(paths[band], band, whose, mine, missing_unit="Jy/pix")
    assert image.ok
    assert image.stars.any()
    for ra, dec in ((whose.ra, whose.dec), KNOTS[galaxy][:2]):
        assert not image.stars[distances(images[band], ra, dec) < max(beam, 3.0) / 2].any()
    assert np.isnan(image.data[image.stars]).all()


def test_only_what_is_seen_is_masked_at_12_micron(fields):
    # The blue star has 130 sigma in NUV and nothing in WISE 12; what shines in WISE 12 alone, east
    # of the disc, is no star of the list.
    _, _, images, apertures = fields["NGC5584"]
    (star,) = [one for one in apertures if one.band == "WISE_12"]
    ra, dec, _ = STARS["NGC5584"]["bright"]
    assert np.hypot(star.ra - ra, star.dec - dec) * 3600 < 3
    x, y = pixel(images["WISE_12"].wcs, 215.62216, -0.40955)
    assert images["WISE_12"].data[round(float(y)), round(float(x))] > 20 * 0.021


@pytest.mark.parametrize("band", ["2MASS_J", "2MASS_H", "2MASS_Ks", "WISE_3.4", "WISE_4.6"])
def test_little_light_of_a_bright_star_is_outside(fields, band):
    # Within two beams of the aperture: the wings of the real beam.
    _, _, images, apertures = fields["NGC309"]
    image, beam = images[band], band_table()[band].fwhm_arcsec
    (star,) = (
        one
        for one in apertures
        if one.band == band and np.hypot(one.ra - 14.13380, one.dec + 9.89169) < 1e-3
    )
    distance = distances(image, star.ra, star.dec)
    level = np.nanmedian(image.data[(distance > star.radius + 2 * beam) & (distance < 60)])
    inside = np.nansum((image.data - level)[distance <= star.radius])
    wings = (distance > star.radius) & (distance < star.radius + 2 * beam)
    assert np.nansum((image.data - level)[wings]) / inside < 0.06
