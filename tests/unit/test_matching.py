"""Kernels: made, read, checked, sampled; beams and a published kernel are the judges."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from beams import beam
from scipy.signal import fftconvolve

from dustcast.imaging import matching
from dustcast.imaging.matching import (
    compare,
    find_kernel,
    make_kernel,
    read_kernel,
    write_kernels,
)
from dustcast.imaging.psf import find_psf, psf_table
from dustcast.tables import DataError

PUBLISHED = "Kernel_LoRes_WISE_4.6_to_SPIRE_350.fits.gz"


def encircled(values, step, radii):
    """Return the energy of a centred kernel within radii in arcsec, over that in the last."""
    half = len(values) // 2
    axis = np.arange(-half, half + 1) * step
    radius = np.hypot(axis[:, None], axis)
    energy = np.array([values[radius <= r].sum() for r in radii])
    return energy / energy[-1]


def gaussian_kernel(path, fwhm=17.0, n=801, step=0.5, shift=0, **cards):
    axis = (np.arange(n) - n // 2) * step
    line = np.exp(-4 * np.log(2) * (axis / fwhm) ** 2)
    header = fits.Header({"CD1_1": -step / 3600, "CD2_2": step / 3600} | cards)
    fits.writeto(path, np.roll(np.outer(line, line), shift, axis=1), header, overwrite=True)
    return path


def test_gaussians_match_by_the_gaussian_between_them():
    kernel = make_kernel("Gauss_6", "Gauss_18.4")
    expected = find_psf(f"Gauss_{np.sqrt(18.4**2 - 6**2):.4f}")
    residual, energy_error = compare(kernel.values, expected.image(kernel.step, len(kernel.values)))
    # A mean over the kernel's pixel, which the source and the target share, is not in it.
    assert residual < 0.02
    assert energy_error < 0.01
    assert kernel.values.sum() == pytest.approx(1)
    assert kernel.residual < 0.01


TARGETS = {"SPIRE_250": 18.0, "SPIRE_350": 24.1, "SPIRE_500": 36.0, "Gauss_18.4": 18.0}


@pytest.mark.parametrize("target", TARGETS)
def test_all_narrower_bands_reach_the_targets(target):
    bands = [band for band, psf in psf_table().items() if psf.fwhm < TARGETS[target]]
    assert len(bands) >= 22
    for band in bands:
        kernel = find_kernel(band, target, pixel=1.0)
        assert kernel.residual < 0.01, band
        assert kernel.energy_error < 0.02, band
        assert kernel.negative < 1, band


def test_kernels_of_a_run_are_made_once(tmp_path, monkeypatch):
    path = tmp_path / "kernels.fits"
    pairs = [
        ("WISE_12", "SPIRE_250"),
        ("SPIRE_250", "SPIRE_250"),
        ("SPIRE_500", "SPIRE_250"),
        ("WISE_22", "Gauss_12.5"),
        ("nothing", "SPIRE_250"),
    ]
    done = []
    write_kernels(path, pairs, progress=lambda: done.append(1))
    assert len(done) == len(pairs)
    with fits.open(path) as hdus:
        assert {hdu.name for hdu in hdus[1:]} == {"WISE_12_TO_SPIRE_250", "WISE_22_TO_GAUSS_12.5"}
        assert hdus["WISE_12_to_SPIRE_250"].header["CDELT2"] * 3600 == pytest.approx(
            make_kernel("WISE_12", "SPIRE_250").step
        )
    fresh = find_kernel("WISE_12", "SPIRE_250", pixel=1.375)
    with pytest.raises(DataError) as refused:
        find_kernel("WISE_22", "Gauss_12.5", pixel=1.375)
    other = find_kernel("WISE_3.4", "SPIRE_250", pixel=1.375)

    def nothing_is_made(*pair):
        assert pair == ("WISE_3.4", "SPIRE_250")
        return other

    monkeypatch.setattr(matching, "make_kernel", nothing_is_made)
    kept = find_kernel("WISE_12", "SPIRE_250", pixel=1.375, made=path)
    assert np.array_equal(kept.values, fresh.values)
    # A header holds sixteen digits.
    told = [(k.step, k.residual, k.energy_error) for k in (kept, fresh)]
    assert told[0] == pytest.approx(told[1], rel=1e-14)
    assert kept.origin == fresh.origin
    with pytest.raises(DataError) as again:
        find_kernel("WISE_22", "Gauss_12.5", pixel=1.375, made=path)
    assert str(again.value) == str(refused.value)
    # What the file lacks is made; what needs no kernel is not looked for.
    assert find_kernel("WISE_3.4", "SPIRE_250", pixel=1.375, made=path) is other
    assert find_kernel("SPIRE_250", "SPIRE_250", pixel=6.0, made=path).is_identity
    path.write_bytes(b"no kernels")
    with pytest.raises(DataError, match=r"kernels\.fits cannot be read .*delete it and run again"):
        find_kernel("WISE_12", "SPIRE_250", pixel=1.375, made=path)


def test_what_cannot_be_matched_is_refused():
    with pytest.raises(
        DataError, match=r"PSF of SPIRE_500 .* is wider than the target SPIRE_250.*target_psf"
    ):
        find_kernel("SPIRE_500", "SPIRE_250", pixel=6.0)
    # Narrower than the target, but with wings that the target lacks.
    with pytest.raises(DataError, match=r"leaves a residual of .*negative part of"):
        find_kernel("SPIRE_250", "Gauss_19.5", pixel=1.0)


def test_identity():
    assert find_kernel("SPIRE_250", "SPIRE_250", pixel=6.0).is_identity
    # MIPS 70 is 3% wider than SPIRE 250.
    assert find_psf("Spitzer_70").fwhm > find_psf("SPIRE_250").fwhm
    assert find_kernel("Spitzer_70", "SPIRE_250", pixel=4.0).is_identity
    # The kernel between 6.57" and 6.7" is narrower than a pixel.
    assert find_kernel("WISE_12", "Gauss_6.7", pixel=1.375).is_identity


@pytest.mark.parametrize("step", [(0.45, 0.45), (1.375, 1.375), (3.2, 3.0)])
def test_sampling_keeps_sum_width_and_centre(step):
    kernel = make_kernel("Gauss_6", "Gauss_18.4")
    weights = kernel.sampled(*step)
    assert weights.shape[0] % 2 == weights.shape[1] % 2 == 1
    assert weights.sum() == pytest.approx(1)
    y, x = (((np.arange(n) - n // 2) * s) for n, s in zip(weights.shape, step))
    for axis, line in ((y, weights.sum(axis=1)), (x, weights.sum(axis=0))):
        assert line @ axis == pytest.approx(0, abs=1e-6)
        fwhm = 2.3548 * np.sqrt(line @ axis**2)
        assert fwhm == pytest.approx(np.sqrt(18.4**2 - 6**2), rel=0.005)


def test_pixels_too_coarse_to_follow_the_kernel_take_means():
    kernel = make_kernel("Gauss_5", "Gauss_6.7")
    weights = kernel.sampled(8.0, 8.0)
    half = weights.shape[0] // 2
    # Almost all of a kernel of 4.5" lies within one pixel of 8".
    assert weights[half, half] > 0.9


def test_published_kernel(data):
    path = data / "psf" / PUBLISHED
    kernel = read_kernel(path, "WISE_4.6", "SPIRE_350")
    assert kernel.residual < 0.01
    assert kernel.energy_error < 0.02
    # Its reference pixel is off by one: the peak must be in the centre.
    half = len(kernel.values) // 2
    assert np.unravel_index(np.argmax(kernel.values), kernel.values.shape) == (half, half)
    own = make_kernel("WISE_4.6", "SPIRE_350", reach=390)
    radii = np.linspace(6, 350, 173)
    published = fits.getdata(path).astype(float)[:571, :571]
    found = encircled(own.sampled(1.375, 1.375), 1.375, radii)
    expected = encircled(published, 1.375, radii)
    assert np.abs(found - expected).max() < 0.03


def test_published_kernels_are_taken_first(data, tmp_path):
    (tmp_path / "Kernel_LoRes_WISE_FRAME_4.6_to_SPIRE_350.fits.gz").symlink_to(
        data / "psf" / PUBLISHED
    )
    found = find_kernel("WISE_4.6", "SPIRE_350", pixel=1.375, folder=tmp_path)
    assert found.origin.startswith("Kernel_LoRes_WISE_FRAME_4.6")
    other = find_kernel("WISE_3.4", "SPIRE_350", pixel=1.375, folder=tmp_path)
    assert other.origin == "wiener"


@pytest.mark.parametrize("band", ["PACS_100", "Spitzer_24"])
def test_beams_are_brought_to_spire(data, band):
    image, step = beam(data, band, 90, step=1.0)
    kernel = find_kernel(band, "SPIRE_250", pixel=1.0)
    found = fftconvolve(image, kernel.sampled(step, step), mode="same")
    residual, energy_error = compare(found, find_psf("SPIRE_250").image(step, len(found)))
    assert residual < 0.01
    assert energy_error < 0.02
    # And the energy of the beam of SPIRE itself, which is not circular.
    assert compare(found, beam(data, "SPIRE_250", 90)[0])[1] < 0.02


def test_kernel_files(tmp_path):
    path = gaussian_kernel(tmp_path / "k.fits")
    kernel = read_kernel(path, "Gauss_6.79", "Gauss_18.306")
    assert kernel.residual < 0.005
    moved = read_kernel(gaussian_kernel(tmp_path / "m.fits", shift=9), "Gauss_6.79", "Gauss_18.306")
    assert np.allclose(moved.values, kernel.values, atol=1e-9)


def test_faulty_kernel_files_are_refused(tmp_path):
    path = tmp_path / "k.fits"
    with pytest.raises(DataError, match="not near the centre"):
        read_kernel(gaussian_kernel(path, shift=150), "Gauss_6.79", "Gauss_18.306")
    with pytest.raises(DataError, match=r"CD1_1, CD2_2 .* one pixel size"):
        read_kernel(gaussian_kernel(path, CD2_2=1.0 / 3600), "Gauss_6.79", "Gauss_18.306")
    # A kernel whose header gives another pixel scale leads elsewhere.
    with pytest.raises(DataError, match=r'k.fits \(pixels of 1" by CD1_1 or CDELT1\) leaves a'):
        read_kernel(
            gaussian_kernel(path, CD1_1=1 / 3600, CD2_2=1 / 3600), "Gauss_6.79", "Gauss_18.306"
        )
    path.write_bytes(gaussian_kernel(path).read_bytes()[:9000])
    with (
        pytest.warns(AstropyUserWarning, match="truncated"),
        pytest.raises(DataError, match=r"k.fits is not a kernel"),
    ):
        read_kernel(path, "Gauss_6.79", "Gauss_18.306")
