"""Reading archive images: units by hand, coordinates in every notation, edges, and bad files."""

import gzip

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from scipy.ndimage import map_coordinates
from sky_images import GALAXY, header, tangent, write

from dustcast.bands import band_table
from dustcast.imaging.geometry import elliptical_radius, pixel, world
from dustcast.imaging.images import (
    CleanImage,
    pixel_areas,
    read_clean,
    read_image,
    write_clean,
)
from dustcast.tables import DataError

SHAPE = (60, 80)
ARCSEC2_SR = (np.pi / 648000) ** 2


@pytest.fixture
def noise():
    return np.random.default_rng(0).normal(5.0, 1.0, SHAPE)


def area(pixel_arcsec):
    """Return the solid angle of a pixel in the middle of a small tangent plane."""
    return pixel_arcsec**2 * ARCSEC2_SR


# Factors by hand: Jy of one unit over the pixel's solid angle in MJy/sr, FACTS of the archives.
@pytest.mark.parametrize(
    ("band", "pixel_arcsec", "unit", "cards", "mjy_sr"),
    [
        ("WISE_12", 1.375, "Jy/pix", {}, 1e-6 / area(1.375)),
        ("WISE_12", 1.375, "Jy/pixel", {}, 1e-6 / area(1.375)),
        ("WISE_12", 1.375, "mJy pixel-1", {}, 1e-9 / area(1.375)),
        ("SPIRE_250", 6.0, "MJy/sr", {}, 1.0),
        ("SPIRE_250", 6.0, "Jy / arcsec2", {}, 1e-6 / ARCSEC2_SR),
        ("SPIRE_250", 6.0, "Jy/beam", {}, 90.646),
        ("SPIRE_350", 8.0, "Jy/beam", {}, 51.181),
        ("SPIRE_500", 12.0, "mJy/beam", {}, 0.023580),
        (
            "PACS_100",
            3.0,
            "Jy/beam",
            {"BMAJ": 10 / 3600, "BMIN": 8 / 3600},
            1e-6 / (1.13309 * 80 * ARCSEC2_SR),
        ),
        ("WISE_3.4", 1.375, "DN", {"MAGZP": 20.5}, 1.9350e-12 / area(1.375)),
        ("WISE_4.6", 1.375, "DN", {"MAGZP": 19.5}, 2.7048e-12 / area(1.375)),
        ("WISE_12", 1.375, "DN", {"MAGZP": 18.0}, 1.8326e-12 / area(1.375)),
        ("WISE_22", 1.375, "DN", {"MAGZP": 13.0}, 5.2269e-11 / area(1.375)),
        ("2MASS_Ks", 1.0, "", {"MAGZP": 20.0}, 666.7e-14 / area(1.0)),
        ("GALEX_FUV", 3.2, "counts/s", {}, 1.0765e-10 / area(3.2)),
        ("GALEX_NUV", 3.2, "ct s-1", {}, 3.3731e-11 / area(3.2)),
        ("SDSS_r", 0.45, "nanomaggy", {}, 3.631e-12 / area(0.45)),
    ],
)
def test_units(tmp_path, noise, band, pixel_arcsec, unit, cards, mjy_sr):
    path = write(tmp_path / "a.fits", noise, header(SHAPE, pixel_arcsec, unit, **cards))
    image = read_image(path, band)
    assert image.data / noise == pytest.approx(np.full(SHAPE, mjy_sr), rel=5e-5)
    assert image.pixel_arcsec == pytest.approx(pixel_arcsec, rel=1e-9)


def test_unit_behind_which_a_comment_stands(tmp_path, noise):
    cards = {"SIGUNIT": "Jy/pix              / Unit of the map"}
    path = write(tmp_path / "a.fits", noise, header(SHAPE, 3.0, "", **cards))
    assert read_image(path, "PACS_100").unit == "Jy/pix"


def test_missing_unit_is_what_the_survey_says(tmp_path, noise):
    path = write(tmp_path / "a.fits", noise, header(SHAPE, 3.0, ""))
    with pytest.raises(DataError, match=r"a\.fits names no unit \(BUNIT, SIGUNIT\)"):
        read_image(path, "PACS_100")
    assert read_image(path, "PACS_100", missing_unit="Jy/pix").jy_per_unit == 1
    assert read_image(path, "PACS_100", missing_unit={"PACS_100": "mJy/pix"}).jy_per_unit == 1e-3
    with pytest.raises(DataError, match="names no unit"):
        read_image(path, "PACS_100", missing_unit={"WISE_12": "Jy/pix"})


@pytest.mark.parametrize("projection", ["TAN", "SIN", "CAR", "AIT", "ZEA", "STG", "SFL", "MOL"])
def test_flux_is_conserved_in_every_projection(tmp_path, projection):
    # 16 degrees across, off the equator: pixels differ by percents in area.
    shape = (40, 48)
    wcs = tangent(shape, 1200.0, projection=projection, angle=20.0)
    if projection == "CAR":
        wcs.wcs.crval = [150.0, 0.0]
        wcs.wcs.set()
    areas = pixel_areas(wcs, shape)
    # Independent: the spherical polygon of the corners of each pixel (Girard), for some pixels.
    for y, x in ((0, 0), (20, 24), (39, 10), (5, 47)):
        corners_x = x + np.array([-0.5, 0.5, 0.5, -0.5])
        corners_y = y + np.array([-0.5, -0.5, 0.5, 0.5])
        lon, lat = np.radians(wcs.wcs_pix2world(corners_x, corners_y, 0))
        v = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
        angle = 0.0
        for k in range(4):
            a, b, c = v[k - 1], v[k], v[(k + 1) % 4]
            left, right = np.cross(b, a), np.cross(b, c)
            cosine = left @ right / np.linalg.norm(left) / np.linalg.norm(right)
            angle += np.arccos(np.clip(cosine, -1, 1))
        assert areas[y, x] == pytest.approx(angle - 2 * np.pi, rel=2e-4)


def test_sum_of_surface_brightness_is_the_flux(tmp_path, noise):
    path = write(tmp_path / "a.fits", noise, header(SHAPE, 12.0))
    image = read_image(path, "SPIRE_500")
    assert (image.data * pixel_areas(image.wcs, SHAPE)).sum() * 1e6 == pytest.approx(noise.sum())


# ---------------------------------------------------------------------------------------------
# Coordinates


def with_crota(wcs_header, angle):
    found = wcs_header.copy()
    for key in list(found):
        if key.startswith("PC"):
            del found[key]
    # With CDELT1 = -CDELT2, PC2_1 = -sin(CROTA2): Calabretta & Greisen (2002), Eq. 189.
    found["CROTA2"] = -angle
    return found


def with_cd(wcs, wcs_header):
    found = wcs_header.copy()
    for key in list(found):
        if key.startswith(("PC", "CDELT")):
            del found[key]
    matrix = wcs.pixel_scale_matrix
    for i in range(2):
        for j in range(2):
            found[f"CD{i + 1}_{j + 1}"] = matrix[i, j]
    return found


@pytest.mark.parametrize("angle", [0.0, 23.6, -130.0])
@pytest.mark.parametrize("notation", ["PC", "CROTA", "CD", "CD and CROTA"])
def test_rotated_frames_in_every_notation(tmp_path, noise, angle, notation):
    wcs = tangent(SHAPE, 3.0, angle=angle)
    cards = wcs.to_header()
    if "CROTA" in notation and "CD" not in notation:
        cards = with_crota(cards, angle)
    elif "CD" in notation:
        cards = with_cd(wcs, cards)
        if "CROTA" in notation:
            cards["CROTA2"] = angle
    cards["BUNIT"] = "Jy/pix"
    image = read_image(write(tmp_path / "a.fits", noise, cards), "PACS_100")
    x, y = np.array([0.0, 79.0, 12.5]), np.array([0.0, 59.0, 40.0])
    # 1e-9 degrees; the pixels are 8e-4.
    assert np.array(world(image.wcs, x, y)) == pytest.approx(
        np.array(wcs.wcs_pix2world(x, y, 0)), abs=1e-9
    )


@pytest.mark.parametrize("frame", ["galactic", "fk4", "fk5", "icrs"])
def test_frames(tmp_path, noise, frame):
    centre = SkyCoord(GALAXY.ra, GALAXY.dec, unit="deg")
    cards = header(SHAPE, 3.0)
    if frame == "galactic":
        cards["CTYPE1"], cards["CTYPE2"] = "GLON-TAN", "GLAT-TAN"
        cards["CRVAL1"], cards["CRVAL2"] = centre.galactic.l.deg, centre.galactic.b.deg
        del cards["RADESYS"], cards["LATPOLE"], cards["LONPOLE"]
    elif frame == "fk4":
        moved = centre.fk4
        cards["RADESYS"], cards["EQUINOX"] = "FK4", 1950.0
        cards["CRVAL1"], cards["CRVAL2"] = moved.ra.deg, moved.dec.deg
        del cards["LATPOLE"]
    else:
        cards["RADESYS"] = frame.upper()
    image = read_image(write(tmp_path / "a.fits", noise, cards), "PACS_100")
    found = world(image.wcs, 39.5, 29.5)
    # FK5 is taken for ICRS: 0.03 arcsec at most.
    separation = centre.separation(SkyCoord(*found, unit="deg")).arcsec
    assert separation < 0.05
    x, y = pixel(image.wcs, GALAXY.ra, GALAXY.dec)
    assert (x, y) == pytest.approx((39.5, 29.5), abs=0.02)


def test_elliptical_radius_against_offsets():
    wcs = tangent((101, 101), 3.0, angle=40.0)
    radius = elliptical_radius(wcs, (101, 101), GALAXY)
    centre = SkyCoord(GALAXY.ra, GALAXY.dec, unit="deg")
    for along, across in ((60, 0), (0, 30), (-45, 10), (100, -50)):
        angle = np.degrees(np.arctan2(across, along)) + GALAXY.pa
        place = centre.directional_offset_by(angle * u.deg, np.hypot(along, across) * u.arcsec)
        x, y = pixel(wcs, place.ra.deg, place.dec.deg)
        found = map_coordinates(radius, [[float(y)], [float(x)]], order=1)[0]
        assert found == pytest.approx(np.hypot(along / 60, across / 30), abs=0.01)


# ---------------------------------------------------------------------------------------------
# Files and edges


def test_compressed_and_integer_and_extensions(tmp_path, noise):
    cards = header(SHAPE, 3.0, "MJy/sr")
    counts = np.round(noise * 100).astype(np.int16)
    hdu = fits.PrimaryHDU(counts.astype(np.float32), cards)
    hdu.scale("int16", bzero=32768, bscale=0.01)
    hdu.header["BLANK"] = 7
    plain = tmp_path / "a.fits"
    hdu.writeto(plain)
    reference = fits.getdata(plain)
    assert read_image(plain, "PACS_100").data == pytest.approx(reference, nan_ok=True)
    packed = tmp_path / "b.fits"  # its name does not say that it is packed
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_image(packed, "PACS_100").data == pytest.approx(reference, nan_ok=True)

    error = fits.ImageHDU(noise * 0 + 1, cards, "ERROR")
    image = fits.ImageHDU(noise, cards, "image")
    fits.HDUList([fits.PrimaryHDU(), error, image]).writeto(tmp_path / "c.fits")
    assert read_image(tmp_path / "c.fits", "PACS_100").data == pytest.approx(noise)
    fits.HDUList([fits.PrimaryHDU(), error, error.copy()]).writeto(tmp_path / "d.fits")
    with pytest.raises(DataError, match="holds 2 images with EXTNAME error, error"):
        read_image(tmp_path / "d.fits", "PACS_100")


def test_degenerate_axes_are_dropped(tmp_path, noise):
    cards = header(SHAPE, 3.0, "MJy/sr")
    path = write(tmp_path / "a.fits", noise[None, None], cards)
    assert read_image(path, "PACS_100").data == pytest.approx(noise)
    with pytest.raises(DataError, match=r"image of 80 x 60 x 3 pixels \(NAXIS\)"):
        read_image(write(tmp_path / "b.fits", np.stack([noise] * 3), cards), "PACS_100")


def test_edges_are_no_data(tmp_path, noise):
    data = noise.copy()
    data[:, :2] = 0  # a narrow strip
    data[0] = np.nan
    data[-20:, -30:] = 0  # a corner
    data[30, 40] = 0  # a pixel without a photon
    data[25:35, 20:30] = 0  # a hole inside, which touches no edge
    data[10, 60] = np.inf
    image = read_image(write(tmp_path / "a.fits", data, header(SHAPE, 3.0, "MJy/sr")), "PACS_100")
    expected = np.zeros(SHAPE, dtype=bool)
    expected[:, :2] = expected[0] = expected[-20:, -30:] = expected[10, 60] = True
    assert np.array_equal(np.isnan(image.data), expected)


def test_few_photons_are_data(tmp_path):
    counts = np.random.default_rng(1).poisson(0.4, (200, 200)).astype(float)
    cards = header((200, 200), 3.2, "ct/s")
    image = read_image(write(tmp_path / "a.fits", counts, cards), "GALEX_FUV")
    assert np.isnan(image.data).mean() < 0.005


@pytest.mark.parametrize(
    ("band", "unit", "cards", "expected"),
    [
        # Electrons a count, and nanomaggies a count: so many electrons a nanomaggy of 3.631e-6 Jy.
        ("SDSS_r", "nmgy", {"GAIN": 4.7, "NMGY": 0.0051}, 4.7 / 0.0051 / 3.631e-6),
        # 1500 s at 20.08 mag (AB) for one count a second, in whatever unit the image is.
        ("GALEX_NUV", "ct/s", {"EXPTIME": 1500.0}, 1500 / (3631 * 10 ** (-0.4 * 20.08))),
        ("GALEX_NUV", "Jy/pix", {"EXPTIME": 1500.0}, 1500 / (3631 * 10 ** (-0.4 * 20.08))),
        ("WISE_3.4", "DN", {"GAIN": 3.2, "MAGZP": 20.5}, 3.2 / 1.9350e-6),
        # Not known, not of this unit, or not a number.
        ("SDSS_r", "nmgy", {"GAIN": 4.7}, np.nan),
        ("SDSS_r", "Jy/pix", {"GAIN": 4.7, "NMGY": 0.0051, "EXPTIME": 54.0}, np.nan),
        ("GALEX_NUV", "ct/s", {"EXPTIME": "long"}, np.nan),
        ("GALEX_NUV", "ct/s", {"EXPTIME": 0.0}, np.nan),
        ("PACS_100", "Jy/pix", {}, np.nan),
    ],
)
def test_photons_that_a_header_tells(tmp_path, band, unit, cards, expected):
    scale = band_table()[band].pixel_arcsec
    data = np.random.default_rng(2).normal(5, 1, SHAPE)
    path = write(tmp_path / "a.fits", data, header(SHAPE, scale, unit, **cards))
    found = read_image(path, band).photons_per_jy
    assert found == pytest.approx(expected, rel=1e-4, nan_ok=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"CTYPE1": None, "CTYPE2": None}, r"no celestial coordinates \(CTYPE1, CTYPE2: missing"),
        ({"CRVAL2": None}, "lacks the keyword CRVAL2"),
        ({"CDELT1": None, "CDELT2": None}, r"no pixel scale \(CDELT1 or CD1_1\)"),
        (
            {"CDELT1": -3.0, "CDELT2": 3.0},
            r'pixels of 1\.08e\+04" \(CDELT1\), where PACS_100 has 3"',
        ),
        ({"PIXSCALE": 4.0}, 'pixels of 3" by CDELT1 and of 4" by PIXSCALE'),
        ({"BUNIT": "K"}, r"the unit 'K' \(BUNIT\)"),
        ({"BUNIT": "furlong"}, r"the unit 'furlong' \(BUNIT\)"),
        ({"BUNIT": "DN", "MAGZP": 20.0}, "no zero point for PACS_100"),
        ({"BUNIT": "Jy/beam"}, "PACS_100 has no beam: write BMAJ and BMIN"),
        ({"CTYPE1": "RA---XXX"}, "coordinates"),
    ],
)
def test_bad_headers(tmp_path, noise, change, message):
    cards = header(SHAPE, 3.0)
    for key, value in change.items():
        if value is None:
            del cards[key]
        else:
            cards[key] = value
    path = write(tmp_path / "a.fits", noise, cards)
    with pytest.raises(DataError, match=message) as fault:
        read_image(path, "PACS_100")
    assert str(fault.value).startswith(str(path))
    assert "\n" not in str(fault.value)


def test_magnitude_that_is_no_number(tmp_path, noise):
    path = write(tmp_path / "a.fits", noise, header(SHAPE, 1.375, "DN"))
    with pytest.raises(DataError, match="MAGZP None: the magnitude of one DN is needed"):
        read_image(path, "WISE_12")


@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.9])
@pytest.mark.parametrize("packed", [False, True])
def test_truncated_files(tmp_path, noise, part, packed):
    path = write(tmp_path / "a.fits", noise, header(SHAPE, 3.0))
    content = gzip.compress(path.read_bytes()) if packed else path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(DataError, match="cut short or damaged") as fault:
        read_image(path, "PACS_100")
    assert "\n" not in str(fault.value)


def test_files_that_are_no_images(tmp_path, noise):
    path = tmp_path / "a.fits"
    with pytest.raises(DataError, match="does not exist"):
        read_image(path, "PACS_100")
    path.write_text("<html>")
    with pytest.raises(DataError, match="cannot be read as FITS"):
        read_image(path, "PACS_100")
    fits.PrimaryHDU().writeto(path, overwrite=True)
    with pytest.raises(DataError, match="holds no image"):
        read_image(path, "PACS_100")
    for empty in (noise * np.nan, noise * 0):
        with pytest.raises(DataError, match="has no data: every pixel is NaN or an edge"):
            read_image(write(path, empty, header(SHAPE, 3.0)), "PACS_100")


# ---------------------------------------------------------------------------------------------
# Clean images


def test_clean_image_is_written_and_read(tmp_path, noise):
    wcs = tangent(SHAPE, 3.0, angle=23.6)
    stars = noise > 7
    data = np.where(stars, np.nan, noise)
    cards = {"DC_BAND": ("PACS_100", "band"), "DC_SKFLT": (np.nan, ""), "DC_SKY": ("level", "")}
    path = tmp_path / "clean" / "PACS_100.fits"
    write_clean(path, CleanImage(data, wcs, stars, cards), {"provenance": {"rule": "x"}})
    found = read_clean(path)
    assert found.data == pytest.approx(data.astype(np.float32).astype(float), nan_ok=True)
    assert np.array_equal(found.stars, stars)
    assert found.cards["DC_BAND"] == "PACS_100"
    x, y = np.array([3.0, 70.0]), np.array([50.0, 1.0])
    assert np.array(world(found.wcs, x, y)) == pytest.approx(np.array(world(wcs, x, y)), abs=1e-9)
    with fits.open(path) as hdus:
        hdus.verify("exception")
        assert hdus[0].header["DC_OK"] is True
        assert hdus[0].header["BUNIT"] == "MJy/sr"
        assert hdus[0].data.dtype == np.dtype(">f4")
        assert hdus["STARS"].data.dtype == np.uint8
        assert WCS(hdus["STARS"].header).has_celestial


def test_empty_product(tmp_path):
    reason = "the reason, a long one: " + "x" * 200 + " µ"
    path = tmp_path / "a.fits"
    write_clean(path, CleanImage(cards={"DC_WHY": (reason, "why")}))
    found = read_clean(path)
    assert not found.ok
    assert found.cards["DC_OK"] is False
    assert found.cards["DC_WHY"] == reason.replace("µ", "?")
    # It stays one if it is read as an archive's image.
    with pytest.raises(DataError, match="the reason"):
        read_image(path, "PACS_100")


def test_what_is_no_clean_image(tmp_path, noise):
    path = write(tmp_path / "a.fits", noise, header(SHAPE, 3.0))
    with pytest.raises(DataError, match="is not a clean image"):
        read_clean(path)


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [("BUNIT", "Jy/pix", "BUNIT must be MJy/sr"), ("CTYPE1", "X", "CTYPE1, CTYPE2")],
)
def test_clean_images_with_faulty_headers(tmp_path, noise, keyword, value, message):
    path = tmp_path / "a.fits"
    cards = {"DC_BAND": ("PACS_100", "band")}
    write_clean(path, CleanImage(noise, tangent(SHAPE, 3.0), noise > 7, cards))
    with fits.open(path, mode="update") as hdus:
        hdus[0].header[keyword] = value
        if keyword == "CTYPE1":
            hdus[0].header["CTYPE2"] = "Y"
    with pytest.raises(DataError, match=message):
        read_clean(path)
