"""Models beyond the tolerance that matter for a standard deviation."""

from __future__ import annotations

import math

import numpy as np

from dustcast.sed.kernels.bounds import (
    LARGEST_EXTENSION,
    any_near,
    find_runs,
    square_sum,
    tile_bounds,
)
from dustcast.sed.kernels.compiled import U, jit
from dustcast.sed.kernels.counting import count_runs
from dustcast.sed.kernels.lanes import N_LANE, load, sum_of
from dustcast.sed.kernels.layout import FULL, KEPT, TILE_U, row_at
from dustcast.sed.kernels.moments import moments, norm_of

# Deviation, in standard deviations, beyond which a value is extreme, and the fraction of its mean
# below which a value is taken to be one value.
ORDINARY = 20.0
ONE_VALUE = 1e-4
# Largest number of standard deviations whose products float32 holds.
MOST = 1e18


@jit
def count_extremes(grid, tables, obs, total, threshold, spent, guard, want_log, work):
    """Count models beyond the threshold in which a wanted value is extreme.

    A model that lies r standard deviations from the mean of some value adds w r^2 to its variance.
    With w = exp(-chi2 / 2) it can be left out as well as one at r = ORDINARY only if its chi2 is
    larger by 4 ln(r / ORDINARY). That extension is taken for the stellar and for the dust factor
    apart, from the moments of the models counted so far.

    Parameters
    ----------
    grid, tables, obs, want_log, work
        As `pruned`.
    total : float
        sum_b w f^2.
    threshold : float
        chi2 to which models have been counted.
    spent, guard : float
        What bounds allow for unknown parts of bands, and for rounding.
    """
    stellar = np.empty((2, tables.stellar_power.size))
    dust = np.empty((2, tables.dust_factor.size))
    factor = np.ones(grid.powers.size + 1)
    spreads(grid, tables, work, stellar, dust, factor)
    dust_extensions(tables, dust, factor, work)
    # (sqrt(T + x) + H)^2 lies below its tangent at x = 0.
    slope = 1.0 + math.sqrt(spent / threshold)
    tile_bounds(slope, work)
    most = square_sum(threshold, spent) + guard

    # A value's deviation is (linear a / a_best + constant) g - mean, in standard deviations.
    n_value = tables.stellar_power.size
    n_lane = -(-n_value // N_LANE) * N_LANE
    linear = np.zeros(n_lane, np.float32)
    constant = np.zeros(n_lane, np.float32)
    mean = np.zeros(n_lane, np.float32)
    for v in range(n_value):
        part = 1.0 / math.sqrt(stellar[1, v]) if stellar[1, v] > 0.0 else 0.0
        if tables.stellar_power[v] == 1:
            linear[v] = min(tables.coarse_unit[v] * part * work.best[1], MOST)
        else:
            constant[v] = min(tables.coarse_unit[v] * part, MOST)
        mean[v] = stellar[0, v] * part
    coarse = tables.coarse
    level = total - threshold
    factors, powers, groups = grid.factors, grid.powers, work.groups
    kept, bound, scale, t, variance = work.kept, work.bound, work.scale, work.t, work.variance
    best_scale = work.best[1]
    length = U(n_lane)
    n_run = 0
    for m in range(U(work.counts[KEPT])):
        i = U(kept[m])
        a = scale[m]
        room = most - bound[m]
        if not any_near(groups, t[m], variance[m], room + slope * LARGEST_EXTENSION):
            continue
        # A product with a dust factor grows with the stellar factor, too.
        growth = 1.0
        for f in range(U(powers.size)):
            value = abs(factors[f, i] * (a if powers[f] == 1 else 1.0))
            if value > 0.0:
                growth = max(growth, value / abs(factor[f]))
        further = 4.0 * math.log(growth) if growth > 1.0 else 0.0
        ratio = np.float32(min(a / best_scale, MOST))
        start = i * length
        squares = load(mean, U(0)) * np.float32(0.0)
        for v in range(U(0), length, TILE_U):
            part = load(linear, v) * ratio + load(constant, v)
            d = part * load(coarse, start + v) - load(mean, v)
            squares = squares + d * d
        square = float(sum_of(squares))
        own = extension_of(square, n_value)
        n_run = find_runs(m, room, slope, own, further, level, False, work, n_run)
        if n_run >= FULL:
            count_runs(grid, obs, n_run, total, level, want_log, work)
            n_run = 0
    count_runs(grid, obs, n_run, total, level, want_log, work)


@jit
def spreads(grid, tables, work, stellar, dust, factor):
    """Fill mean and variance of all values, the two parts of a band relative to the whole.

    `factor` is overwritten with the posterior means of the stellar factors, its last with 1.
    """
    covariance = np.empty(grid.coupled.size)
    moments(grid, tables, work, stellar, dust, covariance)
    n_band = grid.dust_t.shape[0]
    for b in range(n_band):
        stellar[1, b] += dust[1, b]
    for c in range(grid.coupled.size):
        stellar[1, grid.coupled[c]] += 2.0 * covariance[c]
    for b in range(n_band):
        dust[1, b] = stellar[1, b]
    # Narrower than this fraction of the mean, a posterior sits on one value.
    for found in (stellar, dust):
        for v in range(found.shape[1]):
            found[1, v] = max(found[1, v], (ONE_VALUE * found[0, v]) ** 2)
    norm = norm_of(work)
    for f in range(grid.powers.size):
        factor[f] = 0.0
        for place in range(work.order.size):
            factor[f] += row_at(grid, work, 1 + 3 * f, place)
        factor[f] /= norm
    factor[grid.powers.size] = 1.0


@jit
def dust_extensions(tables, dust, factor, work):
    """Fill `work.d_extension`, which is negative where no value of a dust model is extreme."""
    for j in range(work.d_extension.size):
        square = 0.0
        for v in range(tables.dust_factor.size):
            if dust[1, v] > 0.0:
                d = factor[tables.dust_factor[v]] * tables.dust[j, v] - dust[0, v]
                square = max(square, d * d / dust[1, v])
        work.d_extension[j] = extension_of(square, 0)


@jit
def extension_of(square, n_value):
    """Return 4 ln(r / ORDINARY) of a sum of squared deviations of several values."""
    return min(2.0 * math.log(square / (ORDINARY * ORDINARY + n_value) + 1e-9), LARGEST_EXTENSION)
