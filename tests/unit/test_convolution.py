"""Convolution with holes, against astropy's, at every stride and precision."""

import numpy as np
import pytest
from astropy.convolution import convolve_fft

from dustcast.imaging import convolution
from dustcast.imaging.convolution import Convolver, choose_stride
from dustcast.imaging.matching import make_kernel


def scene(shape, *, pixel, seed=0, holes=True):
    """Return noise, a galaxy, a bright star and, if asked for, missing pixels and a corner."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    radius = np.hypot(y - shape[0] / 2, x - shape[1] / 2) * pixel
    image = rng.normal(5, 1, shape) + 30 * np.exp(-radius / 30)
    image[shape[0] // 3, shape[1] // 3] += 1000
    if holes:
        image[rng.random(shape) < 0.01] = np.nan
        image[radius < 8] = np.nan
        image[y + x < 0.3 * shape[0]] = np.nan
    return image


def reference(image, weights):
    return convolve_fft(
        np.asarray(image, dtype=float),
        weights,
        boundary="fill",
        fill_value=np.nan,
        nan_treatment="interpolate",
        normalize_kernel=True,
    )


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("shape", [(301, 260), (128, 331)])
def test_equals_astropy(shape, holes):
    image = scene(shape, pixel=2.0, holes=holes)
    weights = make_kernel("Gauss_6", "Gauss_18.4").sampled(2.0, 2.0)
    expected = reference(image, weights)
    reach = tuple(n // 2 for n in weights.shape)
    for dtype, tolerance in ((np.float64, 1e-9), (np.float32, 1e-5)):
        found = Convolver(image, reach=reach, dtype=dtype).convolve(weights)
        assert found.dtype == dtype
        valid = np.isfinite(found)
        assert valid.mean() > 0.95
        assert np.abs(found - expected)[valid].max() < tolerance * np.nanmax(expected)


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("holes", [False, True])
def test_strides_give_the_values_of_the_full_convolution(stride, holes):
    image = scene((403, 350), pixel=0.75, holes=holes)
    kernel = make_kernel("Gauss_1.9", "Gauss_18.4")
    weights = kernel.sampled(0.75, 0.75)
    reach = tuple(n // 2 + 16 for n in weights.shape)
    convolver = Convolver(image, reach=reach, strides=(stride, 1))
    found = convolver.convolve(kernel.sampled(stride * 0.75, stride * 0.75), stride)
    expected = reference(image, weights)[::stride, ::stride]
    assert found.shape == expected.shape
    assert np.nanmax(np.abs(found - expected)) < 1e-4 * np.nanmax(expected)
    # The same transform serves other kernels and strides.
    full = convolver.convolve(weights)
    assert np.nanmax(np.abs(full[::stride, ::stride] - found)) < 1e-4 * np.nanmax(expected)


def test_a_constant_stays_a_constant_and_missing_stays_missing():
    image = np.full((90, 80), 7.0)
    image[30:60, 20:50] = np.nan
    image[:, :5] = np.nan
    weights = np.ones((5, 5)) / 25
    found = Convolver(image, reach=(2, 2)).convolve(weights)
    assert np.nanmax(np.abs(found - 7)) < 1e-5
    # Beyond the reach of the kernel there is nothing to interpolate from.
    assert np.isnan(found[35:55, 25:45]).all()
    assert np.isfinite(found[29, 25])
    assert np.isnan(Convolver(np.full((20, 20), np.nan), reach=(2, 2)).convolve(weights)).all()


def test_strips_change_nothing(monkeypatch):
    image = scene((200, 150), pixel=1.0).astype(">f4")
    kernel = make_kernel("Gauss_1.9", "Gauss_18.4")
    whole = Convolver(image, reach=(120, 120), strides=(2,)).convolve(kernel.sampled(2, 2), 2)
    monkeypatch.setattr(convolution, "STRIP_PIXELS", 1000)
    strips = Convolver(image, reach=(120, 120), strides=(2,)).convolve(kernel.sampled(2, 2), 2)
    assert np.array_equal(whole, strips, equal_nan=True)


def test_threads_change_nothing():
    image = scene((200, 150), pixel=1.0)
    weights = make_kernel("Gauss_6", "Gauss_18.4").sampled(1.0, 1.0)
    one, two = (Convolver(image, reach=(99, 99), workers=n).convolve(weights) for n in (1, 2))
    assert np.array_equal(one, two, equal_nan=True)


def test_single_precision_only_where_its_error_is_small():
    image = scene((128, 128), pixel=2.0, holes=False)
    assert Convolver(image, reach=(9, 9)).dtype == np.float32
    # A saturated star would hide the sky's own scatter.
    image[60, 60] = 1e6
    assert Convolver(image, reach=(9, 9)).dtype == np.float64
    # A high level alone does not: it is subtracted first.
    assert Convolver(scene((128, 128), pixel=2.0) + 1e3, reach=(9, 9)).dtype == np.float32


def test_stride_follows_the_pixel():
    assert choose_stride(0.45, 3.6) == 8
    assert choose_stride(0.45, 3.5) == 4
    assert choose_stride(6.0, 3.6) == 1
