"""Weighted statistics of scattered points: densities, percentiles, running bins.

Every function takes one weight a point. In the figures this is one over the number of pixels
that a galaxy has, so that each galaxy, not each pixel, counts the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

# Percent of a Gaussian within one, two and three standard deviations.
CONTOUR_FRACTIONS = (0.683, 0.955, 0.997)

EXACT_BELOW = 3000
_CELLS_PER_BANDWIDTH = 4
_MAX_CELLS = 2000


def checked_weights(weights, n_points):
    """Return weights that sum to one; equal ones if none are given.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, if all are zero, or their number is wrong.
    """
    if weights is None:
        return np.full(n_points, 1.0 / max(n_points, 1))
    weights = np.asarray(weights, dtype=float)
    if weights.shape != (n_points,):
        raise ValueError(f"weights has shape {weights.shape} for {n_points} points")
    if n_points and not (np.all(np.isfinite(weights)) and weights.min() >= 0 and weights.any()):
        raise ValueError("weights must be finite, not negative, and not all zero")
    return weights / weights.sum() if n_points else weights


def kde(x, y, weights=None, *, at=None, exact_below=EXACT_BELOW):
    """Return a weighted two-dimensional Gaussian kernel density estimate.

    The kernel is that of `scipy.stats.gaussian_kde`: the weighted covariance of the points
    times Scott's factor squared, n_eff**(-1/6) with n_eff = (sum w)^2 / sum w^2.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        The points.
    weights : array_like, shape (n,), optional
        Their weights.
    at : tuple of two array_like, optional
        x and y where the density is wanted, of any equal shape; the points themselves if None.
    exact_below : int
        From this many points on, the sum over kernels is made on a grid (cells a quarter of
        the kernel wide, bilinear weights) and interpolated: time grows as n instead of n^2,
        and densities agree to a percent of the densest.

    Returns
    -------
    numpy.ndarray
        Density; its integral over x and y is one. Points on one line or on one spot get a
        kernel of a tiny width across it, where scipy refuses.
    """
    points = np.stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)])
    n_points = points.shape[1]
    weights = checked_weights(weights, n_points)
    wanted = points if at is None else np.stack(np.broadcast_arrays(*at)).astype(float)
    shape = wanted.shape[1:]
    if n_points == 0:
        return np.zeros(shape)
    centre = points @ weights
    whitener, area = _whitener(points - centre[:, None], weights)
    points = whitener @ (points - centre[:, None])
    wanted = whitener @ (wanted.reshape(2, -1) - centre[:, None])
    method = _kde_exact if n_points < exact_below else _kde_gridded
    return (method(points, weights, wanted) / area).reshape(shape)


def _whitener(centred, weights):
    """Return the matrix that makes the kernel a unit circle, and the kernel's area scale."""
    unbiased = 1.0 - np.sum(weights**2)
    covariance = (centred * weights) @ centred.T / (unbiased if unbiased > 0 else 1.0)
    variance = np.diag(covariance).copy()
    # A floor for points on a line or a spot: relative, or absolute where all is one point.
    scale = np.where(variance > 0, variance, 1.0)
    covariance = covariance + np.diag(np.where(variance > 0, 1e-10, 1e-6) * scale)
    effective = 1.0 / np.sum(weights**2)
    lower = np.linalg.cholesky(covariance) * effective ** (-1.0 / 6.0)
    return np.linalg.inv(lower), lower[0, 0] * lower[1, 1]


def _kde_exact(points, weights, wanted, block=256):
    """Sum unit kernels over all points, for a block of wanted positions at a time."""
    density = np.empty(wanted.shape[1])
    half_square = 0.5 * np.sum(points**2, axis=0)
    for start in range(0, density.size, block):
        part = wanted[:, start : start + block]
        exponent = part.T @ points - half_square - 0.5 * np.sum(part**2, axis=0)[:, None]
        density[start : start + block] = np.exp(np.minimum(exponent, 0.0)) @ weights
    return density / (2.0 * np.pi)


def _kde_gridded(points, weights, wanted):
    """Share points between grid corners, blur with the kernel, interpolate.

    The kernel is a few cells wide, so that the separable filter costs less than a Fourier
    transform and cannot wrap around.
    """
    low = points.min(axis=1) - 4.0
    extent = points.max(axis=1) + 4.0 - low
    cell = np.maximum(1.0 / _CELLS_PER_BANDWIDTH, extent / _MAX_CELLS)
    shape = np.ceil(extent / cell).astype(int) + 2
    position = (points - low[:, None]) / cell[:, None]
    corner = np.floor(position).astype(int)
    upper = position - corner
    grid = np.zeros(shape[0] * shape[1])
    for i in (0, 1):
        for j in (0, 1):
            share = (upper[0] if i else 1.0 - upper[0]) * (upper[1] if j else 1.0 - upper[1])
            index = (corner[0] + i) * shape[1] + corner[1] + j
            grid += np.bincount(index, weights * share, minlength=grid.size)
    # Sharing and interpolating each blur by a triangle, of variance cell^2 / 6.
    width = np.sqrt(np.maximum(1.0 - cell**2 / 3.0, 0.01)) / cell
    blurred = ndimage.gaussian_filter(
        grid.reshape(shape), width, mode="constant", truncate=4.5, output=float
    )
    where = (wanted - low[:, None]) / cell[:, None]
    inside = ndimage.map_coordinates(blurred, where, order=1, mode="constant", cval=0.0)
    return inside / (cell[0] * cell[1])


def weighted_quantile(values, probabilities, weights=None):
    """Return weighted quantiles.

    The cumulative distribution passes each value at the middle of its weight and is linear
    between (with equal weights: Hazen's definition, ``numpy.quantile(method='hazen')``).

    Parameters
    ----------
    values : array_like, shape (n,)
        At least one value, all finite.
    probabilities : array_like
        Between 0 and 1.
    weights : array_like, shape (n,), optional
        Their weights; a weight of zero leaves a value out.

    Returns
    -------
    numpy.ndarray
        Of the shape of `probabilities`.
    """
    values = np.asarray(values, dtype=float)
    weights = checked_weights(weights, values.size)
    if values.size == 0:
        raise ValueError("no values to take quantiles of")
    order = np.argsort(values, kind="stable")
    order = order[weights[order] > 0]
    cumulative = np.cumsum(weights[order])
    middle = cumulative - 0.5 * weights[order]
    return np.interp(probabilities, middle, values[order])


def contour_levels(density, weights=None, fractions=CONTOUR_FRACTIONS):
    """Return the densities whose contours enclose given fractions of the weight.

    Parameters
    ----------
    density : array_like, shape (n,)
        Density at each point.
    weights : array_like, shape (n,), optional
        Weights of the points.
    fractions : sequence of float
        Fractions of the total weight that lie where the density is higher.

    Returns
    -------
    numpy.ndarray
        One level a fraction, in the order of `fractions`.
    """
    return weighted_quantile(density, 1.0 - np.asarray(fractions), weights)


@dataclass(frozen=True)
class RunningBins:
    """Overlapping bins along one coordinate.

    Attributes
    ----------
    order : numpy.ndarray of int, shape (n,)
        What sorts the points by the coordinate.
    start, stop : numpy.ndarray of int, shape (n_bins,)
        Bin i holds the points ``order[start[i]:stop[i]]``.
    centre : numpy.ndarray, shape (n_bins,)
        Weighted mean of the coordinate in each bin, increasing.
    """

    order: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    centre: np.ndarray

    def members(self):
        """Yield the indices of the points of each bin."""
        for start, stop in zip(self.start, self.stop):
            yield self.order[start:stop]


def smallest_bin(n_points, minimum=80):
    """Return how many points a bin must hold: `minimum`, or a quarter of a small sample."""
    return max(1, min(minimum, max(5, n_points // 4), n_points))


def running_bins(by, weights=None, *, minimum=80, n_across=60, share=0.03):
    """Return bins that run along a coordinate, a quarter of their own width at a time.

    A bin is 1/n_across of the range wide, and wider where this holds fewer than `minimum`
    points (or `smallest_bin` of a small sample) or less than a `share` of the total weight:
    eighty pixels of one galaxy are one galaxy's word.

    Parameters
    ----------
    by : array_like, shape (n,)
        The coordinate, finite.
    weights : array_like, shape (n,), optional
        Weights of the points.
    minimum : int
        Points that a bin holds at least.
    n_across : int
        Range of the coordinate over the narrowest bin.
    share : float
        Fraction of the weight that a bin holds at least.

    Returns
    -------
    RunningBins
    """
    by = np.asarray(by, dtype=float)
    weights = checked_weights(weights, by.size)
    order = np.argsort(by, kind="stable")
    sorted_by = by[order]
    total = np.concatenate([[0.0], np.cumsum(weights[order])])
    moment = np.concatenate([[0.0], np.cumsum(weights[order] * sorted_by)])
    bins = []
    if by.size:
        least = smallest_bin(by.size, minimum)
        half = 0.5 * (sorted_by[-1] - sorted_by[0]) / n_across
        here = sorted_by[0]
        while True:
            reach = max(half, _reach(sorted_by, here, least))
            reach = _widened(sorted_by, total, here, reach, share)
            # A hair more, so that rounding does not leave out the point that set the reach.
            reach *= 1.0 + 1e-12
            start = int(np.searchsorted(sorted_by, here - reach, side="left"))
            stop = int(np.searchsorted(sorted_by, here + reach, side="right"))
            if not bins or bins[-1] != (start, stop):
                bins.append((start, stop))
            if here >= sorted_by[-1]:
                break
            width = sorted_by[stop - 1] - sorted_by[start]
            here = min(here + max(width, half) / 4.0, sorted_by[-1])
    start, stop = np.array(bins, dtype=int).reshape(-1, 2).T
    in_bin = total[stop] - total[start]
    keep = in_bin > 0
    start, stop = start[keep], stop[keep]
    centre = (moment[stop] - moment[start]) / in_bin[keep]
    return RunningBins(order, start, stop, centre)


def _reach(sorted_by, here, least):
    """Return the distance from `here` to its `least`-th nearest value."""
    around = int(np.searchsorted(sorted_by, here))
    near = sorted_by[max(0, around - least) : around + least]
    return np.partition(np.abs(near - here), least - 1)[least - 1]


def _widened(sorted_by, total, here, reach, share):
    """Return the smallest distance, not below `reach`, within which lies a `share` of weight."""

    def inside(distance):
        start = np.searchsorted(sorted_by, here - distance, side="left")
        stop = np.searchsorted(sorted_by, here + distance, side="right")
        return total[stop] - total[start]

    if inside(reach) >= share:
        return reach
    low, high = reach, max(here - sorted_by[0], sorted_by[-1] - here)
    for _ in range(40):  # to a part in 10^12 of the range
        middle = 0.5 * (low + high)
        low, high = (low, middle) if inside(middle) >= share else (middle, high)
    return high


def binned_quantiles(by, values, probabilities=(0.16, 0.5, 0.84), weights=None, **bins):
    """Return weighted quantiles of `values` in running bins of `by`.

    Parameters
    ----------
    by, values : array_like, shape (n,)
        Coordinate of the bins and what is summarised.
    probabilities : sequence of float
        Which quantiles.
    weights : array_like, shape (n,), optional
        Weights of the points.
    **bins
        Passed to `running_bins`.

    Returns
    -------
    centre : numpy.ndarray, shape (n_bins,)
        Weighted mean of `by` in each bin.
    quantiles : numpy.ndarray, shape (len(probabilities), n_bins)
        The quantiles.
    """
    values = np.asarray(values, dtype=float)
    weights = checked_weights(weights, values.size)
    running = running_bins(by, weights, **bins)
    quantiles = np.empty((len(probabilities), running.centre.size))
    for i, members in enumerate(running.members()):
        quantiles[:, i] = weighted_quantile(values[members], probabilities, weights[members])
    return running.centre, quantiles


def binned_rms(by, values, weights=None, **bins):
    """Return the weighted root mean square of `values` in running bins of `by`.

    Parameters and the first value returned are those of `binned_quantiles`; the second has
    shape (n_bins,).
    """
    values = np.asarray(values, dtype=float)
    weights = checked_weights(weights, values.size)
    running = running_bins(by, weights, **bins)
    rms = np.array(
        [
            np.sqrt(np.average(values[members] ** 2, weights=weights[members]))
            for members in running.members()
        ]
    )
    return running.centre, rms


def rank_in_bin(by, values, weights=None, **bins):
    """Return the weighted percentile (0 to 1) of each value among those of about equal `by`.

    Each point is ranked in the running bin whose centre is nearest to it. The median has
    rank 0.5; half of a value's own weight counts as below it.

    Parameters
    ----------
    by, values : array_like, shape (n,)
        Coordinate of the bins and what is ranked.
    weights : array_like, shape (n,), optional
        Weights of the points.
    **bins
        Passed to `running_bins`.

    Returns
    -------
    numpy.ndarray, shape (n,)
    """
    by = np.asarray(by, dtype=float)
    values = np.asarray(values, dtype=float)
    weights = checked_weights(weights, values.size)
    running = running_bins(by, weights, **bins)
    ranks = np.full(values.size, 0.5)
    if running.centre.size == 0:
        return ranks
    edges = 0.5 * (running.centre[1:] + running.centre[:-1])
    nearest = np.searchsorted(edges, by)
    for i, members in enumerate(running.members()):
        order = members[np.argsort(values[members], kind="stable")]
        mine = np.flatnonzero(nearest == i)
        cumulative = np.concatenate([[0.0], np.cumsum(weights[order])])
        sorted_values = values[order]
        below = cumulative[np.searchsorted(sorted_values, values[mine], side="left")]
        up_to = cumulative[np.searchsorted(sorted_values, values[mine], side="right")]
        ranks[mine] = 0.5 * (below + up_to) / cumulative[-1]
    return ranks
