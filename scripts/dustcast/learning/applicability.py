"""Where a model may be applied: how densely its training galaxies surround a sample.

A regressor answers for any input. Far from all that it was trained on the answer is an
extrapolation, which neither it nor its sigma notices; where the inputs say nothing about a target
the answer is the mean of the training galaxies.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dustcast.tables import DataError, atomic

INSIDE, EDGE, OUTSIDE = 0, 1, 2
"""Values of the map of applicability."""

N_NEIGHBOURS = 5

QUANTILES = (0.95, 0.995)
"""Shares of the training galaxies that are inside, and inside or at the edge."""

UNINFORMED = 0.9
"""A sigma above this part of the target's scatter in training makes a sample `EDGE`."""

# Directions in which the features of training differ by less than this part of their largest
# spread are not stretched further: what differs there is noise.
SMALLEST_SPREAD = 0.1

_BLOCK = 1024


class Applicability:
    """Distance of samples to training galaxies, and its thresholds.

    The density of the training samples at a point goes as the inverse power of the distance to
    the k-th nearest of them, so that a threshold in density is one in this distance. Features are
    standardised and rotated to their principal axes, whose spreads are made equal.

    Parameters
    ----------
    names : list of str
        Features, in their order.
    mean : numpy.ndarray, shape (n_features,)
        Stands for a missing feature too.
    axes : numpy.ndarray, shape (n_features, n_features)
        Maps features less the mean to coordinates of equal spread.
    points : numpy.ndarray, shape (n_train, n_features)
        Training samples in these coordinates.
    thresholds : (float, float)
        Distances to the `N_NEIGHBOURS`-th nearest at `QUANTILES`.
    scatter : dict of str to float
        Standard deviation of each target in training.
    """

    def __init__(self, names, mean, axes, points, thresholds, scatter):
        self.names = list(names)
        self.mean, self.axes, self.points = mean, axes, points
        self.thresholds = tuple(float(value) for value in thresholds)
        self.scatter = dict(scatter)

    def distance(self, inputs):
        """Return the distance to the k-th nearest training sample, of shape (n_samples,)."""
        return _kth_distance(self._coordinates(inputs), self.points)

    def classify(self, inputs, sigma=None, target=None):
        """Return `INSIDE`, `EDGE` or `OUTSIDE` for each sample, of shape (n_samples,), uint8.

        Parameters
        ----------
        inputs : numpy.ndarray, shape (n_samples, n_features)
            Features in the order of `names`; NaN where missing.
        sigma : numpy.ndarray, shape (n_samples,), optional
            Predicted uncertainty of `target`. Where it is above `UNINFORMED` times the scatter
            of the training galaxies, the inputs tell no more than that mean: `EDGE` at least.
        target : str, optional
            Key of `scatter`.
        """
        distance = self.distance(inputs)
        classes = np.sum([distance > limit for limit in self.thresholds], axis=0).astype(np.uint8)
        if sigma is not None:
            classes[(classes == INSIDE) & (sigma > UNINFORMED * self.scatter[target])] = EDGE
        return classes

    def save(self, path):
        """Write the arrays as an npz file, which holds numbers and names only."""
        with atomic(path) as temporary:
            np.savez_compressed(
                temporary,
                names=np.array(self.names),
                mean=self.mean,
                axes=self.axes,
                points=self.points.astype(np.float32),
                thresholds=np.array(self.thresholds),
                targets=np.array(list(self.scatter)),
                scatter=np.array(list(self.scatter.values())),
            )

    @classmethod
    def load(cls, path):
        """Read what `save` wrote; DataError if the file is missing or something else."""
        keys = ("names", "mean", "axes", "points", "thresholds", "targets", "scatter")
        try:
            with np.load(Path(path), allow_pickle=False) as arrays:
                names, mean, axes, points, thresholds, targets, scatter = map(arrays.get, keys)
                scatter = dict(zip(targets.tolist(), scatter.tolist()))
                return cls(names.tolist(), mean, axes, points.astype(float), thresholds, scatter)
        except (OSError, ValueError, AttributeError) as fault:
            raise DataError(
                f"{path} holds no applicability ({fault}): train the model again"
            ) from None

    def _coordinates(self, inputs):
        inputs = np.asarray(inputs, float)
        return (np.where(np.isnan(inputs), self.mean, inputs) - self.mean) @ self.axes


def fit_applicability(names, inputs, galaxy, targets):
    """Learn where the training samples lie.

    Parameters
    ----------
    names : list of str
        Features.
    inputs : numpy.ndarray, shape (n_samples, n_features)
        Features of the training samples; NaN where missing.
    galaxy : array_like of str, shape (n_samples,)
        Galaxy of each. Thresholds come from distances to samples of other galaxies.
    targets : dict of str to numpy.ndarray
        True values, for their scatter.

    Returns
    -------
    Applicability
    """
    inputs, galaxy = np.asarray(inputs, float), np.asarray(galaxy, dtype=str)
    missing = np.isnan(inputs)
    weight = _weights(galaxy)
    known = np.where(missing, 0.0, 1.0) * weight[:, None]
    total = np.maximum(known.sum(axis=0), np.finfo(float).tiny)
    mean = np.where(missing, 0.0, inputs * known).sum(axis=0) / total
    offset = np.where(missing, 0.0, inputs - mean)
    spread = np.sqrt((known * offset**2).sum(axis=0) / total)
    spread[spread == 0] = 1.0
    standard = offset / spread
    variance, directions = np.linalg.eigh((weight[:, None] * standard).T @ standard)
    root = np.sqrt(np.maximum(variance, 0))
    axes = directions / np.maximum(root, SMALLEST_SPREAD * root.max()) / spread[:, None]
    points = (offset @ axes).astype(np.float32).astype(float)
    distance = _kth_distance(points, points, galaxy, galaxy)
    order = np.argsort(distance)
    share = np.cumsum(weight[order])
    thresholds = [
        distance[order[min(np.searchsorted(share, quantile), len(order) - 1)]]
        for quantile in QUANTILES
    ]
    scatter = {
        name: float(
            np.sqrt(np.average((truth - np.average(truth, weights=weight)) ** 2, weights=weight))
        )
        for name, truth in targets.items()
    }
    return Applicability(names, mean, axes, points, thresholds, scatter)


def _weights(galaxy):
    """Return weights of sum 1 that give each galaxy the same."""
    _, group = np.unique(galaxy, return_inverse=True)
    weight = 1.0 / np.bincount(group)[group]
    return weight / weight.sum()


def _kth_distance(points, others, galaxy=None, other_galaxy=None):
    """Return the distance of each point to the k-th nearest of others, of other galaxies if named.

    Brute force in blocks: in tens of dimensions a tree looks at all points too.
    """
    k = min(N_NEIGHBOURS, len(others)) - 1
    squares = np.sum(others**2, axis=1)
    found = np.empty(len(points))
    for start in range(0, len(points), _BLOCK):
        block = slice(start, start + _BLOCK)
        part = points[block]
        distance2 = np.sum(part**2, axis=1)[:, None] + squares - 2 * part @ others.T
        if galaxy is not None:
            distance2[galaxy[block][:, None] == other_galaxy] = np.inf
        found[block] = np.partition(distance2, k, axis=1)[:, k]
    return np.sqrt(np.maximum(found, 0.0))
