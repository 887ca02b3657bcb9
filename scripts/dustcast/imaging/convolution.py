"""Convolution of images with holes, on the grid that the result needs.

A kernel that leads to a wide PSF passes low frequencies only. The image is transformed once, in
strips of rows, and only the frequencies that pass are kept; each target then costs a small
transform back, onto every k-th pixel. The values there are those of the full convolution.
"""

from __future__ import annotations

import math

import numpy as np

# Every k-th pixel of the image is kept; each divides the next, so one transform serves all.
STRIDES = (1, 2, 4, 8, 16, 32)

# Pixels that a strip of rows holds: it bounds the memory of a transform.
STRIP_PIXELS = 2**23

# Single precision has errors of about this share of the rms of the transformed image; they must
# not exceed this share of the image's own scatter (1e-5 of the peak is far above both).
SINGLE_ERROR, LARGEST_ERROR = 3e-7, 1e-5

# Below this share of the kernel's weight on valid pixels, there is no value.
LEAST_WEIGHT = 1e-2


class Convolver:
    """An image, transformed once, to be convolved with several kernels.

    Missing pixels, NaN or beyond the edges, take no part: a result is the mean of the valid
    pixels weighted by the kernel, as of `astropy.convolution.convolve_fft` with
    ``nan_treatment="interpolate"`` and a boundary of NaN.

    Parameters
    ----------
    image : array_like of shape (ny, nx)
        Any floating type and byte order; read in strips, so it may be mapped from a file.
    reach : tuple of int
        Half sizes (rows, columns) of the largest kernel in pixels.
    strides : iterable of int
        The strides of the convolutions to come, of `STRIDES`.
    workers : int
        Threads of the transforms.
    dtype : numpy.dtype, optional
        float32 or float64. By default single precision where its error is small beside the
        scatter of the image.

    Attributes
    ----------
    dtype : numpy.dtype
        The precision in use.
    """

    def __init__(self, image, *, reach, strides=(1,), workers=1, dtype=None):
        import scipy.fft

        self._fft, self._workers = scipy.fft, workers
        self.shape = image.shape
        coarsest, finest = max(strides), min(strides)
        self._strips = _strips(image.shape)
        statistics = _statistics(image, self._strips)
        self._level, self._n_valid = statistics.level, statistics.n_valid
        self.dtype = np.dtype(dtype or statistics.dtype)
        # Sizes of which every stride is a divisor, with room for the kernel beyond the edges.
        self._size = tuple(
            coarsest * scipy.fft.next_fast_len(-(-(n + r) // coarsest), real=True)
            for n, r in zip(image.shape, reach)
        )
        self._kept = tuple(n // finest for n in self._size)
        self._image = self._transform(lambda rows: self._filled(image[rows]))
        if self._n_valid == image.shape[0] * image.shape[1]:
            # The transform of a rectangle is a product of two of a line.
            self._mask = self._rectangle()
        else:
            self._mask = self._transform(lambda rows: np.isfinite(image[rows]).astype(self.dtype))

    def _filled(self, rows):
        """Return rows about the level of the image, 0 where missing."""
        rows = np.asarray(rows, dtype=self.dtype) - self.dtype.type(self._level)
        rows[~np.isfinite(rows)] = 0
        return rows

    def _transform(self, read):
        """Return the kept frequencies of an image that is read in strips of rows."""
        ny, nx = self._kept
        columns = np.empty((self.shape[0], nx // 2 + 1), np.result_type(self.dtype, np.complex64))
        for rows in self._strips:
            columns[rows] = self._fft.rfft(
                read(rows), n=self._size[1], axis=1, workers=self._workers
            )[:, : nx // 2 + 1]
        if ny == self._size[0]:
            return self._fft.fft(columns, n=ny, axis=0, workers=self._workers, overwrite_x=True)
        kept = np.empty((ny, columns.shape[1]), columns.dtype)
        block = max(1, STRIP_PIXELS // self._size[0])
        for start in range(0, columns.shape[1], block):
            part = slice(start, start + block)
            full = self._fft.fft(columns[:, part], n=self._size[0], axis=0, workers=self._workers)
            kept[:, part] = _low(full, ny)
        return kept

    def _rectangle(self):
        """Return the kept frequencies of an image of ones."""
        ny, nx = self._kept
        rows = self._fft.fft(np.ones(self.shape[0]), n=self._size[0])
        columns = self._fft.rfft(np.ones(self.shape[1]), n=self._size[1])[: nx // 2 + 1]
        product = _low(rows[:, None], ny) * columns
        return product.astype(np.result_type(self.dtype, np.complex64))

    def convolve(self, weights, stride=1):
        """Return the convolved image on every `stride`-th pixel.

        Parameters
        ----------
        weights : ndarray
            The kernel on every `stride`-th pixel: odd shape, sum 1.
        stride : int
            One of those named before. Frequencies above 1 / (2 stride) per pixel must not pass
            the kernel.

        Returns
        -------
        values : ndarray of shape (ceil(ny / stride), ceil(nx / stride))
            NaN where the kernel finds less than `LEAST_WEIGHT` valid weight.
        """
        shape = tuple(n // stride for n in self._size)
        passed = self._fft.rfft2(_wrapped(weights, shape).astype(self.dtype))
        out = tuple(slice(0, -(-n // stride)) for n in self.shape)
        summed, weight = (
            self._fft.irfft2(
                _low(spectrum, shape[0])[:, : shape[1] // 2 + 1] * passed,
                s=shape,
                workers=self._workers,
                overwrite_x=True,
            )[out]
            / stride**2
            for spectrum in (self._image, self._mask)
        )
        values = np.full(weight.shape, np.nan, self.dtype)
        np.divide(summed, weight, out=values, where=weight > LEAST_WEIGHT)
        values += self.dtype.type(self._level)
        return values


class _statistics:
    """Level, scatter and number of valid pixels of an image, from a sample of its rows."""

    def __init__(self, image, strips):
        sample = np.asarray(image[:: max(1, image.shape[0] // 256)], dtype=float)
        sample = sample[np.isfinite(sample)]
        self.level = float(np.median(sample)) if sample.size else 0.0
        spread = np.percentile(sample, [16, 84]) if sample.size else (0.0, 0.0)
        scatter = (spread[1] - spread[0]) / 2
        square, self.n_valid = 0.0, 0
        for rows in strips:
            part = np.asarray(image[rows], dtype=float)
            part = part[np.isfinite(part)]
            square += float(np.sum((part - self.level) ** 2))
            self.n_valid += part.size
        rms = math.sqrt(square / max(self.n_valid, 1))
        single = SINGLE_ERROR * rms <= LARGEST_ERROR * scatter
        self.dtype = np.float32 if single else np.float64


def _strips(shape):
    """Return slices of rows that hold a bounded number of pixels."""
    height = max(1, STRIP_PIXELS // max(shape[1], 1))
    return [slice(start, min(start + height, shape[0])) for start in range(0, shape[0], height)]


def _low(spectrum, n):
    """Return the n lowest frequencies of the first axis, in the order of the transform."""
    if n == len(spectrum):
        return spectrum
    positive = (n + 1) // 2
    return np.concatenate([spectrum[:positive], spectrum[len(spectrum) - (n - positive) :]])


def _wrapped(weights, shape):
    """Return a centred kernel on a grid of a shape, its centre in the first pixel.

    What reaches beyond the grid is wrapped around; the grid has room for the kernel beside the
    image, so that no pixel of the image meets it.
    """
    out = np.zeros(shape)
    index = [(np.arange(n) - n // 2) % size for n, size in zip(weights.shape, shape)]
    np.add.at(out, np.ix_(*index), weights)
    return out


def choose_stride(pixel, coarsest):
    """Return the largest of `STRIDES` that keeps pixels no coarser than `coarsest`.

    Parameters
    ----------
    pixel : float
        Pixel size of the image.
    coarsest : float
        In the same unit.
    """
    return max((k for k in STRIDES if k * pixel <= coarsest), default=1)
