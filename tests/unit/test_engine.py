"""The fit engine against brute force, its bounds against every model, and its edges."""

from __future__ import annotations

import functools
from dataclasses import replace

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_ndtr
from synthetic_grid import BANDS, FIR, UVMIR, synthetic_grid

from dustcast.sed import engine, kernels
from dustcast.sed.brute import BruteForce
from dustcast.sed.engine import FitOptions, fit, prepare
from dustcast.sed.kernels import bounds, compiled, counting, lanes, screening, search, sums
from dustcast.sed.spec import FactorisedGrid, Quantity

# No floors, so that standard deviations can be compared.
PLAIN = FitOptions(error_floor=0.0, error_floor_log=0.0)
BRUTE = replace(PLAIN, method="brute")
SCREEN = replace(PLAIN, method="screen")
N_REGIME = 200


@functools.cache
def called(kernel):
    """Return a kernel that has no wrapper for Python as one that can be called."""
    options = {k: v for k, v in kernel.targetoptions.items() if k in ("fastmath", "error_model")}
    return numba.njit(**options)(kernel.py_func)


@pytest.fixture(scope="module")
def grid():
    return synthetic_grid()


@pytest.fixture(scope="module")
def prepared(grid):
    return prepare(grid, PLAIN)


@pytest.fixture(scope="module")
def reference(grid):
    return prepare(grid, BRUTE)


def observe(grid, regime, n=N_REGIME, seed=0):
    """Return fluxes and errors of random models with a smooth misfit and noise."""
    rng = np.random.default_rng([seed, *regime.encode()])
    i = rng.integers(len(grid.luminosity), size=n)
    j = rng.integers(len(grid.dust_flux), size=n)
    flux = grid.stellar_flux[i] + grid.luminosity[i, None] * grid.dust_flux[j]
    # Any distance: mJy over twelve decades.
    flux = flux * 10 ** rng.uniform(-6, 6, (n, 1))
    phase = np.linspace(0, 1, flux.shape[1]) * np.pi
    for k in range(1, 4):
        flux *= np.exp(0.05 * rng.normal(size=(n, 1)) * np.sin(k * phase))
    signal_to_noise = np.full(flux.shape, 10.0)
    if regime == "low_sn":
        signal_to_noise = rng.uniform(1, 6, flux.shape)
    if regime == "negative":
        signal_to_noise = rng.uniform(0.3, 3, flux.shape)
    error = flux / signal_to_noise
    flux = flux + error * rng.normal(size=flux.shape)
    far = np.isin(grid.bands, FIR)
    if regime == "far_infrared_missing":
        missing = far & (rng.random(flux.shape) < 0.75)
        flux[missing] = np.nan
    if regime == "uv_mir":
        flux[:, far] = np.nan
    if regime == "misfit":
        # Factors of several in random bands: no model comes near.
        flux *= np.exp(2.0 * rng.normal(size=flux.shape))
        error = np.abs(flux) / rng.uniform(30, 100, flux.shape)
    if regime == "upper_limits":
        limit = rng.random(flux.shape) < 0.25
        flux = np.where(limit, np.abs(flux) * rng.uniform(0.5, 3, flux.shape), flux)
        error = np.where(limit, -np.abs(error), error)
    if regime == "negative":
        flux = np.where(rng.random(flux.shape) < 0.15, -np.abs(flux), flux)
    if regime == "one_band":
        only = rng.integers(flux.shape[1], size=n)
        flux[np.arange(flux.shape[1]) != only[:, None]] = np.nan
    return flux, error


REGIMES = [
    *("full", "far_infrared_missing", "uv_mir", "low_sn"),
    *("misfit", "upper_limits", "negative", "one_band"),
]
# The added 10% would hide a misfit.
EXTRA = {"misfit": 0.01}


def on_one_value(posterior, values, best):
    """Whether all but 1e-4 of the posterior has the value of the best model, to 1e-5 of it."""
    near = np.abs(values - best) <= 1e-5 * abs(best)
    return posterior.weight[near].sum() > 1 - 1e-4


def largest(grid, result):
    """Return the largest value of each quantity at the scale of each best model."""
    columns = [
        result.best_scale**q.power
        * np.max(np.abs(q.stellar) if q.stellar is not None else 1.0)
        * np.max(np.abs(q.dust) if q.dust is not None else 1.0)
        for q in grid.quantities
    ]
    return np.transpose(columns)


def compare(grid, flux, error, options, found, expected):
    """Assert the accuracy that the engine promises on every quantity and band."""
    table = None
    posteriors = {}
    _, sigma, limit = engine._weigh(flux, error, options)
    for kind in ("", "band_"):
        mean, std = getattr(found, f"{kind}mean"), getattr(found, f"{kind}std")
        mean_0, std_0 = getattr(expected, f"{kind}mean"), getattr(expected, f"{kind}std")
        # Where the posterior is one model, what is left is the error of its scale: that of the
        # low-rank product. Brute force drops weights below 1e-40: a mean of 0 may be that small.
        allowed = 1e-5 * std_0 + options.rank_error * np.abs(mean_0)
        top = np.nanmax(mean_0, axis=1, keepdims=True) if kind else largest(grid, expected)
        allowed = np.where(mean_0 == 0, 1e-30 * top, allowed)
        wrong = np.argwhere(~(np.abs(mean - mean_0) <= allowed))
        assert not len(wrong), [(kind, *at, mean[*at], mean_0[*at], std_0[*at]) for at in wrong]
        for n, c in np.argwhere(~(np.abs(std - std_0) <= 1e-4 * std_0)):
            table = table or BruteForce(grid)
            if n not in posteriors:
                posteriors[n] = table.posterior(flux[n], sigma[n], limit[n])
            posterior = posteriors[n]
            if kind:
                values = posterior.scale * table.flux[c][posterior.stellar, posterior.dust]
                best = posterior.best_scale * table.flux[c][posterior.best]
            else:
                values = posterior.values(grid.quantities[c])
                best = expected.best_quantity(grid, grid.quantities[c].name)[n]
            assert on_one_value(posterior, values, best), (kind, n, c, std[n, c], std_0[n, c])


@pytest.mark.parametrize("regime", REGIMES)
def test_pruned_fit_agrees_with_brute_force(grid, prepared, reference, regime):
    flux, error = observe(grid, regime)
    extra = EXTRA.get(regime, 0.1)
    options = replace(PLAIN, additional_error=extra)
    mine, theirs = prepared, reference
    if extra != 0.1:
        mine = prepare(grid, options)
        theirs = prepare(grid, replace(BRUTE, additional_error=extra))
    found, expected = mine.fit(flux, error), theirs.fit(flux, error)
    assert (expected.status == engine.FITTED).all()
    np.testing.assert_array_equal(found.status, expected.status)
    np.testing.assert_array_equal(found.n_bands, expected.n_bands)
    np.testing.assert_allclose(found.chi2, expected.chi2, rtol=1e-7, atol=1e-6)
    if regime == "misfit":
        assert np.median(expected.chi2) > 2000
    if regime == "negative":
        assert (flux < 0).any(axis=1).all()
    compare(grid, flux, error, options, found, expected)


@pytest.mark.parametrize("regime", ["full", "uv_mir", "upper_limits"])
def test_full_screen_agrees_with_brute_force(grid, reference, regime):
    flux, error = observe(grid, regime, n=10, seed=1)
    found = fit(grid, flux, error, SCREEN)
    compare(grid, flux, error, SCREEN, found, reference.fit(flux, error))
    assert (found.n_counted == grid.n_models).all()


def test_best_model_is_that_of_brute_force(grid, prepared, reference):
    flux, error = observe(grid, "low_sn", n=30, seed=2)
    found, expected = prepared.fit(flux, error), reference.fit(flux, error)
    np.testing.assert_array_equal(found.best_stellar, expected.best_stellar)
    np.testing.assert_array_equal(found.best_dust, expected.best_dust)
    np.testing.assert_allclose(found.best_scale, expected.best_scale, rtol=1e-8)
    # The best model's fluxes give back chi2.
    sigma = np.hypot(error, 0.1 * flux)
    chi2 = np.sum(((flux - found.best_flux(grid)) / sigma) ** 2, axis=1)
    np.testing.assert_allclose(found.chi2, chi2, rtol=1e-8)
    np.testing.assert_allclose(found.reduced_chi2, chi2 / (len(BANDS) - 1), rtol=1e-8)
    np.testing.assert_array_equal(
        found.best_parameter(grid, "umin"),
        grid.dust_parameters["umin"][found.best_dust],
    )
    np.testing.assert_allclose(
        found.best_quantity(grid, "dust.mass"), expected.best_quantity(grid, "dust.mass"), rtol=1e-8
    )


def test_logarithms_agree_with_brute_force(grid):
    """A quantity that is 0 on the grid has no logarithm; all others agree."""
    names = [q.name for q in grid.quantities]
    flux, error = observe(grid, "low_sn", n=20, seed=3)
    bright = replace(grid, luminosity=np.maximum(grid.luminosity, 1e20))
    quantities = [
        replace(q, stellar=bright.luminosity) if q.stellar is grid.luminosity else q
        for q in grid.quantities
    ]
    bright = replace(bright, quantities=tuple(quantities))
    for each in (grid, bright):
        found = fit(each, flux, error, PLAIN, want_log=names)
        expected = fit(each, flux, error, BRUTE, want_log=names)
        np.testing.assert_array_equal(np.isnan(found.log_mean), np.isnan(expected.log_mean))
        known = ~np.isnan(expected.log_mean)
        allowed = 1e-5 * expected.log_std[known] + 1e-12 * np.abs(expected.log_mean[known])
        assert (np.abs(found.log_mean - expected.log_mean)[known] <= allowed).all()
        wide = known & (expected.log_std > 1e-3)
        np.testing.assert_allclose(found.log_std[wide], expected.log_std[wide], rtol=1e-4)
        mass = names.index("dust.mass")
        assert known[:, mass].all() == (each is bright)
    assert known[:, names.index("stellar.lum")].all()


def test_logarithms_of_parameters_need_no_sums_of_logarithms(grid):
    flux, error = observe(grid, "low_sn", n=20, seed=3)
    place = [q.name for q in grid.quantities].index("dust.umin")
    alone = prepare(grid, PLAIN, want_log=["dust.umin"])
    assert not alone.sum_logs
    assert prepare(grid, PLAIN, want_log=["dust.umin", "stellar.m_star"]).sum_logs
    expected = fit(grid, flux, error, BRUTE, want_log=["dust.umin"])
    for options in (PLAIN, SCREEN):
        found = fit(grid, flux, error, options, want_log=["dust.umin"])
        std = expected.log_std[:, place]
        assert (np.abs(found.log_mean - expected.log_mean)[:, place] <= 1e-5 * std + 1e-12).all()
        wide = std > 1e-3
        np.testing.assert_allclose(found.log_std[wide, place], std[wide], rtol=1e-4)


def test_logarithms_are_given_only_where_asked_for(grid):
    flux, error = observe(grid, "full", n=2)
    found = fit(grid, flux, error, want_log=["stellar.m_star"])
    asked = [q.name == "stellar.m_star" for q in grid.quantities]
    np.testing.assert_array_equal(np.isfinite(found.log_mean), [asked, asked])


def test_marginals_are_the_posterior_of_a_parameter(grid):
    flux, error = observe(grid, "uv_mir", n=10, seed=4)
    names = ["umin", "qhac", "E_BVs_young"]
    found = fit(grid, flux, error, PLAIN, want_marginals=names)
    expected = fit(grid, flux, error, BRUTE, want_marginals=names)
    assert list(found.marginals) == names
    for name in names:
        values, probability = found.marginals[name]
        np.testing.assert_array_equal(values, expected.marginals[name][0])
        np.testing.assert_allclose(probability, expected.marginals[name][1], atol=1e-8)
        np.testing.assert_allclose(probability.sum(axis=1), 1.0, rtol=1e-12)
    umin = [q.name for q in grid.quantities].index("dust.umin")
    values, probability = found.marginals["umin"]
    np.testing.assert_allclose(probability @ values, found.mean[:, umin], rtol=1e-10)


def test_products_with_any_stellar_factor(grid):
    """Quantities a^p g h whose g is not the luminosity have sums of their own."""
    mass, umean = grid.quantities[0].stellar, grid.dust_parameters["umin"]
    some = (
        Quantity("mass.times.field", 1, stellar=mass, dust=umean),
        Quantity("scale.times.field", 1, dust=umean),
        Quantity("age.times.field", 0, stellar=grid.stellar_parameters["age"], dust=umean),
        Quantity("luminosity.intensive", 0, stellar=grid.luminosity, dust=umean),
        Quantity("negative", 1, stellar=-mass, dust=umean),
        Quantity("nothing", 0),
    )
    own = replace(grid, quantities=some)
    flux, error = observe(grid, "low_sn", n=10, seed=5)
    names = [q.name for q in some]
    found, expected = (fit(own, flux, error, o, want_log=names) for o in (PLAIN, BRUTE))
    compare(own, flux, error, PLAIN, found, expected)
    np.testing.assert_array_equal(np.isnan(found.log_mean), np.isnan(expected.log_mean))
    np.testing.assert_allclose(found.log_mean, expected.log_mean, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.log_std, expected.log_std, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("power", [-25, -12, 12, 25])
def test_fluxes_of_any_scale(grid, prepared, power):
    """Fits do not depend on the distance: scale, means and errors follow the fluxes."""
    flux, error = observe(grid, "uv_mir", n=4, seed=6)
    near = prepared.fit(flux, error)
    far = prepared.fit(flux * 10.0**power, error * 10.0**power)
    np.testing.assert_allclose(far.chi2, near.chi2, rtol=1e-9)
    np.testing.assert_allclose(far.band_mean, near.band_mean * 10.0**power, rtol=1e-9)
    extensive = np.array([q.power for q in grid.quantities], float)
    np.testing.assert_allclose(far.mean, near.mean * 10 ** (power * extensive), rtol=1e-9)
    np.testing.assert_allclose(far.std, near.std * 10 ** (power * extensive), rtol=1e-6)


def test_error_is_that_of_the_observation_and_of_the_models(grid):
    """additional_error is a fraction of the flux in quadrature."""
    flux, error = observe(grid, "full", n=3, seed=7)
    total = fit(grid, flux, np.hypot(error, 0.3 * flux), replace(PLAIN, additional_error=0.0))
    added = fit(grid, flux, error, replace(PLAIN, additional_error=0.3))
    np.testing.assert_allclose(added.mean, total.mean, rtol=1e-9)


def test_floors_hold_for_extensive_quantities_only(grid):
    flux, error = observe(grid, "full", n=5, seed=8)
    names = [q.name for q in grid.quantities]
    plain = fit(grid, flux, error, PLAIN, want_log=names)
    floor = fit(
        grid, flux, error, FitOptions(error_floor=10.0, error_floor_log=3.0), want_log=names
    )
    extensive = np.array([q.power == 1 for q in grid.quantities])
    expected = np.maximum(plain.std, 10 * np.abs(plain.mean))
    np.testing.assert_array_equal(floor.std[:, extensive], expected[:, extensive])
    np.testing.assert_array_equal(floor.std[:, ~extensive], plain.std[:, ~extensive])
    known = np.isfinite(plain.log_std)
    np.testing.assert_array_equal(floor.log_std[known & extensive], 3.0)
    np.testing.assert_array_equal(
        floor.log_std[known & ~extensive], plain.log_std[known & ~extensive]
    )
    np.testing.assert_array_equal(floor.band_std, plain.band_std)


def test_upper_limits_are_left_out_on_request(grid):
    flux, error = observe(grid, "upper_limits", n=5, seed=9)
    without = np.where(error < 0, np.nan, flux)
    found = fit(grid, flux, error, replace(PLAIN, upper_limits="none"))
    expected = fit(grid, without, np.abs(error), PLAIN)
    np.testing.assert_array_equal(found.mean, expected.mean)
    np.testing.assert_array_equal(found.n_bands, expected.n_bands)


def test_rows_that_cannot_be_fitted_are_flagged(grid):
    flux, error = observe(grid, "full", n=5)
    flux[0] = np.nan
    error[1] = 0.0
    error[2] = -np.abs(error[2])
    flux[3] = -np.abs(flux[3])
    for options in (PLAIN, SCREEN, BRUTE):
        found = fit(grid, flux, error, options, want_log=["sfh.sfr"], want_marginals=["umin"])
        np.testing.assert_array_equal(
            found.status, [engine.NO_BAND] * 3 + [engine.NO_MODEL, engine.FITTED]
        )
        for name in ("mean", "std", "band_mean", "band_std", "chi2", "reduced_chi2", "best_scale"):
            assert np.isnan(getattr(found, name)[:4]).all()
            assert np.isfinite(getattr(found, name)[4:]).all()
        assert np.isnan(found.marginals["umin"][1][:4]).all()
        assert (found.best_stellar[:4] == -1).all()
        assert np.isnan(found.best_flux(grid)[:4]).all()
        assert np.isnan(found.best_quantity(grid, "sfh.sfr")[:4]).all()
        assert np.isnan(found.best_parameter(grid, "age")[:4]).all()
    assert fit(grid, flux[:0], error[:0]).mean.shape == (0, len(grid.quantities))


def test_one_band_has_no_reduced_chi2(grid, prepared):
    flux, error = observe(grid, "one_band", n=3)
    found = prepared.fit(flux, error)
    np.testing.assert_allclose(found.chi2, 0.0, atol=1e-9)
    assert np.isnan(found.reduced_chi2).all()


@pytest.mark.parametrize("method", ["pruned", "screen"])
def test_threads_do_not_change_a_bit(grid, method):
    flux, error = observe(grid, "far_infrared_missing", n=20, seed=10)
    one, three = (fit(grid, flux, error, FitOptions(method=method, threads=t)) for t in (1, 3))
    for name in ("mean", "std", "band_mean", "band_std", "chi2", "best_stellar", "best_scale"):
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))


def test_an_observation_does_not_depend_on_its_neighbours(grid, prepared):
    flux, error = observe(grid, "low_sn", n=12, seed=11)
    together = prepared.fit(flux, error)
    alone = prepared.fit(flux[7:8], error[7:8])
    np.testing.assert_array_equal(together.mean[7], alone.mean[0])


def test_progress_is_told(grid, prepared):
    flux, error = observe(grid, "full", n=20)
    told = []
    prepared.fit(flux, error, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (20, 20)
    assert sorted(told) == told


def test_errors_fall_with_the_tolerance(grid):
    flux, error = observe(grid, "low_sn", n=20, seed=12)
    worst = []
    exact = fit(grid, flux, error, SCREEN)
    for tolerance in (10.0, 20.0, 40.0):
        found = fit(grid, flux, error, replace(PLAIN, tolerance=tolerance))
        worst.append(np.nanmax(np.abs(found.band_mean - exact.band_mean) / exact.band_std))
    assert worst[0] > worst[1] > worst[2]
    assert worst[2] < 1e-3


# --- bounds ---------------------------------------------------------------------------------

positive = st.floats(1e-3, 1e3)


@st.composite
def problems(draw):
    """A small random grid, with zeros in all places that may have them, and an observation."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_band = draw(st.integers(1, 9))
    n_stellar, n_dust = draw(st.integers(1, 60)), draw(st.integers(1, 70))
    rank = draw(st.integers(1, 4))
    spread = draw(st.sampled_from([0.1, 0.5, 2.0]))
    shapes = np.exp(spread * rng.normal(size=(rank, n_band)))
    stellar = np.exp(spread * rng.normal(size=(n_stellar, rank))) @ shapes
    dust = np.exp(spread * rng.normal(size=(n_dust, n_band)))
    kind = rng.integers(4, size=n_band)
    stellar[:, kind == 0] = 0.0
    dust[:, kind == 1] = 0.0
    luminosity = np.exp(rng.normal(size=n_stellar)) * (rng.random(n_stellar) < 0.8)
    i, j = rng.integers(n_stellar), rng.integers(n_dust)
    flux = stellar[i] + luminosity[i] * dust[j]
    noise = draw(st.sampled_from([0.01, 0.1, 0.5, 2.0]))
    error = np.maximum(noise * flux, 1e-3)
    flux = flux + error * rng.normal(size=n_band) * draw(st.sampled_from([0.5, 1.0, 5.0]))
    flux[rng.random(n_band) < 0.15] = np.nan
    error[rng.random(n_band) < 0.15] *= -1
    factor = rng.random(n_dust)
    grid = FactorisedGrid(
        bands=tuple(f"b{b}" for b in range(n_band)),
        stellar_flux=stellar,
        luminosity=luminosity,
        dust_flux=dust,
        quantities=(
            Quantity("mass", 1),
            Quantity("luminosity", 1, stellar=luminosity),
            Quantity("dust", 1, stellar=luminosity, dust=factor),
            Quantity("factor", 0, dust=factor),
        ),
    )
    return grid, flux[None], error[None], draw(st.sampled_from([1.0, 10.0, 50.0]))


@settings(max_examples=300, deadline=None)
@given(problems(), st.sampled_from([0.0, 0.1]))
def test_no_model_within_the_tolerance_is_left_out(problem, extra):
    """Every model with chi2 <= smallest + tolerance is counted, and none far beyond."""
    grid, flux, error, tolerance = problem
    options = replace(PLAIN, tolerance=tolerance, additional_error=extra)
    found = fit(grid, flux, error, options)
    _, sigma, limit = engine._weigh(flux, error, options)
    if not (np.isfinite(sigma) & ~limit).any():
        assert found.status[0] == engine.NO_BAND
        return
    posterior = BruteForce(grid).posterior(flux[0], sigma[0], limit[0])
    if posterior is None:
        assert found.status[0] == engine.NO_MODEL
        return
    smallest = posterior.chi2[posterior.best]
    # chi2 = sum w f^2 - num^2 / den rounds at the size of its terms.
    total = np.nansum(np.where(limit, 0.0, flux / sigma)[0] ** 2)
    blur = 1e-8 + 1e-8 * total
    np.testing.assert_allclose(found.chi2[0], smallest, atol=blur)
    assert found.n_counted[0] >= np.sum(posterior.chi2 <= smallest + tolerance - blur)
    if not limit.any():
        # Models with an extreme value are counted further out; limits are added after the count.
        farthest = smallest + tolerance + bounds.LARGEST_EXTENSION + blur
        assert found.n_counted[0] <= np.sum(posterior.chi2 <= farthest)


@settings(max_examples=100, deadline=None)
@given(problems())
def test_small_random_grids_agree_with_brute_force(problem):
    grid, flux, error, _ = problem
    found, expected = (fit(grid, flux, error, o) for o in (SCREEN, BRUTE))
    np.testing.assert_array_equal(found.status, expected.status)
    if expected.status[0] == engine.FITTED:
        compare(grid, flux, error, PLAIN, found, expected)


def observation_of(prepared, flux, sigma):
    """Return what the kernels see of an observation without upper limits."""
    fitted = np.isfinite(sigma[0])
    units = prepared.band_unit
    return kernels.Observation(
        flux=np.where(fitted, flux[0] / units, 0.0),
        weight=np.where(fitted, (units / np.where(fitted, sigma[0], 1.0)) ** 2, 0.0),
        limits=np.zeros(0, int),
        limit_flux=np.zeros(0),
        limit_error=np.zeros(0),
    )


@settings(max_examples=100, deadline=None)
@given(problems(), st.floats(0.1, 1e4), st.integers(-12, 12))
def test_the_screen_loses_no_model(problem, threshold, power):
    """In float32 and at a low rank no tile is passed over that holds a model of interest."""
    grid, flux, error, _ = problem
    flux, error = flux * 10.0**power, np.abs(error) * 10.0**power
    _, sigma, limit = engine._weigh(flux, error, PLAIN)
    posterior = (
        BruteForce(grid).posterior(flux[0], sigma[0], limit[0]) if (sigma > 0).any() else None
    )
    if posterior is None:
        return
    prepared = prepare(grid, PLAIN)
    given = prepared.kernel_grid
    observation = observation_of(prepared, flux, sigma)
    work = kernels.work_space(given)
    total = np.sum(observation.weight * observation.flux**2)
    called(search.reset)(given, observation, total, work)
    n_tile = np.uint64(-(-len(grid.dust_flux) // kernels.TILE))
    for i in range(len(grid.luminosity)):
        place, lam = np.uint64(i), given.luminosity[i]
        fs, ss = called(sums.stellar_sums)(
            given.stellar, observation.flux, observation.weight, place
        )
        called(screening.set_coefficients)(
            work.coefficients, work.units, given.coarse_u, place, lam, fs, ss
        )
        level, below = called(screening.coarse_level)(
            total - threshold, total, given.coarse_error[i]
        )
        n = called(screening.screen_tiles)(
            *(work.coarse, work.coefficients, level, below, np.uint64(0), n_tile, work.hits)
        )
        needed = np.flatnonzero(posterior.chi2[i] <= threshold - 1e-9 * total) // kernels.TILE
        assert set(needed) <= set(work.hits[:n].tolist())


@settings(max_examples=100, deadline=None)
@given(problems(), st.floats(1.0, 200.0))
def test_each_bound_is_a_bound(problem, threshold):
    """Bounds 1 to 3 of docs/method-fits.md, for every model with chi2 below the threshold."""
    grid, flux, error, _ = problem
    error = np.abs(error)
    _, sigma, limit = engine._weigh(flux, error, PLAIN)
    if not np.isfinite(sigma).any():
        return
    posterior = BruteForce(grid).posterior(flux[0], sigma[0], limit[0])
    if posterior is None:
        return
    prepared = prepare(grid, PLAIN)
    units = prepared.band_unit
    fitted = np.isfinite(sigma[0])
    observation = observation_of(prepared, flux, sigma)
    inside = np.argwhere(posterior.chi2 <= threshold)
    reach = np.empty(len(units))
    called(bounds.dust_reach)(prepared.kernel_grid, observation, threshold, reach)
    n_stellar, n_dust = posterior.chi2.shape
    coarse = [np.empty(n_stellar, np.float32) for _ in range(3)]
    d_bound, d_scale, d_curvature = (np.empty(n_dust) for _ in range(3))
    chosen = np.zeros(len(units), bool)
    chosen[fitted] = reach[fitted] * np.sqrt(observation.weight[fitted]) < 2.0
    middle = np.where(chosen, 0.5 * reach, 0.0)
    weighed, scale_unit, curvature_unit = called(bounds.stellar_bounds)(
        prepared.kernel_grid, observation, chosen, middle, *coarse
    )
    bound, scale, curvature = np.array(coarse, float)
    scale, curvature = scale * scale_unit, curvature * curvature_unit
    rest = fitted & ~chosen
    zero = np.zeros(len(units))
    called(bounds.dust_bounds)(
        prepared.kernel_grid, observation, rest, zero, d_bound, d_scale, d_curvature
    )
    width = np.sqrt(np.sum((0.5 * reach[chosen]) ** 2 * observation.weight[chosen]))
    for i, j in inside:
        model = grid.stellar_flux[i] + grid.luminosity[i] * grid.dust_flux[j]
        weight = np.where(fitted, 1.0 / np.where(fitted, sigma[0], 1.0) ** 2, 0.0)
        a = np.sum(weight * np.where(fitted, flux[0], 0.0) * model) / np.sum(weight * model**2)
        emission = a * grid.luminosity[i] * grid.dust_flux[j] / units
        assert (emission <= reach * (1 + 1e-9) + 1e-12).all()
        # The stars alone, at the model's own scale.
        a_hat = a * prepared.stellar_unit[i]
        root = (np.sqrt(threshold) + width) ** 2
        root += called(bounds.rounding_of)(weighed, root, len(units)) + 1e-7
        assert bound[i] + curvature[i] * (a_hat - scale[i]) ** 2 <= root * (1 + 1e-9)
        # The dust alone where stars are known exactly: its own bound never exceeds chi2 there.
        star = a * grid.stellar_flux[i] / units
        residual = np.where(rest, observation.flux - star, 0.0)
        alone = np.sum(observation.weight * (residual - emission) ** 2 * rest)
        t = a_hat * prepared.luminosity[i]
        exact = np.empty((3, n_dust))
        called(bounds.dust_bounds)(prepared.kernel_grid, observation, rest, star, *exact)
        lower = exact[0][j] + exact[2][j] * (t - exact[1][j]) ** 2
        assert lower <= alone * (1 + 1e-9) + 1e-7


def test_pruning_evaluates_little_and_gives_up_where_it_cannot_help(grid, prepared):
    flux, error = observe(grid, "full", n=20, seed=13)
    found = prepared.fit(flux, error)
    assert found.n_counted.mean() < 0.1 * grid.n_models
    assert found.n_evaluated.mean() < 0.2 * grid.n_models
    # Errors ten times the flux: nothing can be left out.
    found = prepared.fit(flux, 10 * np.abs(flux))
    assert (found.n_evaluated >= found.n_counted).all()
    assert (found.n_counted > 0.4 * grid.n_models).any()


def test_whole_numbers_of_a_configuration_compile_nothing_anew(grid):
    flux, error = observe(grid, "full", n=1)
    fit(grid, flux, error, FitOptions(tolerance=50.0, additional_error=0.0))
    before = list(kernels.pruned.signatures)
    fit(grid, flux, error, FitOptions(tolerance=50, additional_error=0))
    assert list(kernels.pruned.signatures) == before


# --- parts ----------------------------------------------------------------------------------


def test_low_rank_product_keeps_its_word(grid):
    for tolerance in (1e-3, 1e-6, 1e-9):
        own = prepare(grid, replace(PLAIN, rank_error=tolerance))
        assert own.rank_error <= tolerance
        product = own.u @ own.vectors
        dusty = own.luminosity > 0
        faintest = own.dust_t[own.coupled].min(axis=1)
        exact = own.stellar[:, own.coupled]
        size = exact + own.luminosity[:, None] * faintest
        assert (np.abs(product - exact) / size)[dusty].max() <= tolerance
    assert own.u.shape[1] > 2


def test_log_of_the_normal_distribution():
    x = np.concatenate([np.linspace(-60, 8, 2000), [-1e4, -1e8]])
    found = np.array([called(counting.log_normal_cdf)(v) for v in x])
    np.testing.assert_allclose(found, log_ndtr(x), rtol=3e-9, atol=1e-15)


@compiled.entry
def _exponentials(x, out):
    for k in range(0, x.size, lanes.N_LANE):
        lanes.store(out, k, counting.exp_minus(lanes.load(x, k)))


def test_exponential_by_vector_arithmetic():
    x = np.concatenate([[0.0, 1e-300, 1e-9, 599.0], np.random.default_rng(0).uniform(0, 600, 1004)])
    found = np.empty_like(x)
    _exponentials(x, found)
    np.testing.assert_allclose(found, np.exp(-x), rtol=2e-15 * 600)
    assert found[0] == 1.0


@pytest.mark.parametrize("bands", [UVMIR[:3], FIR, ("SPIRE_250",)])
def test_grids_without_one_of_the_two(bands):
    """Bands without dust, a grid of one model, and stars that do not shine."""
    grid = synthetic_grid(bands=bands)
    flux, error = observe(grid, "full", n=5, seed=14)
    compare(
        *(grid, flux, error, PLAIN),
        *(fit(grid, flux, error, o) for o in (PLAIN, BRUTE)),
    )
    dark = replace(grid, stellar_flux=np.zeros_like(grid.stellar_flux))
    found, expected = (fit(dark, flux, error, o) for o in (PLAIN, BRUTE))
    np.testing.assert_array_equal(found.status, expected.status)
    fitted = expected.status == engine.FITTED
    np.testing.assert_allclose(found.band_mean[fitted], expected.band_mean[fitted], rtol=1e-5)
    one = replace(
        grid,
        stellar_flux=grid.stellar_flux[-1:],
        luminosity=grid.luminosity[-1:],
        dust_flux=grid.dust_flux[:1],
        quantities=(),
    )
    found = fit(one, flux, error)
    assert found.mean.shape == (5, 0)
    np.testing.assert_allclose(found.band_std, 0.0, atol=1e-6 * found.band_mean.max())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "magic"}, "method is 'magic'"),
        ({"upper_limits": "full"}, "upper_limits is 'full'"),
        ({"tolerance": 0.0}, "tolerance is 0.0"),
        ({"additional_error": -0.1}, "additional_error is -0.1"),
        ({"threads": 0}, "threads is 0"),
    ],
)
def test_options_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        FitOptions(**change)


def test_input_is_checked(grid):
    flux, error = observe(grid, "full", n=2)
    with pytest.raises(ValueError, match="flux has shape"):
        fit(grid, flux[:, :5], error)
    with pytest.raises(ValueError, match="want_log names nonsense"):
        fit(grid, flux, error, want_log=["nonsense"])
    with pytest.raises(ValueError, match="want_marginals names nonsense"):
        fit(grid, flux, error, want_marginals=["nonsense"])
    with pytest.raises(ValueError, match="must be finite and not negative"):
        fit(replace(grid, luminosity=-grid.luminosity), flux, error)
    with pytest.raises(ValueError, match="luminosity has shape"):
        fit(replace(grid, luminosity=grid.luminosity[:3]), flux, error)
    with pytest.raises(ValueError, match="power of x is 2"):
        fit(replace(grid, quantities=(Quantity("x", 2),)), flux, error)
    with pytest.raises(ValueError, match="a factor of x has shape"):
        fit(replace(grid, quantities=(Quantity("x", 1, dust=np.ones(3)),)), flux, error)
    with pytest.raises(KeyError, match="no quantity 'x'"):
        fit(grid, flux, error).best_quantity(grid, "x")
