"""The weights of models and their marginal sums, in float64."""

from __future__ import annotations

import math

import numpy as np

from dustcast.sed.kernels.compiled import U, entry, jit, strict
from dustcast.sed.kernels.lanes import (
    any_of,
    count_of,
    load,
    lower_integer,
    power_of_two,
    select,
    store,
    sum_of,
)
from dustcast.sed.kernels.layout import (
    COUNTED,
    EVALUATED,
    FOUR,
    ONE,
    ROW1,
    ROW2,
    ROW3,
    THREE,
    TILE_U,
    TWO,
    ZERO,
)
from dustcast.sed.kernels.screening import coarse_level, screen_tiles, set_coefficients
from dustcast.sed.kernels.sums import stellar_sums


@strict
def log_normal_cdf(x):
    """Return ln of the cumulative normal distribution at `x`, without underflow."""
    if x > -10.0:
        return math.log(0.5 * math.erfc(-x * 0.7071067811865476))
    # Asymptotic series (Abramowitz & Stegun 26.2.12); at x = -10 its error is below 1e-9.
    r = 1.0 / (x * x)
    series = 1.0 - r * (1.0 - 3.0 * r * (1.0 - 5.0 * r * (1.0 - 7.0 * r * (1.0 - 9.0 * r))))
    return -0.5 * x * x - math.log(-x) - 0.9189385332046727 + math.log(series)


@jit
def exp_minus(x):
    """Return exp(-x) of lanes of float64 between 0 and 700.

    exp(-x) = 2^m exp(r) with |r| <= ln(2) / 2, and a polynomial of degree 12 for exp(r), whose
    relative error is below 1e-15.
    """
    m = lower_integer(0.5 - x * 1.4426950408889634)
    r = 0.0 - x - m * 0.6931471803691238 - m * 1.9082149292705877e-10
    p = r * (1.0 / 479001600.0) + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    return (p * r + 1.0) * power_of_two(m)


@jit
def evaluate(u, dust, i, lam, tile, fs, ss, level, done):
    """Compare one stellar model with a tile of dust models.

    Parameters
    ----------
    u : ndarray of shape (n_stellar, rank)
    dust : ndarray
        Of `Work`.
    i : uint64
        The stellar model.
    lam : float
        Its luminosity.
    tile : uint64
    fs, ss : float
        sum_b w f S and sum_b w S^2 of the stellar model.
    level, done : float
        sum_b w f^2 minus the largest chi2 of interest, and minus the largest chi2 that has been
        counted already; infinity for none.

    Returns
    -------
    num, den : Lanes
        chi2 = sum_b w f^2 - num^2 / den.
    inside : Mask
        Models of interest: num > 0 and level den <= num^2 < done den, which needs no division.
    """
    # The rank is a multiple of 8.
    rank = U(u.shape[1])
    start = tile * (rank + THREE) * TILE_U
    d = start + ROW3
    sd = u[i, 0] * load(dust, d)
    more = u[i, 1] * load(dust, d + ROW1)
    for r in range(TWO, rank, TWO):
        d += ROW2
        sd = sd + u[i, r] * load(dust, d)
        more = more + u[i, r + ONE] * load(dust, d + ROW1)
    den = ss + lam * (2.0 * (sd + more) + lam * load(dust, start + ROW1))
    num = fs + lam * load(dust, start)
    square = num * num
    exists = load(dust, start + ROW2) > 0.0
    inside = exists & (num > 0.0) & (square >= level * den) & (square < done * den)
    return num, den, inside


@jit
def add_cross(square, emission, tile, shine, i, cross):
    """Add w a^2 S L D of a tile, given w a^2 L, to the sums of the coupled bands."""
    n_coupled = U(shine.shape[1])
    d = tile * n_coupled * TILE_U
    for c in range(n_coupled):
        x = c * TILE_U
        store(cross, x, load(cross, x) + shine[i, c] * (square * load(emission, d + x)))


@jit
def add_cross_of_four(squares, emission, tiles, shine, i, cross):
    """Do as `add_cross` with four tiles of one stellar model: the sums are read and written once.

    `squares` holds w a^2 L of the four, one after the other.
    """
    n_coupled = U(shine.shape[1])
    length = n_coupled * TILE_U
    d0, d1 = tiles[ZERO] * length, tiles[ONE] * length
    d2, d3 = tiles[TWO] * length, tiles[THREE] * length
    q0, q1 = load(squares, ZERO), load(squares, ROW1)
    q2, q3 = load(squares, ROW2), load(squares, ROW3)
    for c in range(n_coupled):
        x = c * TILE_U
        some = q0 * load(emission, d0 + x) + q1 * load(emission, d1 + x)
        others = q2 * load(emission, d2 + x) + q3 * load(emission, d3 + x)
        store(cross, x, load(cross, x) + shine[i, c] * (some + others))


@jit
def add_cross_of_rest(squares, emission, tiles, n_tile, shine, i, cross):
    """Do as `add_cross` with the tiles that wait, which are fewer than four."""
    for t in range(n_tile):
        add_cross(load(squares, t * TILE_U), emission, tiles[t], shine, i, cross)


@entry
def limit_term(grid, obs, i, j, a):
    """Return what the upper limits add to chi2 of the model (i, j) at the scale `a`.

    CIGALE's `noscaling` (after Sawicki 2012): the scale comes from the detections alone, and
    chi2 grows by -2 ln P with P the probability of a flux below the limit.
    """
    term = 0.0
    for c in range(obs.limits.size):
        b = obs.limits[c]
        model = a * (grid.stellar[i, b] + grid.luminosity[i] * grid.dust_t[b, j])
        term -= 2.0 * log_normal_cdf((obs.limit_flux[c] - model) / obs.limit_error[c])
    return term


@jit
def limit_terms(grid, obs, i, tile, inside, scale, work):
    """Return what the upper limits add to chi2 of the models of a tile that are of interest."""
    values = work.values
    store(values, ZERO, select(inside, scale, 0.0))
    for k in range(TILE_U):
        if values[k] > 0.0:
            values[k] = limit_term(grid, obs, i, work.order[tile * TILE_U + k], values[k])
    return load(values, ZERO)


@jit
def add_more(grid, i, slot, start, scale, weight, want_log, work):
    """Add the weights of a tile to the sums of further factors, and of logarithms."""
    rows = work.rows
    n_factor = U(grid.powers.size)
    for f in range(ONE, n_factor):
        g = grid.factors[f, i]
        row = start + (ONE + THREE * f) * TILE_U
        wt = weight * (scale * g) if grid.powers[f] == 1 else weight * g
        wtt = wt * (scale * g) if grid.powers[f] == 1 else wt * g
        store(rows, row, load(rows, row) + wt)
        store(rows, row + ROW1, load(rows, row + ROW1) + wtt)
    if want_log:
        values = work.values
        store(values, ZERO, scale)
        store(values, ROW1, weight)
        for k in range(TILE_U):
            w = values[ROW1 + k]
            if w > 0.0:
                ln_a = math.log(values[k])
                work.w[THREE, slot] += w * ln_a
                work.squares[ZERO] += w * ln_a * ln_a
                for f in range(n_factor):
                    g = grid.factors[f, i]
                    if g > 0.0:
                        ln_t = grid.powers[f] * ln_a + math.log(g)
                        rows[start + (THREE + THREE * f) * TILE_U + k] += w * ln_t
                        work.squares[ONE + f] += w * ln_t * ln_t


@jit
def improve(grid, obs, i, first, last, fs, ss, total, work):
    """Look for a smaller chi2 than `work.best` among the stellar model `i` and a run of tiles."""
    values, hits = work.values, work.hits
    lam = grid.luminosity[i]
    coarse, below = coarse_level(total - work.best[0], total, grid.coarse_error[i])
    set_coefficients(work.coefficients, work.units, grid.coarse_u, i, lam, fs, ss)
    for h in range(screen_tiles(work.coarse, work.coefficients, coarse, below, first, last, hits)):
        tile = hits[h]
        level = total - work.best[0]
        num, den, inside = evaluate(grid.u, work.dust, i, lam, tile, fs, ss, level, np.inf)
        if not any_of(inside):
            continue
        scale = select(inside, num / den, 0.0)
        chi2 = select(inside, total - scale * num, np.inf)
        if obs.limits.size:
            chi2 = chi2 + limit_terms(grid, obs, i, tile, inside, scale, work)
        store(values, ZERO, chi2)
        store(values, ROW1, scale)
        for k in range(TILE_U):
            if values[k] < work.best[0]:
                work.best[0] = values[k]
                work.best[1] = values[ROW1 + k]
                work.best_index[0] = i
                work.best_index[1] = work.order[tile * TILE_U + k]


@jit
def count_runs(grid, obs, n_run, total, done, want_log, work):
    """Add the weights of all models of interest in a list of runs: here the time goes.

    Parameters
    ----------
    grid, obs, work
        `work.runs` and `work.levels` hold the list (`find_runs`).
    n_run : int
        Its length.
    total : float
        sum_b w f^2.
    done : float
        As `evaluate`.
    want_log : bool
        Whether to sum logarithms.
    """
    # Arrays and not the tuples that hold them go to what is called in the loop: each tuple would
    # be passed by counting the references of all that it holds.
    u, shine, coarse_u, coarse_error = grid.u, grid.shine, grid.coarse_u, grid.coarse_error
    stellar, luminosity = grid.stellar, grid.luminosity
    dust, coarse, coefficients, units = work.dust, work.coarse, work.coefficients, work.units
    rows, w, emission, cross = work.rows, work.w, work.emission, work.cross
    kept, fs, ss, runs, hits = work.kept, work.fs, work.ss, work.runs, work.hits
    levels, counts = work.levels, work.counts
    waiting, squares = work.waiting, work.waiting_squares
    obs_flux, obs_weight = obs.flux, obs.weight
    half = 0.5 * (total - work.best[0])
    limited = obs.limits.size > 0
    more = grid.powers.size > 1 or want_log
    n_row = U(1 + 3 * grid.powers.size)
    last_slot = U(kept.size)
    i = U(0)
    lam = 0.0
    error = 0.0
    evaluated = U(0)
    counted = 0
    n_waiting = U(0)
    for m in range(U(n_run)):
        slot, first, last = runs[m, 0], runs[m, 1], runs[m, 2]
        if slot != last_slot:
            add_cross_of_rest(squares, emission, waiting, n_waiting, shine, i, cross)
            n_waiting = U(0)
            last_slot = slot
            i = U(kept[slot])
            lam = luminosity[i]
            error = coarse_error[i]
            if ss[slot] < 0.0:
                fs[slot], ss[slot] = stellar_sums(stellar, obs_flux, obs_weight, i)
            set_coefficients(coefficients, units, coarse_u, i, lam, fs[slot], ss[slot])
        evaluated += (last - first) * TILE_U
        level, below = coarse_level(levels[m], total, error)
        for h in range(screen_tiles(coarse, coefficients, level, below, first, last, hits)):
            tile = hits[h]
            num, den, inside = evaluate(u, dust, i, lam, tile, fs[slot], ss[slot], levels[m], done)
            if not any_of(inside):
                continue
            counted += count_of(inside)
            a = select(inside, num / den, 0.0)
            x = half - 0.5 * (a * num)
            if limited:
                x = x + 0.5 * limit_terms(grid, obs, i, tile, inside, a, work)
            # The best model's own exponent may round to below zero; at 700 there is no weight.
            x = select(x > 0.0, x, 0.0)
            weight = select(inside, exp_minus(select(x < 700.0, x, 700.0)), 0.0)
            first_moment = weight * a
            second = first_moment * a
            square = second * lam
            w[ZERO, slot] += sum_of(weight)
            w[ONE, slot] += sum_of(first_moment)
            w[TWO, slot] += sum_of(second)
            start = tile * n_row * TILE_U
            store(rows, start, load(rows, start) + weight)
            store(rows, start + ROW1, load(rows, start + ROW1) + first_moment * lam)
            store(rows, start + ROW2, load(rows, start + ROW2) + square * lam)
            store(squares, n_waiting * TILE_U, square)
            waiting[n_waiting] = tile
            n_waiting += ONE
            if n_waiting == FOUR:
                add_cross_of_four(squares, emission, waiting, shine, i, cross)
                n_waiting = U(0)
            if more:
                add_more(grid, i, slot, start, a, weight, want_log, work)
    add_cross_of_rest(squares, emission, waiting, n_waiting, shine, i, cross)
    counts[EVALUATED] += np.int64(evaluated)
    counts[COUNTED] += counted
