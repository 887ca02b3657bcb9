"""Star apertures: masks, fits on synthetic images with known stars, edits by hand."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from sky_images import GALAXY, header, tangent, write

from dustcast.bands import band_table
from dustcast.imaging.geometry import elliptical_radius, world
from dustcast.imaging.stars import (
    Aperture,
    _Profile,
    edit_apertures,
    expected_flux,
    find_stars,
    read_apertures,
    read_edits,
    read_gaia,
    star_mask,
    write_apertures,
)
from dustcast.tables import DataError

ARCSEC2_SR = (np.pi / 648000) ** 2
FIELD_ARCSEC = 420.0
PIXELS = {"SDSS_r": 0.9, "SDSS_i": 0.9, "WISE_3.4": 1.375, "WISE_12": 1.375, "GALEX_NUV": 3.2}
# Noise in MJy/sr.
NOISE = {"SDSS_r": 0.02, "SDSS_i": 0.02, "WISE_3.4": 0.02, "WISE_12": 0.05, "GALEX_NUV": 2e-3}
GAIA_HEADER = (
    "source_id,ra,dec,parallax,parallax_error,pmra,pmra_error,pmdec,pmdec_error,phot_g_mean_mag\n"
)


def offset(east, north):
    """Return the position at an offset in arcsec from the galaxy."""
    centre = SkyCoord(GALAXY.ra, GALAXY.dec, unit="deg")
    place = centre.spherical_offsets_by(east * u.arcsec, north * u.arcsec)
    return float(place.ra.deg), float(place.dec.deg)


# Offset east and north (arcsec) and magnitude in G of stars, some inside D25.
STARS = {
    "bright": (80.0, 60.0, 11.0),
    "disc": (20.0, 30.0, 13.0),
    "faint": (-25.0, -30.0, 16.0),
    "near the nucleus": (5.0, -9.0, 12.0),
    "far": (-120.0, 100.0, 14.0),
}
# An HII region, as a source without parallax: G = 14 and as wide as the beam.
KNOT = (-20.0, 12.0, 14.0)


def image(folder, band, rng, *, stars=STARS, knot=KNOT, shift=(0.0, 0.0)):
    """Write an image of the galaxy, its stars and a knot; return path, what is true, and WCS."""
    scale = PIXELS[band]
    n = int(FIELD_ARCSEC / scale)
    wcs = tangent((n, n), scale, angle=15.0)
    fwhm = band_table()[band].fwhm_arcsec
    sigma = max(fwhm, 2 * scale) / 2.3548 / scale
    y, x = np.mgrid[:n, :n]
    true = {}
    disc = 60 * NOISE[band] * np.exp(-3 * elliptical_radius(wcs, (n, n), GALAXY))
    data = 100 * NOISE[band] + disc + rng.normal(0, NOISE[band], (n, n))
    for name, (east, north, magnitude) in {**stars, "knot": knot}.items():
        ra, dec = offset(east + shift[0], north + shift[1])
        column, row = wcs.wcs_world2pix([[ra, dec]], 0)[0]
        peak = expected_flux(magnitude, band) / 1e6 / (
            2 * np.pi * (sigma * scale) ** 2 * ARCSEC2_SR
        )  # fmt: skip
        true[name] = peak * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * sigma**2))
        data = data + true[name]
    cards = header((n, n), scale, "MJy/sr")
    cards.update(wcs.to_header())
    return write(folder / f"{band}.fits", data, cards), true, wcs


def gaia_table(path, stars=STARS, knot=KNOT):
    lines = [GAIA_HEADER]
    for number, (east, north, magnitude) in enumerate([*stars.values(), knot]):
        ra, dec = offset(east, north)
        parallax = 0.05 if number == len(stars) else 2.0
        lines.append(f"{number},{ra!r},{dec!r},{parallax},0.1,0.1,0.1,-0.1,0.1,{magnitude}\n")
    path.write_text("".join(lines))
    return path


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Apertures of the synthetic galaxy by band, what is true in it, and coordinates."""
    folder = tmp_path_factory.mktemp("stars")
    rng = np.random.default_rng(1)
    made = {band: image(folder, band, rng) for band in PIXELS}
    sources = read_gaia(gaia_table(folder / "gaia.csv"))
    paths = {band: path for band, (path, _, _) in made.items()}
    apertures = find_stars(paths, GALAXY, sources)
    return {
        band: ([star for star in apertures if star.band == band], true, wcs)
        for band, (_, true, wcs) in made.items()
    }


def nearest(apertures, name):
    """Return the aperture at a star, None if there is none within 3 arcsec."""
    place = SkyCoord(*offset(*STARS[name][:2]), unit="deg")
    for star in apertures:
        if place.separation(SkyCoord(star.ra, star.dec, unit="deg")).arcsec < 3:
            return star
    return None


@pytest.mark.parametrize("band", ["SDSS_i", "SDSS_r", "WISE_3.4"])
@pytest.mark.parametrize("name", ["bright", "disc", "far"])
def test_stars_are_covered(found, band, name):
    apertures, true, wcs = found[band]
    star = nearest(apertures, name)
    assert star.origin == "fit"
    left, right = SkyCoord(*offset(*STARS[name][:2]), unit="deg"), (star.ra, star.dec)
    assert left.separation(SkyCoord(*right, unit="deg")).arcsec < 0.1
    light = true[name]
    mask = star_mask([star], wcs, light.shape)
    # What is left outside is below the noise of a pixel everywhere.
    assert light[~mask].max() < NOISE[band]
    # Nor is the aperture much larger than where the star sinks into the noise.
    assert mask.sum() < 3 * (light > NOISE[band]).sum()


@pytest.mark.parametrize("band", list(PIXELS))
def test_nucleus_and_knots_stay(found, band):
    apertures, true, wcs = found[band]
    mask = star_mask(apertures, wcs, true["knot"].shape)
    row, column = np.unravel_index(true["knot"].argmax(), mask.shape)
    assert not mask[row, column]
    radius = elliptical_radius(wcs, mask.shape, GALAXY)
    row, column = np.unravel_index(radius.argmin(), mask.shape)
    beam = max(band_table()[band].fwhm_arcsec, 3.0)
    size = int(beam / PIXELS[band] / 2)
    assert not mask[row - size : row + size + 1, column - size : column + size + 1].any()


def test_star_beside_the_nucleus_is_masked_where_it_may(found):
    # It ends a beam short of the nucleus; alone it would be 14 arcsec wide.
    star = nearest(found["WISE_3.4"][0], "near the nucleus")
    assert star.radius == pytest.approx(np.hypot(5, 9) - 6.1, abs=0.3)


def test_beyond_ten_micron_only_what_is_seen(found):
    apertures, true, _ = found["WISE_12"]
    assert nearest(apertures, "bright") is not None
    assert true["faint"].max() < NOISE["WISE_12"]
    assert nearest(apertures, "faint") is None
    assert all(star.origin == "fit" for star in apertures)


def test_no_star_means_no_aperture(tmp_path):
    # Gaia lists a star of G = 18 where nothing is seen at 12 micron and in NUV, but a knot is near.
    rng = np.random.default_rng(2)
    knot = (6.0, 40.0, 11.0)
    paths = {
        band: image(tmp_path, band, rng, stars={}, knot=knot)[0]
        for band in ("WISE_12", "GALEX_NUV")
    }
    sources = read_gaia(gaia_table(tmp_path / "g.csv", {"ghost": (0.0, 60.0, 18.0)}, knot))
    assert find_stars(paths, GALAXY, sources) == []


def disc_image(folder, rng, brightness, magnitude):
    """Write an SDSS r image of a bright disc with one star; return path, star's light and WCS."""
    star = {"one": (20.0, 0.0, magnitude)}
    path, true, wcs = image(folder, "SDSS_r", rng, stars=star)
    from astropy.io import fits

    with fits.open(path, mode="update") as hdus:
        radius = elliptical_radius(wcs, hdus[0].data.shape, GALAXY)
        hdus[0].data += brightness * NOISE["SDSS_r"] * np.exp(-radius)
    return path, true["one"], wcs


def test_aperture_on_a_bright_disc_is_no_larger_than_needed(tmp_path):
    sources = read_gaia(gaia_table(tmp_path / "g.csv", {"one": (20.0, 0.0, 15.0)}))
    found = {}
    for brightness in (0.0, 400.0):
        path, true, wcs = disc_image(tmp_path, np.random.default_rng(6), brightness, 15.0)
        (found[brightness],) = find_stars({"SDSS_r": path}, GALAXY, sources)
        mask = star_mask([found[brightness]], wcs, true.shape)
        level = 0.0
        if brightness:
            around = elliptical_radius(wcs, true.shape, GALAXY).flat[true.argmax()]
            level = brightness * NOISE["SDSS_r"] * np.exp(-around)
        # Outside there is less than noise, or a tenth of the disc.
        assert true[~mask].max() < max(NOISE["SDSS_r"], 0.1 * level)
        assert true[~mask].sum() < 0.01 * true.sum()
    assert found[400.0].origin == "fit"
    assert found[400.0].radius < 0.85 * found[0.0].radius


def test_knot_behind_a_faint_star_stays(tmp_path):
    # Gaia has a star of G = 18 half a beam from an HII region 5 times as bright, which it lacks.
    rng = np.random.default_rng(7)
    knot = (20.0, 0.0, 16.0)
    path, *_ = image(tmp_path, "SDSS_r", rng, stars={}, knot=knot)
    star = {"one": (20.5, 0.0, 18.0)}
    sources = read_gaia(gaia_table(tmp_path / "g.csv", star, (-90.0, 90.0, 19.0)))
    (aperture,) = find_stars({"SDSS_r": path}, GALAXY, sources)
    # That of its magnitude, not of the knot's.
    assert aperture.origin == "magnitude"
    (alone,) = find_stars(
        {"SDSS_r": path},
        GALAXY,
        read_gaia(gaia_table(tmp_path / "g.csv", {"one": (20.0, 0.0, 16.0)}, (-90.0, 90.0, 19.0))),
    )
    assert alone.origin == "fit"
    assert aperture.radius < 0.9 * alone.radius


def test_blended_star_falls_back_on_its_magnitude(tmp_path):
    # The star is there by its magnitude, but the image has no data around its centre.
    rng = np.random.default_rng(3)
    path, true, wcs = image(tmp_path, "SDSS_i", rng, stars={"one": (60.0, 60.0, 12.0)})
    from astropy.io import fits

    with fits.open(path, mode="update") as hdus:
        hdus[0].data[true["one"] > 30 * NOISE["SDSS_i"]] = np.nan
    sources = read_gaia(gaia_table(tmp_path / "g.csv", {"one": (60.0, 60.0, 12.0)}))
    apertures = find_stars({"SDSS_i": path}, GALAXY, sources)
    assert [star.band for star in apertures] == ["SDSS_i"]
    mask = star_mask(apertures, wcs, true["one"].shape)
    assert true["one"][~mask].max() < 2 * NOISE["SDSS_i"]


def test_star_that_has_moved_is_followed(tmp_path):
    # 300 mas/yr over 10 years.
    rng = np.random.default_rng(4)
    star = {"one": (60.0, 60.0, 13.0)}
    path, true, wcs = image(tmp_path, "SDSS_i", rng, stars=star, shift=(3.0, 0.0))
    table = gaia_table(tmp_path / "g.csv", star)
    table.write_text(table.read_text().replace("0.1,0.1,-0.1,0.1,13", "300,0.1,-0.1,0.1,13"))
    (aperture,) = find_stars({"SDSS_i": path}, GALAXY, read_gaia(table))
    assert true["one"][~star_mask([aperture], wcs, true["one"].shape)].max() < NOISE["SDSS_i"]


def test_faulty_image_is_passed_over(tmp_path, found, capsys):
    path, _, _ = image(tmp_path, "SDSS_i", np.random.default_rng(5))
    broken = tmp_path / "SDSS_r.fits"
    broken.write_bytes(path.read_bytes()[:4000])
    sources = read_gaia(gaia_table(tmp_path / "g.csv"))
    apertures = find_stars({"SDSS_i": path, "SDSS_r": broken}, GALAXY, sources)
    assert {star.band for star in apertures} == {"SDSS_i"}
    assert "SDSS_r: left out:" in capsys.readouterr().out


def test_expected_flux_against_z0mgs():
    # Leroy et al. (2019): peak in MJy/sr of a star of G = 0 at a beam of 7.5 arcsec, by band.
    for band, peak in {"WISE_3.4": 829914, "WISE_4.6": 450745, "WISE_12": 77349.7}.items():
        flux = peak * 1e6 * 2 * np.pi * (7.5 / 2.3548) ** 2 * ARCSEC2_SR
        assert expected_flux(0.0, band) == pytest.approx(flux, rel=0.2)
    nuv = 13060e6 * 2 * np.pi * (7.5 / 2.3548) ** 2 * ARCSEC2_SR
    assert 1 / 2 < expected_flux(0.0, "GALEX_NUV") / nuv < 2


# ---------------------------------------------------------------------------------------------
# Masks


def test_mask_against_distances_on_the_sky():
    wcs = tangent((80, 90), 2.0, angle=33.0)
    stars = [
        Aperture(*offset(10.0, -20.0), 13.0, "x", "added"),
        Aperture(*offset(88.0, 0.0), 30.0, "x", "added"),  # over the edge
        Aperture(*offset(-5.0, 40.0), 0.3, "x", "added"),  # smaller than a pixel
        Aperture(*offset(4000.0, 0.0), 20.0, "x", "added"),
    ]
    mask = star_mask(stars, wcs, (80, 90))
    y, x = np.mgrid[:80, :90]
    places = SkyCoord(*world(wcs, x, y), unit="deg")
    expected = np.zeros((80, 90), dtype=bool)
    for star in stars:
        distance = places.separation(SkyCoord(star.ra, star.dec, unit="deg")).arcsec
        expected |= distance <= max(star.radius, distance.min() if star.radius < 1 else 0)
    different = mask != expected
    # Centres on the very edge of a circle may go either way.
    assert different.sum() <= 2
    assert star_mask([], wcs, (80, 90)).sum() == 0


# ---------------------------------------------------------------------------------------------
# Lists


def test_lists_without_parallaxes(tmp_path):
    path = tmp_path / "g.csv"
    path.write_text("ra,dec,phot_g_mean_mag\n1,2,3\n")
    with pytest.raises(DataError, match=r"g\.csv lacks the column parallax, parallax_error"):
        read_gaia(path)
    path.write_text("ra,dec,parallax,parallax_error,phot_g_mean_mag\n1,2,,,3\n4,5,,,6\n")
    with pytest.raises(DataError, match=r"g\.csv has no parallaxes \(column parallax\)"):
        read_gaia(path)
    path.write_text("ra,dec,parallax,parallax_error,phot_g_mean_mag\n1,2,x,1,3\n")
    with pytest.raises(DataError, match="the column parallax holds no number"):
        read_gaia(path)
    # A field without any source is no fault.
    path.write_text("ra,dec,parallax,parallax_error,phot_g_mean_mag\n")
    assert find_stars({}, GALAXY, read_gaia(path)) == []


EDITS = "galaxy,band,action,ra,dec,radius_arcsec,to_ra,to_dec,reason\n"


def edits(tmp_path, *lines):
    path = tmp_path / "stars.csv"
    path.write_text(EDITS + "".join(f"{line}\n" for line in lines))
    return read_edits(path, "NGC1")


def test_edits(tmp_path):
    bands = ["SDSS_i", "WISE_3.4"]
    made = [Aperture(10.0, 20.0, 5.0, band, "fit") for band in bands]
    made.append(Aperture(11.0, 20.0, 6.0, "SDSS_i", "fit"))
    changes = edits(
        tmp_path,
        "NGC1,,add,12,21,7,,,bright",
        "NGC2,,remove,10,20,,,,another galaxy",
        "NGC1,WISE_3.4,move,10.0002,20,9,10.001,20.001,halo",
        "NGC1,,remove,11,20.0003,,,,an HII region",
    )
    assert edit_apertures(made, changes, bands) == [
        Aperture(10.0, 20.0, 5.0, "SDSS_i", "fit"),
        Aperture(10.001, 20.001, 9.0, "WISE_3.4", "moved"),
        Aperture(12.0, 21.0, 7.0, "SDSS_i", "added"),
        Aperture(12.0, 21.0, 7.0, "WISE_3.4", "added"),
    ]
    resized = edit_apertures(made, edits(tmp_path, "NGC1,SDSS_i,move,10,20,2,,,"), bands)
    assert resized[0] == Aperture(10.0, 20.0, 2.0, "SDSS_i", "moved")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("NGC1,,mask,1,2,3,,,", "the action 'mask' is not one of add, move, remove"),
        ("NGC1,XX,add,1,2,3,,,", "the band XX is not known"),
        ("NGC1,,add,1,2,,,,", "add needs radius_arcsec"),
        ("NGC1,,add,1,,3,,,", "add needs dec"),
        ("NGC1,,add,1,2,big,,,", "radius_arcsec is 'big': a number is needed"),
        ("NGC1,,remove,1,2,,,,", "nothing to remove within 3 arcsec of 1.0, 2.0"),
    ],
)
def test_faulty_edits(tmp_path, line, message):
    with pytest.raises(DataError, match=message) as fault:
        edit_apertures([], edits(tmp_path, line), ["SDSS_i"])
    assert "NGC1" in str(fault.value)


@pytest.mark.parametrize("n_stars", [0, 2])
def test_apertures_are_written_and_read(tmp_path, n_stars):
    stars = [Aperture(1 / 3, -2 / 3, 4.0 + k, "WISE_3.4", "fit") for k in range(n_stars)]
    path = tmp_path / "stars.ecsv"
    write_apertures(path, stars, {"provenance": {"rule": "find_stars"}})
    assert read_apertures(path) == stars
    path.write_text("nonsense")
    with pytest.raises(DataError, match=r"stars\.ecsv is not a table of apertures"):
        read_apertures(path)


def test_derivatives_of_the_profile_are_those_of_differences():
    rng = np.random.default_rng(3)
    y, x = (axis.ravel() - 7.0 for axis in np.indices((15, 15)))
    values = 5 * np.exp(-((x - 0.4) ** 2 + (y + 0.3) ** 2) / 6) + 0.1 * x + rng.normal(0, 0.3, 225)
    profile = _Profile(x, y, values, 0.3, 1.6, 0.7, 0.1, 0.5)
    place = np.array([0.2, -0.1, 0.15])
    step = 1e-5
    expected = [
        (profile.residuals(place + change) - profile.residuals(place - change)) / (2 * step)
        for change in step * np.eye(3)
    ]
    np.testing.assert_allclose(profile.jacobian(place), np.transpose(expected), atol=1e-6)
