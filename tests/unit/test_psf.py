"""Point spread functions: their integrals, their widths, the table, the beams they stand for."""

import itertools

import numpy as np
import pytest
from beams import beam, radial_mean
from scipy import integrate

from dustcast.bands import band_table
from dustcast.imaging.matching import compare
from dustcast.imaging.psf import Part, find_psf, psf_table
from dustcast.tables import DataError

PARTS = [
    Part("gaussian", 6.0),
    Part("moffat", 5.0, beta=2.5),
    Part("airy", 18.0, obscuration=0.0, bandwidth=0.0),
    Part("airy", 6.4, obscuration=0.33, bandwidth=0.3),
]


def energy(profile, radius):
    """Return the energy inside a radius by quadrature."""
    edges = np.arange(0, radius + 0.1, 0.5)
    return sum(
        integrate.quad(lambda r: 2 * np.pi * r * float(profile(r)), low, high)[0]
        for low, high in itertools.pairwise(edges)
    )


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.kind}{part.obscuration}")
def test_parts_have_unit_integral_and_their_width(part):
    # Beyond 60 widths lies less than 0.7% of an Airy pattern.
    assert energy(part.profile, 60 * part.fwhm) == pytest.approx(1, abs=8e-3)
    half = part.profile(np.array(part.fwhm / 2)) / part.profile(np.array(0.0))
    assert half == pytest.approx(0.5, rel=1e-6)


def test_airy_pattern_is_the_textbooks():
    # First dark ring of a full mirror at 1.220 lambda / D, width 1.029 lambda / D, and 83.8% of the
    # energy within that ring (Born & Wolf).
    part = Part("airy", 1.0289935)
    assert float(part.profile(np.array(1.2196699))) < 1e-9
    assert energy(part.profile, 1.2196699) == pytest.approx(0.838, abs=0.12)
    radii = np.linspace(0, 1.2196699, 20001)
    inside = np.trapezoid(2 * np.pi * radii * part.profile(radii), radii)
    assert inside == pytest.approx(0.8378, abs=1e-3)


def test_every_band_with_images_has_a_psf():
    wanted = {name for name, band in band_table().items() if np.isfinite(band.fwhm_arcsec)}
    assert wanted == set(psf_table())


def test_gaussians_by_name():
    psf = find_psf("Gauss_18.4")
    assert psf.fwhm == pytest.approx(18.4, rel=1e-9)
    with pytest.raises(DataError, match="no PSF Gauss_: name a band"):
        find_psf("Gauss_")


@pytest.mark.parametrize("step", [0.5, 3.0, 12.0])
def test_images_are_means_over_pixels(step):
    psf = find_psf("Gauss_6")
    image = psf.image(step, 2 * int(30 / step) + 1)
    sigma = 6 / 2.3548200450309493
    from scipy.special import erf

    edges = (np.arange(len(image) + 1) - len(image) / 2) * step
    line = np.diff(0.5 * erf(edges / sigma / np.sqrt(2)))
    expected = np.outer(line, line)
    assert image.sum() == pytest.approx(1)
    assert np.abs(image - expected).max() < 0.01 * expected.max()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("A,square,1,1,,,,x", "kind 'square'"),
        ("A,gaussian,wide,1,,,,x", "a number is needed"),
        ("A,gaussian,0,1,,,,x", "fwhm_arcsec must be above 0"),
        ("A,moffat,2,1,,,1,x", "beta of a moffat above 1"),
        ("A,gaussian,2,0.9,,,,x", "the fractions of A sum to 0.9"),
    ],
)
def test_faulty_tables_are_refused(tmp_path, rows, message):
    path = tmp_path / "psfs.csv"
    path.write_text(f"psf,kind,fwhm_arcsec,fraction,obscuration,bandwidth,beta,source\n{rows}\n")
    with pytest.raises(DataError, match=message):
        psf_table(path)


# What is shipped against the beams: the profile around the centre over its peak, and the energy.
@pytest.mark.parametrize(
    ("band", "reach", "profile", "energy_error"),
    [
        ("SPIRE_250", 280, 0.01, 0.012),
        ("PACS_100", 90, 0.03, 0.01),
        ("Spitzer_24", 150, 0.01, 0.01),
        ("GALEX_FUV", 34, 0.01, 0.01),
        ("GALEX_NUV", 34, 0.01, 0.01),
    ],
)
def test_psfs_are_those_of_the_beams(data, band, reach, profile, energy_error):
    image, step = beam(data, band, reach)
    own = find_psf(band).image(step, len(image))
    found, expected = radial_mean(own / own.sum()), radial_mean(image / image.sum())
    assert np.abs(found - expected).max() < profile * expected.max()
    assert compare(own, image)[1] < energy_error
