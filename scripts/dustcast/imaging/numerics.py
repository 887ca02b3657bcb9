"""Convolution and roots by what numpy and scipy.fft hold.

`scipy.signal` (with `scipy.stats`) and `scipy.optimize` have the same, but take longer to load than
most jobs of the images work.
"""

from __future__ import annotations


def fft_convolve(image, kernel, mode="full"):
    """Return the convolution of two images by Fourier transforms.

    Parameters
    ----------
    image, kernel : ndarray of shape (ny, nx), (my, mx)
        Real.
    mode : str
        ``full``, or ``same``: the central part of the image's shape.

    Returns
    -------
    ndarray
        As of `scipy.signal.fftconvolve`.
    """
    import scipy.fft

    full = [n + m - 1 for n, m in zip(image.shape, kernel.shape)]
    fast = [scipy.fft.next_fast_len(n, real=True) for n in full]
    product = scipy.fft.rfft2(image, fast) * scipy.fft.rfft2(kernel, fast)
    out = scipy.fft.irfft2(product, fast)[: full[0], : full[1]]
    if mode == "full":
        return out
    first = [(m - 1) // 2 for m in kernel.shape]
    return out[first[0] : first[0] + image.shape[0], first[1] : first[1] + image.shape[1]]


def root(function, low, high):
    """Return where a function of one number changes its sign, by bisection.

    Parameters
    ----------
    function : callable
        Continuous, of opposite signs at `low` and `high`.
    low, high : float

    Returns
    -------
    float
        To the last digits.

    Raises
    ------
    ValueError
        If the signs are the same.
    """
    rises = function(low) < 0
    if (function(high) < 0) == rises:
        raise ValueError(f"no change of sign between {low:g} and {high:g}")
    while low < (middle := (low + high) / 2) < high:
        if (function(middle) < 0) == rises:
            low = middle
        else:
            high = middle
    return middle
