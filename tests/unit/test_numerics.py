"""Convolution and roots against scipy's."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.signal import fftconvolve

from dustcast.imaging.numerics import fft_convolve, root


@pytest.mark.parametrize("mode", ["full", "same"])
@pytest.mark.parametrize("shapes", [((20, 31), (5, 5)), ((8, 9), (4, 7)), ((6, 6), (11, 13))])
def test_convolution_is_scipys(mode, shapes):
    rng = np.random.default_rng(0)
    image, kernel = (rng.normal(size=shape) for shape in shapes)
    np.testing.assert_allclose(
        fft_convolve(image, kernel, mode), fftconvolve(image, kernel, mode), atol=1e-12
    )


def test_roots_are_scipys():
    for function, low, high in ((np.cos, 0.0, 3.0), (lambda x: x**3 - 2, -1.0, 5.0)):
        expected = brentq(function, low, high, xtol=1e-15)
        assert root(function, low, high) == pytest.approx(expected, rel=1e-14)
        assert root(lambda x, f=function: -f(x), low, high) == pytest.approx(expected, rel=1e-14)
    with pytest.raises(ValueError, match="no change of sign"):
        root(np.exp, 0.0, 1.0)
