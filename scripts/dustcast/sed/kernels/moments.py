"""Marginal sums turned into means and variances."""

from __future__ import annotations

import numpy as np

from dustcast.sed.kernels.compiled import U, entry, jit, strict, strict_entry
from dustcast.sed.kernels.layout import KEPT, TILE, row_at


@jit
def norm_of(work):
    """Return the sum of all weights."""
    norm = 0.0
    for m in range(work.counts[KEPT]):
        norm += work.w[0, m]
    return norm


@jit
def add_values(table, linear, constant, reference, mean, variance, i, p, a, spread):
    """Add one stellar model to the moments of all values, less their reference."""
    for v in range(U(mean.size)):
        g = table[i, v]
        d = (linear[v] * a + constant[v]) * g - reference[v]
        mean[v] += p * d
        variance[v] += p * (d * d + linear[v] * spread * (g * g))


@entry
def moments(grid, tables, work, stellar, dust, covariance):
    """Turn marginal sums into means and variances.

    Values are summed from that of the best model on, and within a model by mean and variance, so
    that no large squares are subtracted.

    Parameters
    ----------
    grid : Grid
    tables : Tables
    work : Work
        With the sums of an observation.
    stellar : ndarray of shape (2, n_stellar_value)
        Mean and variance of each value a^p g; overwritten.
    dust : ndarray of shape (2, n_dust_value)
        Mean and variance of each value t h; overwritten.
    covariance : ndarray of shape (n_coupled,)
        Of the stellar and the dust flux in the coupled bands; overwritten.
    """
    norm = norm_of(work)
    best, best_dust = work.best_index
    table, w, kept = tables.stellar, work.w, work.kept
    mean, variance = stellar[0], stellar[1]
    stellar[:] = 0.0
    linear = np.where(tables.stellar_power == 1, 1.0, 0.0)
    constant = 1.0 - linear
    reference = (linear * work.best[1] + constant) * table[best]
    for m in range(U(work.counts[KEPT])):
        weight = w[0, m]
        if weight > 0.0:
            a = w[1, m] / weight
            spread = max(w[2, m] / weight - a * a, 0.0)
            i = U(kept[m])
            p = weight / norm
            add_values(table, linear, constant, reference, mean, variance, i, p, a, spread)
    finish(stellar, reference)

    # Each factor adds to the values that it goes with; without one the factor is 1.
    n_factor = grid.powers.size
    table = tables.dust
    dust[:] = 0.0
    reference = np.empty(tables.dust_factor.size)
    t = np.ones(n_factor + 1)
    spread = np.zeros(n_factor + 1)
    for f in range(n_factor):
        t[f] = grid.factors[f, best] * (work.best[1] if grid.powers[f] == 1 else 1.0)
    for v in range(reference.size):
        reference[v] = t[tables.dust_factor[v]] * table[best_dust, v]
    for place in range(work.order.size):
        weight = row_at(grid, work, 0, place)
        if weight > 0.0:
            j = work.order[place]
            p = weight / norm
            for f in range(n_factor):
                t[f] = row_at(grid, work, 1 + 3 * f, place) / weight
                spread[f] = max(row_at(grid, work, 2 + 3 * f, place) / weight - t[f] * t[f], 0.0)
            for v in range(reference.size):
                f = tables.dust_factor[v]
                h = table[j, v]
                d = t[f] * h - reference[v]
                dust[0, v] += p * d
                dust[1, v] += p * (d * d + spread[f] * h * h)
    finish(dust, reference)
    for c in range(grid.coupled.size):
        b = grid.coupled[c]
        cross = np.sum(work.cross[c * TILE : c * TILE + TILE])
        covariance[c] = cross / norm - stellar[0, b] * dust[0, b]


@jit
def finish(found, reference):
    """Turn mean and mean square of offsets from a reference into mean and variance."""
    for v in range(reference.size):
        found[1, v] = max(found[1, v] - found[0, v] * found[0, v], 0.0)
        found[0, v] += reference[v]


@strict_entry
def log_moments(grid, tables, work, stellar, dust):
    """Turn marginal sums into means and variances of natural logarithms.

    Parameters
    ----------
    grid, tables, work
        As `moments`.
    stellar : ndarray of shape (2, n_stellar_log)
        Mean and variance of p ln a + ln g; overwritten.
    dust : ndarray of shape (2, n_dust_log)
        Mean and variance of ln t + ln h; overwritten.
    """
    norm = norm_of(work)
    n_kept, n_dust = work.counts[KEPT], work.order.size
    weight, first = work.w[0, :n_kept], work.w[3, :n_kept]
    mean_a = np.sum(first) / norm
    variance_a = work.squares[0] / norm - mean_a * mean_a
    for v in range(tables.stellar_log_power.size):
        power = tables.stellar_log_power[v]
        table, index, best = tables.stellar_log[:, v], work.kept[:n_kept], work.best_index[0]
        log_moment(
            *(table, index, best, weight, first, norm),
            *(power, power * mean_a, power * variance_a, stellar[:, v]),
        )
    weight, first = np.empty(n_dust), np.zeros(n_dust)
    for place in range(n_dust):
        weight[place] = row_at(grid, work, 0, place)
    for v in range(tables.dust_log_factor.size):
        f = tables.dust_log_factor[v]
        power, mean_t, variance_t = 0, 0.0, 0.0
        if f >= 0:
            power = 1
            for place in range(n_dust):
                first[place] = row_at(grid, work, 3 + 3 * f, place)
            mean_t = np.sum(first) / norm
            variance_t = work.squares[1 + f] / norm - mean_t * mean_t
        table, best = tables.dust_log[:, v], work.best_index[1]
        log_moment(
            *(table, work.order, best, weight, first, norm),
            *(power, mean_t, variance_t, dust[:, v]),
        )


@strict
def log_moment(table, index, best, weight, first, norm, power, mean_t, variance_t, out):
    """Fill mean and variance of ln t + ln h from the sums of weight and of weight * ln t.

    Parameters
    ----------
    table : ndarray of shape (n_model,)
        ln h.
    index : ndarray of int, shape (n_place,)
        The model at each place.
    best : int
        The best model, from whose value on ln h is summed.
    weight, first : ndarray of shape (n_place,)
        Sums of w and of w ln t.
    norm : float
        Sum of all w.
    power : int
        0 for values without t.
    mean_t, variance_t : float
        Of ln t.
    out : ndarray of shape (2,)
        Overwritten.
    """
    mean = 0.0
    square = 0.0
    cross = 0.0
    for m in range(index.size):
        h = table[index[m]] - table[best]
        mean += weight[m] * h
        square += weight[m] * h * h
        if power:
            cross += (first[m] - weight[m] * mean_t) * h
    mean /= norm
    out[0] = mean + table[best] + mean_t
    out[1] = max(variance_t + square / norm - mean * mean + 2.0 * cross / norm, 0.0)
