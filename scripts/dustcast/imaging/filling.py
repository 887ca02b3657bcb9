"""What stands under the stars: masked pixels, filled from those around them.

A kernel to a wide PSF interpolates over a mask too, but with the mean of all that it reaches, which
beside a bright bulge is another brightness. So masks are filled from near by before.
"""

from __future__ import annotations

import numpy as np

# Width (sigma) of the Gaussian that weights the pixels around a mask, over the depth of the mask,
# and its least value in pixels; where the Gaussian ends, in sigma.
SIGMA_PER_DEPTH, LEAST_SIGMA = 0.25, 0.5
REACH_SIGMA = 6.0
# Pixels of a mask that are read at a time.
STRIP_PIXELS = 2**23


class FilledImage:
    """An image whose star masks are filled; reads rows as an array does.

    A filled pixel is the mean of the valid pixels, weighted by a Gaussian a quarter as wide as the
    mask is deep, so that the nearest edge counts most. Only the filled pixels are held, so that an
    image may be mapped from a file.

    Parameters
    ----------
    image : array_like of shape (ny, nx)
        NaN where there is nothing.
    stars : array_like of bool, shape (ny, nx)
        Star masks.
    """

    def __init__(self, image, stars):
        self.shape = image.shape
        self._image = image
        self._places, self._values = _filling(image, stars)

    def __getitem__(self, rows):
        """Return the rows of a slice."""
        start, stop, step = rows.indices(self.shape[0])
        out = np.array(self._image[rows])
        first, last = np.searchsorted(self._places, [start * self.shape[1], stop * self.shape[1]])
        y, x = np.divmod(self._places[first:last], self.shape[1])
        chosen = (y - start) % step == 0
        out[(y[chosen] - start) // step, x[chosen]] = self._values[first:last][chosen]
        return out


def _filling(image, stars):
    """Return the flat indices of masked pixels, in order, and what fills them."""
    ny, nx = image.shape
    height = max(1, STRIP_PIXELS // nx)
    places = [
        np.flatnonzero(stars[start : start + height]) + start * nx for start in range(0, ny, height)
    ]
    places = np.concatenate(places).astype(np.int64)
    values = np.full(places.size, np.nan)
    labels = _components(places, nx)
    order = np.argsort(labels, kind="stable")
    for chosen in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        if chosen.size:
            values[chosen] = _fill(image, stars, *np.divmod(places[chosen], nx))
    return places, values


def _components(places, nx):
    """Return a label for each masked pixel: pixels of one connected mask share it."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = []
    for step, there in ((1, places % nx < nx - 1), (nx, np.full(places.size, True))):
        start = np.flatnonzero(there)
        end = np.searchsorted(places, places[start] + step)
        known = end < places.size
        start, end = start[known], end[known]
        linked = places[end] == places[start] + step
        ends.append(np.stack([start[linked], end[linked]]))
    starts, ends = np.concatenate(ends, axis=1)
    shape = (places.size, places.size)
    return connected_components(coo_array((np.ones(starts.size), (starts, ends)), shape), False)[1]


def _fill(image, stars, rows, columns):
    """Return what fills the pixels of one mask, NaN where nothing valid is near."""
    from scipy import ndimage

    inside = np.zeros((np.ptp(rows) + 3, np.ptp(columns) + 3), dtype=bool)
    inside[rows - rows.min() + 1, columns - columns.min() + 1] = True
    sigma = max(SIGMA_PER_DEPTH * ndimage.distance_transform_edt(inside).max(), LEAST_SIGMA)
    reach = int(np.ceil(REACH_SIGMA * sigma))
    y, x = max(rows.min() - reach, 0), max(columns.min() - reach, 0)
    part = slice(y, rows.max() + reach + 1), slice(x, columns.max() + reach + 1)
    values = np.asarray(image[part], dtype=float)
    valid = np.isfinite(values) & ~np.asarray(stars[part], dtype=bool)
    summed, weight = (
        ndimage.gaussian_filter(plane, sigma, mode="constant", truncate=REACH_SIGMA)
        for plane in (np.where(valid, values, 0.0), valid.astype(float))
    )
    summed, weight = (plane[rows - y, columns - x] for plane in (summed, weight))
    # Sums of a separable Gaussian are positive to rounding: only what no pixel reaches is left.
    return np.divide(summed, weight, out=np.full(rows.size, np.nan), where=weight > 1e-12)
