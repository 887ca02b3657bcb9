"""The fit of one observation: every model of a grid, or all that may matter."""

from __future__ import annotations

import math

import numpy as np

from dustcast.sed.kernels.bounds import (
    LARGEST_EXTENSION,
    NONE,
    choose,
    dust_reach,
    dust_side,
    find_runs,
    keep,
    rounding_of,
    square_sum,
    stellar_bounds,
    tile_bounds,
)
from dustcast.sed.kernels.compiled import U, entry, jit
from dustcast.sed.kernels.counting import count_runs, improve
from dustcast.sed.kernels.extremes import count_extremes
from dustcast.sed.kernels.layout import FULL, GIVEN_UP, KEPT, TILE
from dustcast.sed.kernels.sums import arrange_emission, arrange_sums, dust_sums, stellar_sums

# Dust models of like luminosity that are sorted by their bound.
WIDE = 8 * TILE
# Slices of dust luminosity of which the likeliest stellar models are tried first.
SLICES = 128
# How much further from the best one a stellar model may be to be tried.
LIKELY = 30.0
# Squared width, in sigma, that the unknown part of a band may have to enter a bound.
WIDTH = 0.15
# Fraction of the grid above which pruning is not worth its tests.
WORTH = 0.4
# One in so many stellar models is tried to predict that fraction.
SAMPLE = 16


@jit
def reset(grid, obs, total, work):
    """Forget the last observation; the dust models are in the order of the grid."""
    work.rows[:] = 0.0
    work.cross[:] = 0.0
    work.squares[:] = 0.0
    work.best[0] = np.inf
    work.best[1] = 0.0
    work.best_index[:] = -1
    work.counts[:] = 0
    work.d_extension[:] = 0.0
    for j in range(work.order.size):
        work.order[j] = j
    dust_sums(grid, obs, work)
    arrange_sums(total, work)


@jit
def n_tile_of(work):
    """Return the number of tiles that hold a dust model."""
    return U((work.order.size + TILE - 1) // TILE)


@entry
def screen(grid, obs, tolerance, want_log, work):
    """Add up every model of the grid, in two passes: the smallest chi2, then the weights.

    Parameters
    ----------
    grid : Grid
    obs : Observation
    tolerance : float
        Models above the smallest chi2 by more have no weight; infinity counts every model.
    want_log : bool
        Whether to sum logarithms.
    work : Work
        Its sums are overwritten.
    """
    total = np.sum(obs.weight * obs.flux * obs.flux)
    reset(grid, obs, total, work)
    arrange_emission(grid, work)
    n_tile = n_tile_of(work)
    work.coarse_bound[:] = np.float32(0.0)
    keep(grid, np.inf, 0.0, 0.0, work)
    for i in range(U(work.counts[KEPT])):
        fs, ss = stellar_sums(grid.stellar, obs.flux, obs.weight, i)
        improve(grid, obs, i, U(0), n_tile, fs, ss, total, work)
    if work.best_index[0] >= 0:
        level = total - (work.best[0] + tolerance)
        count_all(grid, obs, total, level, np.inf, want_log, work)


@jit
def count_all(grid, obs, total, level, most, want_log, work):
    """Count the models of all kept stellar models whose bound is not above `most`."""
    n_run = 0
    for m in range(U(work.counts[KEPT])):
        if not (work.bound[m] > most):
            work.runs[n_run, 0] = m
            work.runs[n_run, 1] = 0
            work.runs[n_run, 2] = n_tile_of(work)
            work.levels[n_run] = level
            n_run += 1
        if n_run == FULL:
            count_runs(grid, obs, n_run, total, np.inf, want_log, work)
            n_run = 0
    count_runs(grid, obs, n_run, total, np.inf, want_log, work)


@jit
def first_guess(grid, obs, total, work):
    """Find a small chi2: the likeliest stellar model of each slice of dust luminosity, all dust.

    Only `work.best` and `work.best_index` change; any model at all gives a valid upper bound.
    """
    bound, scale, luminosity = work.coarse_bound, work.coarse_scale, grid.luminosity
    least = np.float32(np.inf)
    for i in range(bound.size):
        least = min(least, bound[i])
    # Memory that is not used yet: fresh pages cost more than the search.
    likely = work.kept
    n = 0
    for i in range(bound.size):
        likely[n] = i
        if bound[i] < least + np.float32(LIKELY):
            n += 1
    low = np.inf
    high = 0.0
    for i in likely[:n]:
        t = scale[i] * luminosity[i]
        high = max(high, t)
        if t > 0.0:
            low = min(low, t)
    winner = np.full(SLICES + 1, -1)
    step = SLICES / max(math.log(high / low), 1e-3) if high > 0.0 else 0.0
    for i in likely[:n]:
        t = scale[i] * luminosity[i]
        q = SLICES if t <= 0.0 else min(int(step * math.log(t / low)), SLICES - 1)
        if winner[q] < 0 or bound[i] < bound[winner[q]]:
            winner[q] = i
    for i in winner:
        if i >= 0:
            fs, ss = stellar_sums(grid.stellar, obs.flux, obs.weight, U(i))
            improve(grid, obs, U(i), U(0), n_tile_of(work), fs, ss, total, work)


@jit
def sort_dust(work):
    """Put dust models of like luminosity together, and among them those of like bound."""
    order = np.argsort(work.d_scale, kind="mergesort")
    for first in range(0, order.size, WIDE):
        part = order[first : first + WIDE]
        work.order[first : first + WIDE] = part[np.argsort(work.d_bound[part], kind="mergesort")]


@entry
def pruned(grid, tables, obs, tolerance, slack, want_log, work):
    """Add up all models within `tolerance` of the smallest chi2, leaving out what cannot be.

    Parameters
    ----------
    grid : Grid
    tables : Tables
        The values whose moments are wanted: models in which one of them is extreme are counted to
        a larger chi2 (`count_extremes`).
    obs : Observation
    tolerance : float
        Delta in chi2.
    slack : float
        Rounding of chi2, as a fraction of sum_b w f^2, that bounds allow for.
    want_log : bool
        Whether to sum logarithms.
    work : Work
        Its sums are overwritten.
    """
    total = np.sum(obs.weight * obs.flux * obs.flux)
    reset(grid, obs, total, work)
    n_band = obs.weight.size
    fitted = obs.weight > 0.0
    sigma = np.where(fitted, 1.0 / np.sqrt(np.where(fitted, obs.weight, 1.0)), np.inf)

    # 1. Bounds of the stellar models alone. They hold for models with chi2 <= threshold; begin
    # with a threshold that suits a good fit, and repeat if no model meets it.
    threshold = tolerance + 3.0 * np.sum(fitted) + LARGEST_EXTENSION
    reach = np.empty(n_band)
    stellar_bands = np.zeros(n_band, np.bool_)
    while True:
        dust_reach(grid, obs, threshold, reach)
        width = np.where(fitted, 0.5 * reach / sigma, np.inf)
        spent = choose(width, fitted, WIDTH, stellar_bands)
        rest, scale_unit, curvature_unit = stellar_bounds(
            *(grid, obs, stellar_bands, 0.5 * reach),
            *(work.coarse_bound, work.coarse_scale, work.coarse_curvature),
        )
        first_guess(grid, obs, total, work)
        if max(work.best[0], 0.0) + tolerance + LARGEST_EXTENSION <= threshold:
            break
        if work.best_index[0] < 0:
            # No model found yet has a positive scale; all must be tried.
            screen(grid, obs, tolerance, want_log, work)
            return
        threshold = max(work.best[0], 0.0) + tolerance + LARGEST_EXTENSION

    # 2. The stellar models that are left.
    threshold = max(work.best[0], 0.0) + tolerance + LARGEST_EXTENSION
    guard = slack * total + rounding_of(rest, square_sum(threshold, spent), n_band)
    farthest = square_sum(threshold, spent) + guard
    keep(grid, farthest, scale_unit, curvature_unit, work)

    # 3. Bounds of the dust models.
    spent += dust_side(grid, tables, obs, sigma, stellar_bands, farthest, WIDTH, work)
    sort_dust(work)
    arrange_sums(total, work)
    arrange_emission(grid, work)
    tile_bounds(0.0, work)

    # 4. The smallest chi2.
    n_kept, bound = U(work.counts[KEPT]), work.bound
    runs, fs, ss, kept, best = work.runs, work.fs, work.ss, work.kept, work.best
    for m in range(n_kept):
        room = square_sum(max(best[0], 0.0), spent) + guard - bound[m]
        if room < 0.0:
            continue
        n_run = find_runs(m, room, 0.0, 0.0, NONE, 0.0, True, work, 0)
        if n_run:
            i = U(kept[m])
            fs[m], ss[m] = stellar_sums(grid.stellar, obs.flux, obs.weight, i)
        for k in range(n_run):
            improve(grid, obs, i, runs[k, 1], runs[k, 2], fs[m], ss[m], total, work)

    # 5. The weights of all models within the tolerance.
    threshold = max(best[0], 0.0) + tolerance
    level = total - threshold
    most = square_sum(threshold, spent) + guard
    ahead = U(0)
    for m in range(U(0), n_kept, U(SAMPLE)):
        n_run = find_runs(m, most - bound[m], 0.0, 0.0, NONE, level, True, work, 0)
        for k in range(n_run):
            ahead += runs[k, 2] - runs[k, 1]
    given_up = float(U(SAMPLE * TILE) * ahead) > WORTH * grid.luminosity.size * work.order.size
    work.counts[GIVEN_UP] = given_up
    if given_up:
        count_all(grid, obs, total, level, most, want_log, work)
    else:
        n_run = 0
        for m in range(n_kept):
            n_run = find_runs(m, most - bound[m], 0.0, 0.0, NONE, level, True, work, n_run)
            if n_run >= FULL:
                count_runs(grid, obs, n_run, total, np.inf, want_log, work)
                n_run = 0
        count_runs(grid, obs, n_run, total, np.inf, want_log, work)

    # 6. Further models in which a wanted value is extreme.
    count_extremes(grid, tables, obs, total, threshold, spent, guard, want_log, work)
