"""Exact Bayesian fits of every model of a factorised grid.

`fit` compares observations with all models of a `FactorisedGrid` as CIGALE's pdf_analysis does
(Boquien et al. 2019, A&A 622, A103, section 4): the scale of each model is the best one, its
likelihood exp(-chi2 / 2), the prior flat over the grid, and a quantity's estimate the mean and
standard deviation of its posterior. It never makes an array of stellar times dust models; how, and
why nothing is lost, is in docs/method-fits.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from dustcast.sed import brute, kernels
from dustcast.sed.spec import FactorisedGrid

METHODS = ("pruned", "screen", "brute")
UPPER_LIMITS = ("none", "noscaling")

# Values of FitResult.status.
FITTED = 0
NO_BAND = 1
NO_MODEL = 2

# Observations that one task of a thread fits: small enough to balance, large enough to amortise.
BLOCK = 8


@dataclass(frozen=True)
class FitOptions:
    """How `fit` weighs and counts models.

    Attributes
    ----------
    method : str
        ``pruned`` (exact to `tolerance`), ``screen`` (every model), or ``brute`` (every model in
        plain numpy from one table of fluxes: for checks on small grids).
    tolerance : float
        Models whose chi2 exceeds the smallest by more than this may be left out by ``pruned``.
    additional_error : float
        Fraction of the flux that is added to each error in quadrature (CIGALE's
        `additionalerror`).
    upper_limits : str
        What a negative error does (CIGALE's `lim_flag`): with ``none`` the band is left out, with
        ``noscaling`` it is an upper limit, which takes no part in the scale.
    error_floor : float
        Smallest standard deviation of an extensive quantity, as a fraction of its mean.
    error_floor_log : float
        The same of its log10, in dex.
    rank_error : float
        Largest error of a stellar flux in the low-rank product that couples stars and dust,
        relative to the flux of the whole model.
    threads : int
        Number of threads. Results do not depend on it.
    """

    method: str = "pruned"
    tolerance: float = 50.0
    additional_error: float = 0.1
    upper_limits: str = "noscaling"
    error_floor: float = 0.05
    error_floor_log: float = 0.02
    rank_error: float = 1e-9
    threads: int = 1

    def __post_init__(self):
        if self.method not in METHODS:
            raise ValueError(f"method is {self.method!r}: use one of {', '.join(METHODS)}")
        if self.upper_limits not in UPPER_LIMITS:
            raise ValueError(
                f"upper_limits is {self.upper_limits!r}: use one of {', '.join(UPPER_LIMITS)}"
            )
        for name in ("tolerance", "rank_error"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be above 0")
        for name in ("additional_error", "error_floor", "error_floor_log"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must not be negative")
        if self.threads < 1:
            raise ValueError(f"threads is {self.threads}: it must be at least 1")


@dataclass
class FitResult:
    """Posteriors of a table of observations.

    Attributes
    ----------
    names : tuple of str
        Quantities, in the order of the columns of `mean`.
    bands : tuple of str
        Bands, in the order of the columns of `band_mean`.
    mean, std : ndarray of shape (n_observation, n_quantity)
        Posterior mean and standard deviation, in the units of the grid's quantities for the scale
        of the observation (extensive quantities as seen from 10 pc).
    log_mean, log_std : ndarray of shape (n_observation, n_quantity)
        The same of log10 of the quantities that `want_log` names; NaN for the others, and for
        quantities that are 0 somewhere on the grid (CIGALE gives no number either).
    band_mean, band_std : ndarray of shape (n_observation, n_band)
        The same of the flux in every band of the grid, observed or not, in mJy.
    chi2, reduced_chi2 : ndarray of shape (n_observation,)
        Of the best model; reduced_chi2 = chi2 / (n_bands - 1), NaN for a single band.
    n_bands : ndarray of int, shape (n_observation,)
        Number of bands that were fitted, upper limits included.
    best_stellar, best_dust : ndarray of int, shape (n_observation,)
        Index of the best model's two factors, -1 where there is none.
    best_scale : ndarray of shape (n_observation,)
        Its scale a, the stellar mass formed in Msun as seen from 10 pc.
    status : ndarray of int, shape (n_observation,)
        0 fitted; 1 no usable band; 2 no model has a positive scale. Rows that are not 0 are NaN.
    n_counted : ndarray of int, shape (n_observation,)
        Number of models whose weight was computed.
    marginals : dict of str to (ndarray, ndarray)
        For each parameter of `want_marginals` its grid values and their probabilities, of shape
        (n_value,) and (n_observation, n_value).
    """

    names: tuple[str, ...]
    bands: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    log_mean: np.ndarray
    log_std: np.ndarray
    band_mean: np.ndarray
    band_std: np.ndarray
    chi2: np.ndarray
    reduced_chi2: np.ndarray
    n_bands: np.ndarray
    best_stellar: np.ndarray
    best_dust: np.ndarray
    best_scale: np.ndarray
    status: np.ndarray
    n_counted: np.ndarray
    marginals: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def best_flux(self, grid: FactorisedGrid) -> np.ndarray:
        """Return the best models' fluxes in mJy, of shape (n_observation, n_band)."""
        i, j = self.best_stellar, self.best_dust
        model = grid.stellar_flux[i] + grid.luminosity[i, None] * grid.dust_flux[j]
        return np.where(i[:, None] >= 0, self.best_scale[:, None] * model, np.nan)

    def best_quantity(self, grid: FactorisedGrid, name: str) -> np.ndarray:
        """Return a quantity of the best models, of shape (n_observation,).

        Raises
        ------
        KeyError
            If the grid has no quantity of this name.
        """
        quantity = next((q for q in grid.quantities if q.name == name), None)
        if quantity is None:
            raise KeyError(f"the grid has no quantity {name!r}")
        value = self.best_scale**quantity.power
        if quantity.stellar is not None:
            value = value * quantity.stellar[self.best_stellar]
        if quantity.dust is not None:
            value = value * quantity.dust[self.best_dust]
        return np.where(self.best_stellar >= 0, value, np.nan)

    def best_parameter(self, grid: FactorisedGrid, name: str) -> np.ndarray:
        """Return a grid parameter of the best models, of shape (n_observation,).

        Raises
        ------
        KeyError
            If the grid has no parameter of this name.
        """
        values, index = (
            (grid.stellar_parameters[name], self.best_stellar)
            if name in grid.stellar_parameters
            else (grid.dust_parameters[name], self.best_dust)
        )
        return np.where(index >= 0, np.asarray(values, float)[index], np.nan)


def fit(
    grid: FactorisedGrid,
    flux: np.ndarray,
    error: np.ndarray,
    options: FitOptions | None = None,
    *,
    want_log: Sequence[str] = (),
    want_marginals: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> FitResult:
    """Fit observations with every model of a grid.

    Parameters
    ----------
    grid : FactorisedGrid
        The models.
    flux : ndarray of shape (n_observation, n_band)
        Fluxes in mJy in the order of ``grid.bands``; NaN where missing. Negative fluxes are
        fitted like any other.
    error : ndarray of shape (n_observation, n_band)
        Errors in mJy; NaN or 0 where missing, negative for an upper limit.
    options : FitOptions, optional
        Default: `FitOptions()`.
    want_log : sequence of str
        Quantities of which mean and standard deviation of log10 are wanted too.
    want_marginals : sequence of str
        Parameters of the grid of which the whole posterior is wanted.
    progress : callable, optional
        Called as ``progress(done, total)`` after each block of observations.

    Returns
    -------
    FitResult
        One row an observation. A row that cannot be fitted is NaN and says why in `status`.

    Raises
    ------
    ValueError
        If shapes do not match the grid, or a name is not of the grid.

    Notes
    -----
    Models with a negative best scale (where negative fluxes dominate) have no likelihood: a
    galaxy of negative mass is no explanation. CIGALE keeps them as they come.
    """
    options = options or FitOptions()
    prepared = prepare(grid, options, want_log=want_log, want_marginals=want_marginals)
    return prepared.fit(flux, error, progress=progress)


def prepare(
    grid: FactorisedGrid,
    options: FitOptions | None = None,
    *,
    want_log: Sequence[str] = (),
    want_marginals: Sequence[str] = (),
) -> PreparedGrid:
    """Prepare a grid once for several calls of `PreparedGrid.fit`.

    Parameters and errors are those of `fit`.
    """
    return PreparedGrid(grid, options or FitOptions(), tuple(want_log), tuple(want_marginals))


class PreparedGrid:
    """A grid in dimensionless units with the low-rank coupling of stars and dust.

    The units: with phi[b] a flux of each band, r[i] the size of each stellar model and delta the
    size of the dust emission,

        S[i, b] = r[i] phi[b] s[i, b],  D[j, b] = delta phi[b] d[j, b],  L[i] = r[i] lam[i] / delta

    so that s and lam d are of order one and M[i, j, b] = r[i] phi[b] (s[i, b] + lam[i] d[j, b]).
    """

    def __init__(self, grid, options, want_log, want_marginals):
        _check_grid(grid)
        self.grid = grid
        self.options = options
        self.want_log = want_log
        self.want_marginals = want_marginals
        self.names = tuple(q.name for q in grid.quantities)
        unknown = [name for name in want_log if name not in self.names]
        if unknown:
            raise ValueError(f"want_log names {', '.join(unknown)}: no such quantity of the grid")
        parameters = {**grid.stellar_parameters, **grid.dust_parameters}
        unknown = [name for name in want_marginals if name not in parameters]
        if unknown:
            raise ValueError(
                f"want_marginals names {', '.join(unknown)}: no such parameter of the grid"
            )
        if options.method == "brute":
            self._brute = brute.BruteForce(grid)
            return
        self._set_units()
        self._set_coupling()
        self._set_quantities()

    def _set_units(self):
        stellar = np.asarray(self.grid.stellar_flux, float)
        dust = np.asarray(self.grid.dust_flux, float)
        luminosity = np.asarray(self.grid.luminosity, float)
        self.band_unit = _typical(stellar, axis=0)
        dusty = _typical(dust, axis=0)
        mixed = (self.band_unit > 0) & (dusty > 0)
        # Where stars do not shine at all the unit of a band is that of the dust.
        ratio = np.median(self.band_unit[mixed] / dusty[mixed]) if mixed.any() else 1.0
        self.band_unit = np.where(self.band_unit > 0, self.band_unit, dusty * ratio)
        self.band_unit[self.band_unit == 0] = 1.0
        stellar = stellar / self.band_unit
        shine = (stellar > 0).any(axis=0)
        size = stellar[:, shine].mean(axis=1) if shine.any() else np.zeros(len(stellar))
        dust = dust / self.band_unit
        positive = dust[dust > 0]
        self.dust_unit = np.median(positive) if positive.size else 1.0
        # A stellar model without any light is measured by its dust.
        size = np.where(size > 0, size, luminosity * self.dust_unit)
        self.stellar_unit = np.where(size > 0, size, 1.0)
        self.stellar = np.ascontiguousarray(stellar / self.stellar_unit[:, None])
        self.stellar_t = np.ascontiguousarray(self.stellar.T)
        self.dust_t = np.ascontiguousarray((dust / self.dust_unit).T)
        self.luminosity = luminosity * self.dust_unit / self.stellar_unit

    def _set_coupling(self):
        """Factorise the stellar fluxes of the bands in which dust shines too."""
        both = (self.stellar_t != 0).any(axis=1) & (self.dust_t != 0).any(axis=1)
        self.coupled = np.flatnonzero(both)
        stellar = self.stellar[:, self.coupled]
        dust = self.dust_t[self.coupled]
        faintest = np.where(dust > 0, dust, np.inf).min(axis=1)
        # The product enters chi2 times the luminosity, so an error counts relative to the flux
        # of stars and faintest dust together, and not at all where no light is absorbed.
        size = stellar + self.luminosity[:, None] * faintest
        size[self.luminosity == 0] = np.inf
        self.u, self.vectors, self.rank_error = low_rank(stellar, size, self.options.rank_error)

    def _set_quantities(self):
        """Sort the quantities by which marginal sums their moments need."""
        grid = self.grid
        factors = [(1, self.luminosity, 1.0 / self.dust_unit)]
        origin = [grid.luminosity]
        self.parts = []
        for q in grid.quantities:
            if q.dust is None:
                g = np.ones(len(self.luminosity)) if q.stellar is None else q.stellar
                g = g / self.stellar_unit if q.power else np.asarray(g, float)
                self.parts.append(("stellar", g, None))
                continue
            if q.power == 0 and q.stellar is None:
                self.parts.append(("dust", np.asarray(q.dust, float), None))
                continue
            g = np.ones(len(self.luminosity)) if q.stellar is None else q.stellar
            for f, known in enumerate(origin):
                if factors[f][0] == q.power and np.array_equal(known, g):
                    break
            else:
                f = len(factors)
                origin.append(g)
                hat = g / self.stellar_unit if q.power else np.asarray(g, float)
                unit = np.abs(hat).max() or 1.0
                factors.append((q.power, hat / unit, unit))
            self.parts.append(("product", np.asarray(q.dust, float), f))
        self.powers = np.array([power for power, _, _ in factors])
        self.factors = np.ascontiguousarray([hat for _, hat, _ in factors])
        self.factor_unit = np.array([unit for _, _, unit in factors])

    def fit(self, flux, error, *, progress=None) -> FitResult:
        """Fit observations; parameters, result and errors are those of `dustcast.sed.engine.fit`.

        Raises
        ------
        ValueError
            If the shapes do not match the grid.
        """
        flux, error = _check_observations(self.grid, flux, error)
        result = _empty_result(self, len(flux))
        weigh = _weigh(flux, error, self.options)
        one = self._fit_brute if self.options.method == "brute" else self._screen

        def block(first):
            for n in range(first, min(first + BLOCK, len(flux))):
                one(n, *(column[n] for column in weigh), result)
            return min(BLOCK, len(flux) - first)

        done = 0
        starts = range(0, len(flux), BLOCK)
        # An observation is fitted by one thread from start to end, so the number of threads
        # changes no sum.
        with ThreadPoolExecutor(self.options.threads) as pool:
            for count in pool.map(block, starts):
                done += count
                if progress is not None:
                    progress(done, len(flux))
        return result

    def _screen(self, n, flux, sigma, limit, result):
        grid = self.grid
        n_stellar, n_dust = len(self.luminosity), self.dust_t.shape[1]
        flux = flux / self.band_unit
        sigma = sigma / self.band_unit
        data = np.isfinite(sigma) & ~limit
        limits = np.flatnonzero(limit)
        result.n_bands[n] = data.sum() + len(limits)
        if not data.any():
            result.status[n] = NO_BAND
            return
        # The unit of the observation: a weighted typical flux.
        unit = np.abs(flux[data]).max() or sigma[data].max()
        flux, sigma = flux / unit, sigma / unit
        weight = np.where(data, 1.0 / np.where(data, sigma, 1.0) ** 2, 0.0)
        flux = np.where(data | limit, flux, 0.0)
        fs, ss = np.empty(n_stellar), np.empty(n_stellar)
        fd, dd = np.empty(n_dust), np.empty(n_dust)
        sd = np.empty((len(self.vectors), n_dust))
        kernels.stellar_sums(self.stellar_t, weight, flux, fs, ss)
        kernels.dust_sums(self.dust_t, weight, flux, self.coupled, self.vectors, fd, dd, sd)
        total = float(np.sum(weight * flux**2))
        n_factor = len(self.powers)
        sums = _Sums(
            w=np.zeros((4, n_stellar)),
            v0=np.zeros(n_dust),
            v=np.zeros((3, n_factor, n_dust)),
            y=np.zeros((len(self.vectors), n_dust)),
            squares=np.zeros(1 + n_factor),
        )
        best = np.empty(2)
        best_index = np.empty(2, np.int64)
        kernels.screen(
            fs,
            ss,
            self.luminosity,
            self.u,
            fd,
            dd,
            sd,
            total,
            self.stellar,
            self.dust_t,
            limits,
            flux[limits],
            sigma[limits],
            self.factors,
            self.powers,
            bool(self.want_log),
            sums.w,
            sums.v0,
            sums.v,
            sums.y,
            sums.squares,
            best,
            best_index,
        )
        if best_index[0] < 0:
            result.status[n] = NO_MODEL
            return
        result.chi2[n] = best[0]
        result.best_stellar[n], result.best_dust[n] = best_index
        result.best_scale[n] = unit * best[1] / self.stellar_unit[best_index[0]]
        result.n_counted[n] = grid.n_models
        self._contract(n, sums, unit, result)
        _finish(self, n, result)

    def _contract(self, n, sums, unit, result):
        """Turn marginal sums into moments of every quantity and band."""
        kept = np.flatnonzero(sums.w[0])
        z = sums.w[0, kept].sum()
        p = sums.w[0, kept] / z
        a = sums.w[1, kept] / sums.w[0, kept]
        # Mean and variance within a stellar model first: no large squares are subtracted.
        a_var = np.maximum(sums.w[2, kept] / sums.w[0, kept] - a**2, 0.0)
        dusts = np.flatnonzero(sums.v0)
        q = sums.v0[dusts] / z
        t = sums.v[0][:, dusts] / sums.v0[dusts]
        t_var = np.maximum(sums.v[1][:, dusts] / sums.v0[dusts] - t**2, 0.0)

        def stellar_moments(g, power):
            if power:
                return _moments(p, a, a_var, g)
            return _moments(p, np.ones_like(p), np.zeros_like(p), g)

        logs = _LogSums(self, sums, kept, dusts, z, p, q, unit) if self.want_log else None
        for c, (quantity, (kind, g, f)) in enumerate(zip(self.grid.quantities, self.parts)):
            if kind == "stellar":
                mean, std = stellar_moments(g[kept], quantity.power)
                scale = unit if quantity.power else 1.0
            elif kind == "dust":
                mean, std = _moments(q, np.ones_like(q), np.zeros_like(q), g[dusts])
                scale = 1.0
            else:
                mean, std = _moments(q, t[f], t_var[f], g[dusts])
                scale = self.factor_unit[f] * (unit if quantity.power else 1.0)
            result.mean[n, c] = scale * mean
            result.std[n, c] = abs(scale) * std
            if quantity.name in self.want_log:
                result.log_mean[n, c], result.log_std[n, c] = logs.moments(
                    quantity.power, kind, g, f
                )
        # Bands: F = x + y with x = a s and y = a lam d. The low-rank product enters only their
        # covariance, where its error is multiplied by the width of y and not by its size.
        for b in range(len(self.grid.bands)):
            x, x_std = stellar_moments(self.stellar_t[b, kept], 1)
            y, y_std = _moments(q, t[0], t_var[0], self.dust_t[b, dusts])
            result.band_mean[n, b] = unit * self.band_unit[b] * (x + y)
            result.band_std[n, b] = x_std**2 + y_std**2
            if b in self.coupled:
                vector = self.vectors[:, np.searchsorted(self.coupled, b)]
                xy = (vector @ sums.y[:, dusts]) @ self.dust_t[b, dusts] / z
                approximate = np.where(
                    self.luminosity[kept] > 0, self.u[kept] @ vector, self.stellar_t[b, kept]
                )
                low_rank_x = (p * a) @ approximate
                result.band_std[n, b] += 2.0 * (xy - low_rank_x * y)
            result.band_std[n, b] = (
                unit * self.band_unit[b] * np.sqrt(max(result.band_std[n, b], 0.0))
            )
        for name in self.want_marginals:
            if name in self.grid.stellar_parameters:
                _marginal(result, n, name, self.grid.stellar_parameters[name], sums.w[0] / z)
            else:
                _marginal(result, n, name, self.grid.dust_parameters[name], sums.v0 / z)

    def _fit_brute(self, n, flux, sigma, limit, result):
        """Fill one row of the result from the table of all models (`dustcast.sed.brute`)."""
        result.n_bands[n] = np.isfinite(sigma).sum()
        if not (np.isfinite(sigma) & ~limit).any():
            result.status[n] = NO_BAND
            return
        posterior = self._brute.posterior(flux, sigma, limit)
        if posterior is None:
            result.status[n] = NO_MODEL
            return
        result.chi2[n] = posterior.chi2
        result.best_stellar[n], result.best_dust[n] = posterior.best
        result.best_scale[n] = posterior.best_scale
        result.n_counted[n] = self.grid.n_models
        for c, quantity in enumerate(self.grid.quantities):
            result.mean[n, c], result.std[n, c] = posterior.quantity(quantity)
            if quantity.name in self.want_log:
                result.log_mean[n, c], result.log_std[n, c] = posterior.log_quantity(quantity)
        for b in range(len(self.grid.bands)):
            result.band_mean[n, b], result.band_std[n, b] = posterior.band(b)
        stellar, dust = posterior.marginals()
        for name in self.want_marginals:
            if name in self.grid.stellar_parameters:
                _marginal(result, n, name, self.grid.stellar_parameters[name], stellar)
            else:
                _marginal(result, n, name, self.grid.dust_parameters[name], dust)
        _finish(self, n, result)


@dataclass
class _Sums:
    """Marginal sums of one observation; shapes as in `kernels.screen`."""

    w: np.ndarray
    v0: np.ndarray
    v: np.ndarray
    y: np.ndarray
    squares: np.ndarray


class _LogSums:
    """Moments of log10 of quantities from the marginal sums of ln a."""

    def __init__(self, prepared, sums, kept, dusts, z, p, q, unit):
        self.prepared = prepared
        self.kept, self.dusts, self.p, self.q = kept, dusts, p, q
        self.ln_unit = np.log(unit)
        self.squares = sums.squares / z
        self.ln_a = sums.w[3, kept] / z
        self.ln_t = sums.v[2][:, dusts] / z

    def moments(self, power, kind, g, f):
        """Return mean and standard deviation of log10 of one quantity; NaN if it can be 0."""
        if not (g > 0).all() or (f is not None and not (self.prepared.factors[f] > 0).all()):
            return np.nan, np.nan
        weight, chosen = (self.p, self.kept) if kind == "stellar" else (self.q, self.dusts)
        ln_g = np.log(g[chosen])
        mean_g = weight @ ln_g
        variance = weight @ (ln_g - mean_g) ** 2
        mean = mean_g + self.ln_unit * power
        if (kind == "stellar" and power) or kind == "product":
            part = self.ln_a if kind == "stellar" else self.ln_t[f]
            square = self.squares[0 if kind == "stellar" else 1 + f]
            mean_t = part.sum()
            variance += square - mean_t**2 + 2.0 * (part - weight * mean_t) @ (ln_g - mean_g)
            mean += mean_t
            if kind == "product":
                mean += np.log(self.prepared.factor_unit[f])
        return mean / np.log(10.0), np.sqrt(max(variance, 0.0)) / np.log(10.0)


def low_rank(
    table: np.ndarray, size: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Factorise a table to a given error of every element.

    Parameters
    ----------
    table : ndarray of shape (n_row, n_column)
        Numbers to factorise.
    size : ndarray of shape (n_row, n_column)
        What the error of each element is relative to; rows of infinity may have any error.
    tolerance : float
        Largest relative error of an element.

    Returns
    -------
    u : ndarray of shape (n_row, rank)
    vectors : ndarray of shape (rank, n_column)
        Their product approximates `table`.
    error : float
        The largest relative error.
    """
    n_row, n_column = table.shape
    if n_column == 0 or not np.isfinite(size).any() or not table.any():
        return np.zeros((n_row, 0)), np.zeros((0, n_column)), 0.0
    # Columns of equal weight, in terms of the error that counts. Eigenvectors of the small Gram
    # matrix would lose half the digits; a QR does not.
    column = np.median(np.where(np.isfinite(size), size, np.nan)[np.isfinite(size[:, 0])], axis=0)
    weighted = table / column
    _, r = np.linalg.qr(weighted)
    _, _, vectors = np.linalg.svd(r, full_matrices=False)
    for rank in range(1, len(vectors) + 1):
        u = weighted @ vectors[:rank].T
        error = np.max(np.abs(u @ (vectors[:rank] * column) - table) / size)
        if error <= tolerance:
            break
    return np.ascontiguousarray(u), np.ascontiguousarray(vectors[:rank] * column), float(error)


def _moments(p, a, a_var, g):
    """Mean and standard deviation of a g, with a's mean and variance given for each g."""
    mean = p @ (a * g)
    variance = p @ ((a * g - mean) ** 2 + a_var * g**2)
    return mean, np.sqrt(variance)


def _marginal(result, n, name, parameter, probability):
    values, posterior = result.marginals[name]
    index = np.searchsorted(values, np.asarray(parameter, float))
    posterior[n] = np.bincount(index, weights=probability, minlength=len(values))


def _typical(table, axis):
    """Return the median of the positive numbers along an axis, 0 where there are none."""
    table = np.where(table > 0, table, np.nan)
    some = np.isfinite(table).any(axis=axis)
    out = np.zeros(len(some))
    out[some] = np.nanmedian(table[:, some], axis=axis)
    return out


def _check_grid(grid):
    n_stellar, n_band = np.shape(grid.stellar_flux)
    n_dust = len(grid.dust_flux)
    if n_band != len(grid.bands) or np.shape(grid.dust_flux) != (n_dust, n_band):
        raise ValueError(
            f"the grid has {len(grid.bands)} bands, stellar fluxes of shape "
            f"{np.shape(grid.stellar_flux)} and dust fluxes of shape {np.shape(grid.dust_flux)}"
        )
    if n_stellar == 0 or n_dust == 0:
        raise ValueError(f"the grid has {n_stellar} stellar and {n_dust} dust models")
    if np.shape(grid.luminosity) != (n_stellar,):
        raise ValueError(
            f"luminosity has shape {np.shape(grid.luminosity)} for {n_stellar} stellar models"
        )
    for name in ("stellar_flux", "luminosity", "dust_flux"):
        array = np.asarray(getattr(grid, name))
        if not (np.isfinite(array) & (array >= 0)).all():
            raise ValueError(f"{name} of the grid must be finite and not negative")
    for q in grid.quantities:
        if q.power not in (0, 1):
            raise ValueError(f"the power of {q.name} is {q.power}: it must be 0 or 1")
        for factor, size in ((q.stellar, n_stellar), (q.dust, n_dust)):
            if factor is not None and np.shape(factor) != (size,):
                raise ValueError(
                    f"a factor of {q.name} has shape {np.shape(factor)}, not {(size,)}"
                )
            if factor is not None and not np.isfinite(factor).all():
                raise ValueError(f"a factor of {q.name} is not finite everywhere")


def _check_observations(grid, flux, error):
    flux = np.atleast_2d(np.asarray(flux, float))
    error = np.atleast_2d(np.asarray(error, float))
    if flux.shape != error.shape or flux.shape[1] != len(grid.bands):
        raise ValueError(
            f"flux has shape {flux.shape} and error {error.shape}: both must be "
            f"(n_observation, {len(grid.bands)})"
        )
    return flux, error


def _weigh(flux, error, options):
    """Return flux, total error (NaN where not fitted) and the mask of upper limits."""
    known = np.isfinite(flux) & np.isfinite(error) & (error != 0)
    limit = known & (error < 0)
    sigma = np.hypot(error, options.additional_error * flux)
    # CIGALE adds the error to detections only: a limit's own error stays as given.
    sigma = np.where(limit, np.abs(error), np.where(known, sigma, np.nan))
    if options.upper_limits == "none":
        sigma[limit] = np.nan
        limit = np.zeros_like(limit)
    return flux, sigma, limit


def _empty_result(prepared, n_observation):
    grid = prepared.grid
    n_quantity, n_band = len(grid.quantities), len(grid.bands)

    def blank(*shape):
        return np.full((n_observation, *shape), np.nan)

    marginals = {}
    for name in prepared.want_marginals:
        table = grid.stellar_parameters if name in grid.stellar_parameters else grid.dust_parameters
        values = np.unique(np.asarray(table[name], float))
        marginals[name] = (values, blank(len(values)))
    return FitResult(
        names=prepared.names,
        bands=tuple(grid.bands),
        mean=blank(n_quantity),
        std=blank(n_quantity),
        log_mean=blank(n_quantity),
        log_std=blank(n_quantity),
        band_mean=blank(n_band),
        band_std=blank(n_band),
        chi2=blank(),
        reduced_chi2=blank(),
        n_bands=np.zeros(n_observation, int),
        best_stellar=np.full(n_observation, -1),
        best_dust=np.full(n_observation, -1),
        best_scale=blank(),
        status=np.full(n_observation, FITTED),
        n_counted=np.zeros(n_observation, int),
        marginals=marginals,
    )


def _finish(prepared, n, result):
    """Apply the error floors and reduce chi2, as CIGALE does."""
    options = prepared.options
    if result.n_bands[n] > 1:
        result.reduced_chi2[n] = result.chi2[n] / (result.n_bands[n] - 1)
    extensive = np.array([q.power == 1 for q in prepared.grid.quantities], bool)
    floor = np.where(extensive, options.error_floor * np.abs(result.mean[n]), 0.0)
    result.std[n] = np.maximum(result.std[n], floor)
    floor = np.where(extensive, options.error_floor_log, 0.0)
    result.log_std[n] = np.maximum(result.log_std[n], floor)
