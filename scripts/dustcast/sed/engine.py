"""Exact Bayesian fits of every model of a factorised grid.

`fit` compares observations with all models of a `FactorisedGrid` as CIGALE's pdf_analysis does
(Boquien et al. 2019, A&A 622, A103, section 4): the scale of each model is the best one, its
likelihood exp(-chi2 / 2), the prior flat over the grid, and a quantity's estimate the mean and
standard deviation of its posterior. It never makes an array of stellar times dust models; how, and
why nothing is lost, is in docs/method-fits.md.
"""

from __future__ import annotations

import contextlib
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
        positive = ("tolerance", "rank_error")
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be above 0")
        not_negative = ("additional_error", "error_floor", "error_floor_log")
        for name in not_negative:
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must not be negative")
        for name in (*positive, *not_negative):
            # A configuration may say 50: for an integer kernels would be compiled anew.
            object.__setattr__(self, name, float(getattr(self, name)))
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
    n_counted, n_evaluated : ndarray of int, shape (n_observation,)
        Number of models whose weight was summed, and of those whose chi2 was compared with the
        tolerance.
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
    n_evaluated: np.ndarray
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
        self.marginal_values, self.marginal_index = {}, {}
        for name in want_marginals:
            self.marginal_values[name], self.marginal_index[name] = np.unique(
                np.asarray(parameters[name], float), return_inverse=True
            )
        if options.method == "brute":
            self._brute = brute.BruteForce(grid)
            return
        self._set_units()
        self._set_coupling()
        self._set_quantities()
        self.kernel_grid = kernels.Grid(
            stellar=self.stellar,
            coarse_t=np.ascontiguousarray(self.stellar_t, np.float32),
            shine=np.ascontiguousarray(self.stellar[:, self.coupled]),
            luminosity=self.luminosity,
            u=self.u,
            vectors=self.vectors,
            coarse_u=np.ascontiguousarray(self.u[:, : kernels.COARSE_RANK], np.float32),
            coarse_error=self.coarse_error,
            coupled=self.coupled,
            dust_t=self.dust_t,
            factors=self.factors,
            powers=self.powers,
        )
        # Memory that fits have used before: fresh pages cost more than the sums of one fit.
        self._works = []
        # Bounds are exact, chi2 has the error of the low-rank product and of rounding.
        self.slack = 4.0 * self.rank_error + 1e-12

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
        self.stellar_t = self.stellar.T
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
        u, vectors, self.rank_error = low_rank(stellar, size, self.options.rank_error)
        self.rank = len(vectors)
        # The kernels sum eight terms at a time.
        more = max(8, -(-self.rank // 8) * 8) - self.rank
        self.u = np.ascontiguousarray(np.pad(u, ((0, 0), (0, more))))
        self.vectors = np.ascontiguousarray(np.pad(vectors, ((0, more), (0, 0))))
        # The screen uses the first columns only, in float32: its own error of each stellar model.
        u, vectors = self.u[:, : kernels.COARSE_RANK], self.vectors[: kernels.COARSE_RANK]
        lost = np.abs(u @ vectors - stellar)
        lost += 2 * kernels.COARSE_RANK * kernels.ROUNDING * (np.abs(u) @ np.abs(vectors))
        self.coarse_error = np.max(lost / size, axis=1, initial=0.0)

    def _set_quantities(self):
        """Sort the quantities by which marginal sums their moments need."""
        grid = self.grid
        factors = [(1, self.luminosity, 1.0 / self.dust_unit)]
        origin = [grid.luminosity]
        n_band = len(grid.bands)
        # The bands come first, as stellar and as dust values.
        stellar = [self.stellar]
        stellar_power = [1] * n_band
        dust = [self.dust_t.T]
        dust_factor = [0] * n_band
        self.columns = []
        for q in grid.quantities:
            ones = np.ones(len(self.luminosity))
            g = ones if q.stellar is None else np.asarray(q.stellar, float)
            hat = g / self.stellar_unit if q.power else g
            if q.dust is None:
                self.columns.append(("stellar", len(stellar_power), 1.0))
                stellar.append(hat[:, None])
                stellar_power.append(q.power)
                continue
            f, unit = -1, 1.0
            if q.power or q.stellar is not None:
                for f, known in enumerate(origin):
                    if factors[f][0] == q.power and np.array_equal(known, g):
                        break
                else:
                    f = len(factors)
                    origin.append(g)
                    unit = np.abs(hat).max() or 1.0
                    factors.append((q.power, hat / unit, unit))
                unit = factors[f][2]
            self.columns.append(("dust", len(dust_factor), unit))
            dust.append(np.asarray(q.dust, float)[:, None])
            dust_factor.append(f)
        self.powers = np.array([power for power, _, _ in factors])
        self.factors = np.ascontiguousarray([hat for _, hat, _ in factors])
        stellar, dust = np.hstack(stellar), np.hstack(dust)
        logs = self._set_logs(stellar, dust, dust_factor)
        largest = np.abs(stellar).max(axis=0, initial=0.0)
        largest[largest == 0] = 1.0
        coarse = kernels.rows_of_lanes(stellar / largest)
        self.tables = kernels.Tables(
            stellar=np.ascontiguousarray(stellar),
            stellar_power=np.array(stellar_power),
            coarse=coarse,
            coarse_unit=largest,
            dust=np.ascontiguousarray(dust),
            dust_factor=np.array(dust_factor),
            stellar_log=logs["stellar"][0],
            stellar_log_power=np.array(stellar_power)[logs["stellar"][1]],
            dust_log=logs["dust"][0],
            dust_log_factor=np.array(dust_factor)[logs["dust"][1]],
        )
        # Those of a parameter follow from the weights alone: sums of logarithms, which make a fit
        # three times as long, are of scales and of factors.
        self.sum_logs = bool(
            self.tables.stellar_log_power.any() or (self.tables.dust_log_factor >= 0).any()
        )

    def _set_logs(self, stellar, dust, dust_factor):
        """Take the logarithms of the factors of the quantities that `want_log` names."""
        values = {"stellar": stellar, "dust": dust}
        chosen = {"stellar": [], "dust": []}
        self.log_columns = []
        for q, (kind, column, unit) in zip(self.grid.quantities, self.columns):
            if q.name not in self.want_log:
                continue
            positive = (values[kind][:, column] > 0).all()
            if kind == "dust" and dust_factor[column] >= 0:
                positive &= (self.factors[dust_factor[column]] > 0).all()
            if positive:
                place = self.names.index(q.name)
                self.log_columns.append((place, kind, len(chosen[kind]), unit, q.power))
                chosen[kind].append(column)
        return {
            kind: (np.ascontiguousarray(np.log(values[kind][:, columns])), np.array(columns, int))
            for kind, columns in chosen.items()
        }

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
        one = self._fit_brute if self.options.method == "brute" else self._fit_compiled

        def block(first):
            work = None
            if self.options.method != "brute":
                work = self._works.pop() if self._works else kernels.work_space(self.kernel_grid)
            for n in range(first, min(first + BLOCK, len(flux))):
                one(n, *(column[n] for column in weigh), result, work)
            if work is not None:
                self._works.append(work)
            return min(BLOCK, len(flux) - first)

        done = 0
        starts = range(0, len(flux), BLOCK)
        # An observation is fitted by one thread from start to end, so the number of threads
        # changes no sum.
        with contextlib.ExitStack() as stack:
            run = map
            if self.options.threads > 1:
                run = stack.enter_context(ThreadPoolExecutor(self.options.threads)).map
            for count in run(block, starts):
                done += count
                if progress is not None:
                    progress(done, len(flux))
        return result

    def _fit_compiled(self, n, flux, sigma, limit, result, work):
        """Fill one row of the result with the compiled kernels."""
        flux = flux / self.band_unit
        sigma = sigma / self.band_unit
        data = np.isfinite(sigma) & ~limit
        limits = np.flatnonzero(limit)
        result.n_bands[n] = data.sum() + len(limits)
        if not data.any():
            result.status[n] = NO_BAND
            return
        # The unit of the observation: its largest flux.
        unit = np.abs(flux[data]).max() or sigma[data].max()
        flux, sigma = flux / unit, sigma / unit
        weight = np.where(data, 1.0 / np.where(data, sigma, 1.0) ** 2, 0.0)
        observation = kernels.Observation(
            flux=np.where(data, flux, 0.0),
            weight=weight,
            limits=limits,
            limit_flux=flux[limits],
            limit_error=sigma[limits],
        )
        if self.options.method == "screen":
            kernels.screen(self.kernel_grid, observation, np.inf, self.sum_logs, work)
        else:
            kernels.pruned(
                self.kernel_grid,
                self.tables,
                observation,
                self.options.tolerance,
                self.slack,
                self.sum_logs,
                work,
            )
        if work.best_index[0] < 0:
            result.status[n] = NO_MODEL
            return
        i, j = work.best_index
        result.best_stellar[n], result.best_dust[n] = i, j
        # The best model anew from its residuals, without the rounding of the low-rank product.
        model = self.stellar[i] + self.luminosity[i] * self.dust_t[:, j]
        scale = weight @ (observation.flux * model) / (weight @ model**2)
        chi2 = weight @ (observation.flux - scale * model) ** 2
        result.chi2[n] = chi2 + kernels.limit_term(self.kernel_grid, observation, i, j, scale)
        result.best_scale[n] = unit * scale / self.stellar_unit[i]
        result.n_counted[n] = work.counts[kernels.COUNTED]
        result.n_evaluated[n] = work.counts[kernels.EVALUATED]
        self._contract(n, work, unit, result)
        _finish(self, n, result)

    def _contract(self, n, work, unit, result):
        """Turn marginal sums into moments of every quantity and band."""
        tables = self.tables
        stellar = np.empty((2, len(tables.stellar_power)))
        dust = np.empty((2, len(tables.dust_factor)))
        covariance = np.empty(len(self.coupled))
        kernels.moments(self.kernel_grid, tables, work, stellar, dust, covariance)
        # A flux is the sum of its stellar and its dust part.
        n_band = len(self.band_unit)
        variance = stellar[1, :n_band] + dust[1, :n_band]
        variance[self.coupled] += 2.0 * covariance
        result.band_mean[n] = unit * self.band_unit * (stellar[0, :n_band] + dust[0, :n_band])
        result.band_std[n] = unit * self.band_unit * np.sqrt(np.maximum(variance, 0.0))
        found = {"stellar": stellar, "dust": dust}
        for place, (quantity, (kind, column, scale)) in enumerate(
            zip(self.grid.quantities, self.columns)
        ):
            scale = scale * unit if quantity.power else scale
            result.mean[n, place] = scale * found[kind][0, column]
            result.std[n, place] = scale * np.sqrt(found[kind][1, column])
        if self.log_columns:
            stellar = np.empty((2, len(tables.stellar_log_power)))
            dust = np.empty((2, len(tables.dust_log_factor)))
            kernels.log_moments(self.kernel_grid, tables, work, stellar, dust)
            found = {"stellar": stellar, "dust": dust}
            for place, kind, column, scale, power in self.log_columns:
                scale = scale * unit if power else scale
                mean, variance = found[kind][:, column]
                result.log_mean[n, place] = (mean + np.log(scale)) / np.log(10.0)
                result.log_std[n, place] = np.sqrt(variance) / np.log(10.0)
        kept = work.kept[: work.counts[kernels.KEPT]]
        for name, (_, posterior) in result.marginals.items():
            index = self.marginal_index[name]
            if name in self.grid.stellar_parameters:
                index, weight = index[kept], work.w[0, : len(kept)]
            else:
                weight = work.rows.reshape(-1, 1 + 3 * len(self.powers), kernels.TILE)[:, 0].ravel()
                index, weight = index[work.order], weight[: len(work.order)]
            histogram = np.bincount(index, weights=weight, minlength=posterior.shape[1])
            posterior[n] = histogram / histogram.sum()

    def _fit_brute(self, n, flux, sigma, limit, result, work):
        """Fill one row of the result from the table of all models (`dustcast.sed.brute`)."""
        result.n_bands[n] = np.isfinite(sigma).sum()
        if not (np.isfinite(sigma) & ~limit).any():
            result.status[n] = NO_BAND
            return
        posterior = self._brute.posterior(flux, sigma, limit)
        if posterior is None:
            result.status[n] = NO_MODEL
            return
        result.chi2[n] = posterior.chi2[posterior.best]
        result.best_stellar[n], result.best_dust[n] = posterior.best
        result.best_scale[n] = posterior.best_scale
        result.n_counted[n] = result.n_evaluated[n] = self.grid.n_models
        for c, quantity in enumerate(self.grid.quantities):
            result.mean[n, c], result.std[n, c] = posterior.quantity(quantity)
            if quantity.name in self.want_log:
                result.log_mean[n, c], result.log_std[n, c] = posterior.log_quantity(quantity)
        for b in range(len(self.grid.bands)):
            result.band_mean[n, b], result.band_std[n, b] = posterior.band(b)
        stellar, dust = posterior.marginals()
        for name, (_, marginal) in result.marginals.items():
            weight = stellar if name in self.grid.stellar_parameters else dust
            marginal[n] = np.bincount(
                self.marginal_index[name], weights=weight, minlength=marginal.shape[1]
            )
        _finish(self, n, result)


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

    marginals = {
        name: (values, blank(len(values))) for name, values in prepared.marginal_values.items()
    }
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
        n_evaluated=np.zeros(n_observation, int),
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
