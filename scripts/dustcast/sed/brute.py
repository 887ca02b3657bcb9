"""Fits from one table of all models, in plain numpy: the reference of the fit engine.

The table has a row for every pair of stellar and dust model, so this is for small grids. Nothing
is shared with the compiled engine: chi2 is summed over bands from residuals, moments are taken in
two passes over all models.
"""

from __future__ import annotations

import numpy as np

from dustcast.sed.spec import FactorisedGrid, Quantity

# A table of this many numbers has 4 GB.
LARGEST_TABLE = 500_000_000
# exp(-chi2 / 2) of models that no double precision sum can see; their values are not computed.
NEGLIGIBLE = 1e-40


class BruteForce:
    """The table of fluxes of every model of a grid.

    Parameters
    ----------
    grid : FactorisedGrid
        The models; their table must fit into memory.

    Raises
    ------
    ValueError
        If the table would have more than `LARGEST_TABLE` numbers.
    """

    def __init__(self, grid: FactorisedGrid):
        n_stellar, n_band = np.shape(grid.stellar_flux)
        n_dust = len(grid.dust_flux)
        if n_stellar * n_dust * n_band > LARGEST_TABLE:
            raise ValueError(
                f"a table of {n_stellar} x {n_dust} models in {n_band} bands is too large for "
                "method 'brute': use 'screen' or 'pruned'"
            )
        self.grid = grid
        self.shape = (n_stellar, n_dust)
        # One array a band, as CIGALE keeps them.
        self.flux = [
            np.add(
                np.asarray(grid.stellar_flux, float)[:, b, None],
                np.outer(grid.luminosity, np.asarray(grid.dust_flux, float)[:, b]),
            )
            for b in range(n_band)
        ]

    def posterior(self, flux, sigma, limit) -> Posterior | None:
        """Return the posterior of one observation, None if no model has a positive scale.

        Parameters
        ----------
        flux, sigma : ndarray of shape (n_band,)
            Fluxes and total errors in mJy; sigma is NaN where the band is not fitted.
        limit : ndarray of bool, shape (n_band,)
            Bands with an upper limit.
        """
        from scipy.special import log_ndtr

        data = np.flatnonzero(np.isfinite(sigma) & ~limit)
        # Fluxes in units of the largest error, so that squares of tiny numbers do not vanish.
        unit = sigma[data].max()
        numerator = np.zeros(self.shape)
        denominator = np.zeros(self.shape)
        for b in data:
            model = self.flux[b] * (unit / sigma[b])
            numerator += model * (flux[b] / sigma[b])
            denominator += model**2
        positive = (numerator > 0) & (denominator > 0)
        if not positive.any():
            return None
        scale = np.where(positive, numerator, 1.0) / np.where(positive, denominator, 1.0) * unit
        chi2 = np.zeros(self.shape)
        for b in data:
            chi2 += ((flux[b] - scale * self.flux[b]) / sigma[b]) ** 2
        for b in np.flatnonzero(limit):
            chi2 -= 2.0 * log_ndtr((flux[b] - scale * self.flux[b]) / sigma[b])
        chi2[~positive] = np.inf
        return Posterior(self, chi2, np.where(positive, scale, np.nan))


class Posterior:
    """Weights of the models for one observation.

    Attributes
    ----------
    chi2 : ndarray of shape (n_stellar, n_dust)
        Of every model; infinite where the best scale is not positive.
    best : tuple of int
        Stellar and dust model of the smallest.
    best_scale : float
        Its scale.
    stellar, dust : ndarray of int, shape (n_model,)
        The models whose weight is not negligible.
    scale, weight : ndarray of shape (n_model,)
        Their scales and normalised likelihoods.
    """

    def __init__(self, table, chi2, scale):
        self.table = table
        self.chi2 = chi2
        self.best = tuple(int(k) for k in np.unravel_index(np.argmin(chi2), chi2.shape))
        self.best_scale = float(scale[self.best])
        weight = np.exp(-0.5 * (chi2 - chi2[self.best]))
        self.stellar, self.dust = np.nonzero(weight > NEGLIGIBLE)
        self.scale = scale[self.stellar, self.dust]
        self.weight = weight[self.stellar, self.dust]
        self.weight /= self.weight.sum()

    def moments(self, values, origin) -> tuple[float, float]:
        """Return mean and standard deviation of one value for each model.

        Values are taken from `origin` on, the best model's, so that a narrow posterior keeps its
        digits.
        """
        offset = values - origin
        mean = np.sum(self.weight * offset)
        return float(origin + mean), float(np.sqrt(np.sum(self.weight * (offset - mean) ** 2)))

    def band(self, b: int) -> tuple[float, float]:
        """Return mean and standard deviation of the flux in a band, in mJy."""
        flux = self.table.flux[b]
        values = self.scale * flux[self.stellar, self.dust]
        return self.moments(values, self.best_scale * flux[self.best])

    def quantity(self, quantity: Quantity) -> tuple[float, float]:
        """Return mean and standard deviation of a quantity."""
        values = self.values(quantity)
        return self.moments(values, self._best_value(quantity))

    def log_quantity(self, quantity: Quantity) -> tuple[float, float]:
        """Return mean and standard deviation of its log10, NaN if it is 0 for some model."""
        factors = [f for f in (quantity.stellar, quantity.dust) if f is not None]
        if any((np.asarray(f) <= 0).any() for f in factors):
            return np.nan, np.nan
        return self.moments(np.log10(self.values(quantity)), np.log10(self._best_value(quantity)))

    def marginals(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the probabilities of the stellar and of the dust models."""
        n_stellar, n_dust = self.table.shape
        return (
            np.bincount(self.stellar, self.weight, n_stellar),
            np.bincount(self.dust, self.weight, n_dust),
        )

    def values(self, quantity: Quantity) -> np.ndarray:
        """Return a quantity of the models, of shape (n_model,)."""
        values = self.scale**quantity.power
        if quantity.stellar is not None:
            values = values * np.asarray(quantity.stellar, float)[self.stellar]
        if quantity.dust is not None:
            values = values * np.asarray(quantity.dust, float)[self.dust]
        return values

    def _best_value(self, quantity):
        value = self.best_scale**quantity.power
        if quantity.stellar is not None:
            value = value * float(quantity.stellar[self.best[0]])
        if quantity.dust is not None:
            value = value * float(quantity.dust[self.best[1]])
        return value
