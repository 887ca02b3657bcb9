"""Compiled kernels of the fit engine; `dustcast.sed.engine` prepares their input.

All of them work on one observation in dimensionless units: fluxes are divided by a unit a band
and one an observation, stellar models by their own size, so that nothing under- or overflows
whatever the distance of the galaxy. Symbols and proofs are those of docs/method-fits.md.

Dust models are kept in tiles of `TILE`, the unit of pruning, and in groups of `WIDE`. Arrays over
dust models that the inner loops touch are one-dimensional, a group after the other and within it a
row after the other: `base(row, place, n_row)` is the index of a place. With distances between
rows that are constants, the compiler knows that a loop's rows do not overlap, and vectorises it.
Sums over stellar models run in the order of the grid, whatever the number of threads.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

# Reassociation and contraction let the compiler vectorise sums; NaN and infinity keep their
# meaning, since a missing band or an impossible model must not turn into a number.
FAST = {"reassoc", "contract", "arcp", "nsz"}

jit = numba.njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
# Without reassociation: where the order of operations protects digits.
strict = numba.njit(cache=True, nogil=True, error_model="numpy")

# Unsigned constants, which numba does not mix with signed ones.
U = np.uint64
ZERO, ONE, TWO, THREE, FOUR, FIVE, SIX, SEVEN, EIGHT = (U(k) for k in range(9))
# Places of Work.counts.
KEPT, EVALUATED, COUNTED, GIVEN_UP = range(4)

# Dust models a tile, and tiles a group of the coarser of two levels of pruning.
TILE = 16
GROUP = 8
WIDE = TILE * GROUP
WIDE_U = U(WIDE)
ROW1, ROW2, ROW3, ROW4, ROW5, ROW6, ROW7 = (U(row * WIDE) for row in range(1, 8))
# Where the rows of the tables of `evaluate` and of `exponents` begin.
NUM, DEN, KEEP = (U(row * WIDE) for row in range(3))
SCALE, EXPONENT, WEIGHT, SQUARE = (U(row * WIDE) for row in range(4))
# Runs with a smaller gap are made one: it costs less to evaluate it than to begin anew.
GAP = 2 * TILE
TILE_U = U(TILE)
# Slices of dust luminosity of which the likeliest stellar models are tried first.
SLICES = 128
# Squared width, in sigma, that the unknown part of a band may have to enter a bound.
WIDTH = 0.15
# Fraction of the grid above which pruning is not worth its tests.
WORTH = 0.4
# One in so many stellar models is tried to predict that fraction.
SAMPLE = 8
# Deviation, in standard deviations, beyond which a value is extreme; the largest extension of chi2
# that it may ask for; and the fraction of its mean below which a value is taken to be one value.
ORDINARY = 20.0
LARGEST_EXTENSION = 30.0
ONE_VALUE = 1e-4
# Entries of a table of bounds by extension.
CUTS = 64
# Stellar models that are summed at a time, so that their sums stay in the first-level cache.
STRIP = 512


class Grid(NamedTuple):
    """The grid in dimensionless units.

    `stellar` has shape (n_stellar, n_band), `stellar_t` is its transpose, `shine` has
    its coupled bands, `dust_t` has shape
    (n_band, n_dust); S[i, b] = sum_k u[i, k] vectors[k, c] in the band b = coupled[c]. `factors` of
    shape (n_factor, n_stellar) are stellar factors of products with a dust factor, the first the
    luminosity, and `powers` the power of the scale that goes with each.
    """

    stellar: np.ndarray
    stellar_t: np.ndarray
    shine: np.ndarray
    luminosity: np.ndarray
    u: np.ndarray
    vectors: np.ndarray
    coupled: np.ndarray
    dust_t: np.ndarray
    factors: np.ndarray
    powers: np.ndarray


class Tables(NamedTuple):
    """What `moments` and `log_moments` take the expectation of.

    Attributes
    ----------
    stellar : ndarray of shape (n_stellar, n_stellar_value)
        Factors g of values a^p g: the bands' stellar flux, then stellar quantities.
    stellar_power : ndarray of int, shape (n_stellar_value,)
        Their p.
    dust : ndarray of shape (n_dust, n_dust_value)
        Factors h of values t h: the bands' dust emission, then quantities with a dust factor.
    dust_factor : ndarray of int, shape (n_dust_value,)
        Which factor t each goes with, -1 for none.
    stellar_log, dust_log : ndarray
        ln g and ln h of those whose logarithm is wanted.
    stellar_log_power, dust_log_factor : ndarray of int
        Their p and factor.
    """

    stellar: np.ndarray
    stellar_power: np.ndarray
    dust: np.ndarray
    dust_factor: np.ndarray
    stellar_log: np.ndarray
    stellar_log_power: np.ndarray
    dust_log: np.ndarray
    dust_log_factor: np.ndarray


class Observation(NamedTuple):
    """One observation: `weight` is 1 / sigma^2 of detections and 0 elsewhere.

    `limits` are the bands with an upper limit, `limit_flux` and `limit_error` theirs.
    """

    flux: np.ndarray
    weight: np.ndarray
    limits: np.ndarray
    limit_flux: np.ndarray
    limit_error: np.ndarray


class Work(NamedTuple):
    """Memory of one thread: the marginal sums of one observation, and work space.

    Attributes
    ----------
    kept : ndarray of int, shape (n_stellar,)
        The stellar models that are left, first `counts[KEPT]` places; `w`, `fs` and `ss` follow it.
    w : ndarray of shape (4, n_stellar)
        Sums over dust models of the likelihood weight: w, w a, w a^2, w ln a.
    order : ndarray of int, shape (n_dust,)
        The dust model at each place; `rows` and `dust` follow it.
    rows : ndarray
        Groups of 1 + 3 n_factor rows: sums over stellar models of w; then for each factor w t,
        w t^2, w ln t with t = a^power g.
    cross : ndarray of shape (n_coupled,)
        Sums over all models of w a^2 S L D in the coupled bands.
    squares : ndarray of shape (1 + n_factor,)
        Sums over all models of w (ln a)^2 and of w (ln t)^2 of each factor.
    best : ndarray of shape (2,)
        Smallest chi2 and its scale.
    best_index : ndarray of int, shape (2,)
        Its stellar and dust model, -1 if there is none.
    counts : ndarray of int, shape (4,)
        Stellar models kept, models evaluated, models counted, whether pruning was given up.
    fs, ss : ndarray of shape (n_stellar,)
        sum_b w f S and sum_b w S^2 with w = 1 / sigma^2.
    bound, scale, curvature : ndarray of shape (n_stellar,)
        Of `stellar_bounds`.
    d_bound, d_scale, d_curvature : ndarray of shape (n_dust,)
        Of `dust_bounds`.
    d_extension : ndarray of shape (n_dust,)
        Of `dust_extensions`.
    plain : ndarray of shape (3 + rank, n_dust)
        Of `dust_sums`, in the order of the grid.
    dust, emission : ndarray
        Groups of these rows, and of n_coupled rows of dust emission, in the order of `order`.
    table, values : ndarray
        One group of three rows, of `evaluate`, and one of four, of `exponents` and what follows.
    hits : ndarray of uint64, shape (GROUP, 2)
        Of `hit_runs`.
    bits, power : ndarray of int64 and of float64, shape (WIDE,)
        The same memory twice, for `fast_exp`.
    runs : ndarray of int, shape (n_tile, 2)
        Of `find_runs`.
    """

    kept: np.ndarray
    w: np.ndarray
    order: np.ndarray
    rows: np.ndarray
    cross: np.ndarray
    squares: np.ndarray
    best: np.ndarray
    best_index: np.ndarray
    counts: np.ndarray
    fs: np.ndarray
    ss: np.ndarray
    bound: np.ndarray
    scale: np.ndarray
    curvature: np.ndarray
    d_bound: np.ndarray
    d_scale: np.ndarray
    d_curvature: np.ndarray
    d_extension: np.ndarray
    plain: np.ndarray
    dust: np.ndarray
    emission: np.ndarray
    table: np.ndarray
    values: np.ndarray
    hits: np.ndarray
    bits: np.ndarray
    power: np.ndarray
    runs: np.ndarray


def work_space(grid: Grid) -> Work:
    """Return the memory that one thread needs for a grid."""
    n_stellar = len(grid.luminosity)
    n_dust = grid.dust_t.shape[1]
    n_group = -(-n_dust // WIDE)
    n_place = n_group * WIDE
    n_factor, n_coupled, rank = len(grid.powers), len(grid.coupled), len(grid.vectors)
    bits = np.zeros(WIDE, np.int64)
    return Work(
        kept=np.zeros(n_stellar, np.int64),
        w=np.zeros((4, n_stellar)),
        order=np.zeros(n_dust, np.int64),
        rows=np.zeros((1 + 3 * n_factor) * n_place),
        cross=np.zeros(n_coupled),
        squares=np.zeros(1 + n_factor),
        best=np.zeros(2),
        best_index=np.zeros(2, np.int64),
        counts=np.zeros(4, np.int64),
        fs=np.zeros(n_stellar),
        ss=np.zeros(n_stellar),
        bound=np.zeros(n_stellar),
        scale=np.zeros(n_stellar),
        curvature=np.zeros(n_stellar),
        d_bound=np.zeros(n_dust),
        d_scale=np.zeros(n_dust),
        d_curvature=np.zeros(n_dust),
        d_extension=np.zeros(n_dust),
        plain=np.zeros((3 + rank, n_dust)),
        dust=np.zeros((3 + rank) * n_place),
        emission=np.zeros(n_coupled * n_place),
        table=np.zeros(3 * WIDE),
        values=np.zeros(4 * WIDE),
        hits=np.zeros((GROUP, 2), np.uint64),
        bits=bits,
        power=bits.view(np.float64),
        runs=np.zeros((n_group * GROUP, 2), np.int64),
    )


@strict
def log_normal_cdf(x):
    """Return ln of the cumulative normal distribution at `x`, without underflow."""
    if x > -10.0:
        return math.log(0.5 * math.erfc(-x * 0.7071067811865476))
    # Asymptotic series (Abramowitz & Stegun 26.2.12); at x = -10 its error is below 1e-9.
    r = 1.0 / (x * x)
    series = 1.0 - r * (1.0 - 3.0 * r * (1.0 - 5.0 * r * (1.0 - 7.0 * r * (1.0 - 9.0 * r))))
    return -0.5 * x * x - math.log(-x) - 0.9189385332046727 + math.log(series)


@strict
def fast_exp(n, table, x, out, bits):
    """Take exp(-x) of the row at `x` of `table` by vector arithmetic, for 0 <= x <= 700.

    exp(-x) = 2^-n exp(r) with |r| <= ln(2) / 2, and a polynomial of degree 12 for exp(r), whose
    relative error is below 1e-15. exp(r) goes to the row at `out`, and 2^-n as the bits of a
    float64 to `bits`; the caller multiplies.

    Parameters
    ----------
    n : uint64
        Length.
    table : ndarray
    x, out : uint64
        Where rows of it begin.
    bits : ndarray of int64, shape (WIDE,)
        Overwritten.
    """
    for k in range(n):
        m = math.floor(0.5 - table[x + k] * 1.4426950408889634)
        r = -table[x + k] - m * 0.6931471803691238 - m * 1.9082149292705877e-10
        p = 1.0 / 479001600.0
        p = p * r + 1.0 / 39916800.0
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
        table[out + k] = p * r + 1.0
        bits[k] = (np.int64(m) + 1023) << 52


@jit
def dust_sums(grid, obs, sums):
    """Fill the sums over bands of every dust model, in the order of the grid.

    `sums` has shape (3 + rank, n_dust): fD = sum_b w f D, DD = sum_b w D^2, 1 (places without a
    model have 0), and sum_b w vectors[k, b] D[b].
    """
    n_band, n_dust = grid.dust_t.shape
    sums[:] = 0.0
    sums[2] = 1.0
    for b in range(n_band):
        w = obs.weight[b]
        if w > 0.0:
            wf = w * obs.flux[b]
            row = grid.dust_t[b]
            f_sum = sums[0]
            d_sum = sums[1]
            for j in range(n_dust):
                f_sum[j] += wf * row[j]
                d_sum[j] += w * row[j] * row[j]
    for c in range(grid.coupled.size):
        w = obs.weight[grid.coupled[c]]
        if w > 0.0:
            row = grid.dust_t[grid.coupled[c]]
            for r in range(grid.vectors.shape[0]):
                wv = w * grid.vectors[r, c]
                out = sums[3 + r]
                for j in range(n_dust):
                    out[j] += wv * row[j]


@jit
def stellar_sums(grid, obs, i):
    """Return sum_b w f S and sum_b w S^2 of the stellar model `i`."""
    row = grid.stellar[i]
    f = 0.0
    s = 0.0
    for b in range(row.size):
        ws = obs.weight[b] * row[b]
        f += ws * obs.flux[b]
        s += ws * row[b]
    return f, s


@jit
def base(row, place, n_row):
    """Return the index of a place in an array of groups of `n_row` rows."""
    return (place // WIDE_U * n_row + row) * WIDE_U + place % WIDE_U


@jit
def evaluate(u, dust, i, lam, first, n, fs, ss, level, done, table):
    """Compare one stellar model with a run of dust models.

    Parameters
    ----------
    u : ndarray of shape (n_stellar, rank)
    dust : ndarray
        Groups of 3 + rank rows of `dust_sums`, in any order.
    i : uint64
        The stellar model.
    lam : float
        Its luminosity.
    first, n : uint64
        Place of the first dust model of the run, and their number; all in one group.
    fs, ss : float
        sum_b w f S and sum_b w S^2 of the stellar model.
    level, done : float
        sum_b w f^2 minus the largest chi2 of interest, and minus the largest chi2 that has been
        counted already; infinity for none.
    table : ndarray
        One group of three rows. NUM, DEN and KEEP are overwritten from their start; KEEP is 1 for
        models of interest (num > 0 and level den <= num^2 < done den, which needs no division)
        and 0 for others.

    Returns
    -------
    float
        Number of models of interest.
    """
    # Unsigned places: a signed index would be tested for counting from the end at every step.
    # The rank is a multiple of 8, and the last eight terms are summed where they are used: runs
    # are short, so that every loop saved counts.
    rank = U(u.shape[1])
    last = rank - EIGHT
    start = base(ZERO, first, rank + THREE)
    for k in range(n):
        table[NUM + k] = 0.0
    for r in range(ZERO, last, EIGHT):
        u0, u1, u2, u3 = u[i, r], u[i, r + ONE], u[i, r + TWO], u[i, r + THREE]
        u4, u5, u6, u7 = u[i, r + FOUR], u[i, r + FIVE], u[i, r + SIX], u[i, r + SEVEN]
        d = start + (THREE + r) * WIDE_U
        for k in range(n):
            table[NUM + k] += (
                u0 * dust[d + k]
                + u1 * dust[d + (ROW1 + k)]
                + u2 * dust[d + (ROW2 + k)]
                + u3 * dust[d + (ROW3 + k)]
                + u4 * dust[d + (ROW4 + k)]
                + u5 * dust[d + (ROW5 + k)]
                + u6 * dust[d + (ROW6 + k)]
                + u7 * dust[d + (ROW7 + k)]
            )
    u0, u1, u2, u3 = u[i, last], u[i, last + ONE], u[i, last + TWO], u[i, last + THREE]
    u4, u5, u6, u7 = u[i, last + FOUR], u[i, last + FIVE], u[i, last + SIX], u[i, last + SEVEN]
    d = start + (THREE + last) * WIDE_U
    count = 0.0
    for k in range(n):
        sd = table[NUM + k] + (
            u0 * dust[d + k]
            + u1 * dust[d + (ROW1 + k)]
            + u2 * dust[d + (ROW2 + k)]
            + u3 * dust[d + (ROW3 + k)]
            + u4 * dust[d + (ROW4 + k)]
            + u5 * dust[d + (ROW5 + k)]
            + u6 * dust[d + (ROW6 + k)]
            + u7 * dust[d + (ROW7 + k)]
        )
        den = ss + lam * (2.0 * sd + lam * dust[start + (ROW1 + k)])
        num = fs + lam * dust[start + k]
        square = num * num
        inside = (num > 0.0) and (square >= level * den) and (square < done * den)
        table[NUM + k] = num
        table[DEN + k] = den
        keep = dust[start + (ROW2 + k)] if inside else 0.0
        table[KEEP + k] = keep
        count += keep
    return count


@jit
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
def improve(grid, obs, i, first, n, fs, ss, total, work):
    """Look for a smaller chi2 than `work.best` among the stellar model `i` and a run of dust."""
    table = work.table
    level = total - work.best[0]
    lam = grid.luminosity[i]
    if evaluate(grid.u, work.dust, i, lam, first, n, fs, ss, level, np.inf, table) == 0.0:
        return
    for k in range(n):
        if table[KEEP + k] > 0.0:
            a = table[NUM + k] / table[DEN + k]
            chi2 = total - a * table[NUM + k]
            j = work.order[first + k]
            if obs.limits.size:
                chi2 += limit_term(grid, obs, i, j, a)
            if chi2 < work.best[0]:
                work.best[0] = chi2
                work.best[1] = a
                work.best_index[0] = i
                work.best_index[1] = j


@jit
def hit_runs(table, n, hits):
    """List the runs of tiles that hold a model of interest.

    Parameters
    ----------
    table : ndarray
        Of `evaluate`.
    n : uint64
        Its length, a multiple of TILE.
    hits : ndarray of uint64, shape (GROUP, 2)
        First place of each run, and its length; overwritten.

    Returns
    -------
    int
        Number of runs.
    """
    n_run = 0
    end = n
    for k in range(ZERO, n, TILE_U):
        some = 0.0
        for m in range(TILE_U):
            some += table[KEEP + (k + m)]
        if some > 0.0:
            if end != k:
                hits[n_run, 0] = k
                n_run += 1
            end = k + TILE_U
            hits[n_run - 1, 1] = end - hits[n_run - 1, 0]
    return n_run


@jit
def exponents(table, values, begin, n, half):
    """Fill scale and exponent (chi2 - least) / 2 of part of a run, from place `begin` of it on.

    Two arrays, for the compiler cannot tell how far `begin` moves a row from others in one.
    """
    for k in range(n):
        m = begin + k
        num = table[NUM + m]
        kept = table[KEEP + m] > 0.0
        a = num / (table[DEN + m] if kept else 1.0)
        # The best model's own exponent may round to below zero; at 700 there is no weight.
        x = half - 0.5 * a * num
        x = x if x > 0.0 else 0.0
        x = x if x < 700.0 else 700.0
        values[SCALE + k] = a if kept else 0.0
        values[EXPONENT + k] = x if kept else 700.0


@jit
def add_weights(values, power, rows, start, n, lam, w, slot):
    """Take the weights of part of a run, and add them to the marginal sums.

    Parameters
    ----------
    values : ndarray
        With SCALE and WEIGHT (less the power of two); WEIGHT and SQUARE are overwritten.
    power : ndarray
        The powers of two.
    rows : ndarray
        `Work.rows`; `start` is the index of the first place in its first row.
    lam : float
        The luminosity of the stellar model.
    w : ndarray
        `Work.w`; `slot` is the place of the stellar model in it.
    """
    s0 = 0.0
    s1 = 0.0
    s2 = 0.0
    square = lam * lam
    for k in range(n):
        a = values[SCALE + k]
        weight = values[WEIGHT + k] * power[k]
        wa = weight * a
        waa = wa * a
        values[WEIGHT + k] = weight
        values[SQUARE + k] = waa
        s0 += weight
        s1 += wa
        s2 += waa
        rows[start + k] += weight
        rows[start + (ROW1 + k)] += wa * lam
        rows[start + (ROW2 + k)] += waa * square
    w[ZERO, slot] += s0
    w[ONE, slot] += s1
    w[TWO, slot] += s2


@jit
def add_cross(values, emission, place, n, lam, shine, i, cross):
    """Add w a^2 S L D of part of a run to the sums of the coupled bands."""
    n_coupled = U(cross.size)
    full = n_coupled - n_coupled % SIX
    for c in range(ZERO, full, SIX):
        d = base(c, place, n_coupled)
        x0 = 0.0
        x1 = 0.0
        x2 = 0.0
        x3 = 0.0
        x4 = 0.0
        x5 = 0.0
        for k in range(n):
            waa = values[SQUARE + k]
            x0 += waa * emission[d + k]
            x1 += waa * emission[d + (ROW1 + k)]
            x2 += waa * emission[d + (ROW2 + k)]
            x3 += waa * emission[d + (ROW3 + k)]
            x4 += waa * emission[d + (ROW4 + k)]
            x5 += waa * emission[d + (ROW5 + k)]
        cross[c] += x0 * lam * shine[i, c]
        cross[c + ONE] += x1 * lam * shine[i, c + ONE]
        cross[c + TWO] += x2 * lam * shine[i, c + TWO]
        cross[c + THREE] += x3 * lam * shine[i, c + THREE]
        cross[c + FOUR] += x4 * lam * shine[i, c + FOUR]
        cross[c + FIVE] += x5 * lam * shine[i, c + FIVE]
    for c in range(full, n_coupled):
        d = base(c, place, n_coupled)
        x0 = 0.0
        for k in range(n):
            x0 += values[SQUARE + k] * emission[d + k]
        cross[c] += x0 * lam * shine[i, c]


@jit
def count(
    u,
    dust,
    table,
    values,
    bits,
    power,
    rows,
    w,
    emission,
    shine,
    cross,
    hits,
    counts,
    i,
    slot,
    lam,
    fs,
    ss,
    runs,
    levels,
    n_run,
    total,
    least,
    done,
):
    """Add the weights of all models of interest of a stellar model and its runs of dust.

    This is where the time goes. It takes arrays, since a tuple of them is passed by counting the
    references of each; what needs more of the observation is in `count_more`.

    Parameters
    ----------
    u, shine : ndarray
        Of `Grid`.
    dust, table, values, bits, power, rows, w, emission, cross, hits, counts : ndarray
        Of `Work`.
    i, slot : uint64
        The stellar model, and its place in `Work.kept`.
    lam, fs, ss : float
        Its luminosity and sums over bands.
    runs : ndarray of int, shape (n, 2)
        First and last place (exclusive) of each run; the first `n_run` are meant.
    levels : ndarray of shape (n,)
        For each run, as `evaluate`.
    total, least : float
        sum_b w f^2 and the smallest chi2.
    done : float
        As `evaluate`.
    """
    half = 0.5 * (total - least)
    # The first factor is the luminosity, and with others `count_more` is used.
    for m in range(n_run):
        first = U(runs[m, 0])
        n = U(runs[m, 1]) - first
        counts[COUNTED] += np.int64(
            evaluate(u, dust, i, lam, first, n, fs, ss, levels[m], done, table)
        )
        counts[EVALUATED] += runs[m, 1] - runs[m, 0]
        # Weights are computed only for tiles with a model of interest, in runs of such tiles.
        for h in range(hit_runs(table, n, hits)):
            begin = hits[h, 0]
            length = hits[h, 1]
            place = first + begin
            exponents(table, values, begin, length, half)
            fast_exp(length, values, EXPONENT, WEIGHT, bits)
            start = base(ZERO, place, FOUR)
            add_weights(values, power, rows, start, length, lam, w, slot)
            add_cross(values, emission, place, length, lam, shine, i, cross)


@jit
def count_more(grid, obs, slot, runs, levels, n_run, total, done, want_log, work):
    """Do what `count` does with upper limits, further factors or logarithms as well."""
    i = U(work.kept[slot])
    lam = grid.luminosity[i]
    half = 0.5 * (total - work.best[0])
    table, values, rows = work.table, work.values, work.rows
    fs, ss = work.fs[slot], work.ss[slot]
    n_row = U(1 + 3 * grid.powers.size)
    for m in range(n_run):
        first = U(runs[m, 0])
        n = U(runs[m, 1]) - first
        work.counts[COUNTED] += np.int64(
            evaluate(grid.u, work.dust, i, lam, first, n, fs, ss, levels[m], done, table)
        )
        work.counts[EVALUATED] += runs[m, 1] - runs[m, 0]
        for h in range(hit_runs(table, n, work.hits)):
            begin = work.hits[h, 0]
            length = work.hits[h, 1]
            place = first + begin
            exponents(table, values, begin, length, half)
            add_limits(grid, obs, i, first, begin, length, half, work)
            fast_exp(length, values, EXPONENT, WEIGHT, work.bits)
            start = base(ZERO, place, n_row)
            add_weights(values, work.power, rows, start, length, lam, work.w, slot)
            add_cross(values, work.emission, place, length, lam, grid.shine, i, work.cross)
            add_more(grid, i, slot, place, length, want_log, work)


@jit
def add_limits(grid, obs, i, first, begin, n, half, work):
    """Add the term of the upper limits to the exponents of part of a run."""
    table, values = work.table, work.values
    if obs.limits.size:
        for k in range(n):
            a = values[SCALE + k]
            if a > 0.0:
                term = limit_term(grid, obs, i, work.order[first + begin + k], a)
                x = half - 0.5 * (a * table[NUM + (begin + k)] - term)
                values[EXPONENT + k] = min(max(x, 0.0), 700.0)


@jit
def add_more(grid, i, slot, place, n, want_log, work):
    """Add the weights of part of a run to the sums of further factors, and of logarithms."""
    values = work.values
    rows = work.rows
    n_factor = U(grid.powers.size)
    start = base(ZERO, place, U(1 + 3 * grid.powers.size))
    for f in range(ONE, n_factor):
        g = grid.factors[f, i]
        row = start + (ONE + THREE * f) * WIDE_U
        extensive = grid.powers[f] == 1
        for k in range(n):
            t = g * values[SCALE + k] if extensive else g
            wt = values[WEIGHT + k] * t
            rows[row + k] += wt
            rows[row + (ROW1 + k)] += wt * t
    if want_log:
        for k in range(n):
            w = values[WEIGHT + k]
            if values[SCALE + k] > 0.0:
                ln_a = math.log(values[SCALE + k])
                work.w[THREE, slot] += w * ln_a
                work.squares[ZERO] += w * ln_a * ln_a
                for f in range(n_factor):
                    g = grid.factors[f, i]
                    if g > 0.0:
                        ln_t = grid.powers[f] * ln_a + math.log(g)
                        rows[start + (THREE + THREE * f) * WIDE_U + k] += w * ln_t
                        work.squares[ONE + f] += w * ln_t * ln_t


@jit
def reset(grid, work):
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


@jit
def keep(grid, obs, most, farthest, work):
    """Keep the stellar models whose bound is not above `farthest`.

    Sums over bands are taken of those not above `most`; for others `ss` is negative, and they are
    taken where they are needed.
    """
    n = 0
    for i in range(work.bound.size):
        if not (work.bound[i] > farthest):
            work.kept[n] = i
            work.ss[n] = -1.0
            if not (work.bound[i] > most):
                work.fs[n], work.ss[n] = stellar_sums(grid, obs, i)
            n += 1
    work.counts[KEPT] = n
    for row in range(4):
        for m in range(n):
            work.w[row, m] = 0.0


@jit
def arrange(grid, work):
    """Bring the sums and the emission of the dust models into the order of `work.order`."""
    n_row = U(work.plain.shape[0])
    n_coupled = U(grid.coupled.size)
    for place in range(U(work.order.size)):
        j = work.order[place]
        start = base(ZERO, place, n_row)
        for r in range(n_row):
            work.dust[start + r * WIDE_U] = work.plain[r, j]
        start = base(ZERO, place, n_coupled)
        for c in range(n_coupled):
            work.emission[start + c * WIDE_U] = grid.dust_t[grid.coupled[c], j]


@jit
def row_at(grid, work, row, place):
    """Return one of the sums of a dust model."""
    return work.rows[base(U(row), U(place), U(1 + 3 * grid.powers.size))]


@jit
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
    reset(grid, work)
    dust_sums(grid, obs, work.plain)
    arrange(grid, work)
    total = np.sum(obs.weight * obs.flux * obs.flux)
    n_group = work.runs.shape[0] // GROUP
    work.bound[:] = 0.0
    keep(grid, obs, np.inf, np.inf, work)
    for i in range(work.bound.size):
        for g in range(n_group):
            improve(grid, obs, U(i), U(g * WIDE), WIDE_U, work.fs[i], work.ss[i], total, work)
    if work.best_index[0] >= 0:
        levels = np.full(n_group, total - (work.best[0] + tolerance))
        for g in range(n_group):
            work.runs[g, 0] = g * WIDE
            work.runs[g, 1] = g * WIDE + WIDE
        for i in range(work.bound.size):
            count_more(grid, obs, U(i), work.runs, levels, n_group, total, np.inf, want_log, work)


@jit
def dust_reach(grid, obs, threshold, reach):
    """Fill `reach` with the largest dust flux in each band of any model with chi2 <= threshold.

    In every fitted band t D <= f + sqrt(threshold) sigma, since stars only add (bound 1 of
    docs/method-fits.md).
    """
    root = math.sqrt(threshold)
    reach[:] = 0.0
    n_band, n_dust = grid.dust_t.shape
    inverse = np.zeros(n_dust)
    for b in range(n_band):
        if obs.weight[b] > 0.0:
            most = max(obs.flux[b] + root / math.sqrt(obs.weight[b]), 0.0)
            if most == 0.0:
                for j in range(n_dust):
                    if grid.dust_t[b, j] > 0.0:
                        inverse[j] = np.inf
            else:
                part = 1.0 / most
                for j in range(n_dust):
                    inverse[j] = max(inverse[j], part * grid.dust_t[b, j])
    for b in range(n_band):
        largest = 0.0
        for j in range(n_dust):
            d = grid.dust_t[b, j]
            if d > 0.0:
                largest = max(largest, d / inverse[j])
        reach[b] = largest


@jit
def choose(width, allowed, budget, chosen):
    """Choose the narrowest of the allowed bands whose squared widths stay within a budget.

    Returns
    -------
    float
        The sum of the squared widths of the bands that are now True in `chosen`.
    """
    chosen[:] = False
    spent = 0.0
    for b in np.argsort(width):
        if allowed[b] and spent + width[b] ** 2 <= budget:
            chosen[b] = True
            spent += width[b] ** 2
    return spent


@jit
def stellar_bounds(grid, obs, chosen, middle, bound, scale, curvature):
    """Fill the least chi2 of each stellar model alone in the chosen bands.

    chi2(a) = bound + curvature (a - scale)^2, with `middle` subtracted from the fluxes; `scale` is
    not negative (bound 2 of docs/method-fits.md).
    """
    n = bound.size
    rest = 0.0
    for b in range(chosen.size):
        if chosen[b]:
            rest += obs.weight[b] * (obs.flux[b] - middle[b]) ** 2
    for first in range(0, n, STRIP):
        last = min(first + STRIP, n)
        f = scale[first:last]
        s = curvature[first:last]
        f[:] = 0.0
        s[:] = 0.0
        for b in range(chosen.size):
            if chosen[b]:
                w = obs.weight[b]
                wf = w * (obs.flux[b] - middle[b])
                row = grid.stellar_t[b, first:last]
                for i in range(last - first):
                    f[i] += wf * row[i]
                    s[i] += w * row[i] * row[i]
        out = bound[first:last]
        for i in range(last - first):
            num = max(f[i], 0.0)
            a = num / s[i] if s[i] > 0.0 else 0.0
            out[i] = rest - a * num
            f[i] = a


@jit
def dust_bounds(grid, obs, chosen, middle, bound, scale, curvature):
    """Fill the least chi2 of each dust model alone in the chosen bands, as `stellar_bounds`."""
    bound[:] = 0.0
    scale[:] = 0.0
    curvature[:] = 0.0
    rest = 0.0
    for b in range(chosen.size):
        if chosen[b]:
            w = obs.weight[b]
            wf = w * (obs.flux[b] - middle[b])
            rest += wf * (obs.flux[b] - middle[b])
            row = grid.dust_t[b]
            for j in range(scale.size):
                scale[j] += wf * row[j]
                curvature[j] += w * row[j] * row[j]
    for j in range(scale.size):
        num = max(scale[j], 0.0)
        scale[j] = num / curvature[j] if curvature[j] > 0.0 else 0.0
        bound[j] = rest - scale[j] * num


@jit
def first_guess(grid, obs, total, work):
    """Find a small chi2: the likeliest stellar model of each slice of dust luminosity, all dust.

    Only `work.best` and `work.best_index` change; any model at all gives a valid upper bound.
    """
    bound = work.bound
    least = np.inf
    for i in range(bound.size):
        least = min(least, bound[i])
    low = np.inf
    high = 0.0
    for i in range(bound.size):
        if bound[i] < least + 30.0:
            t = work.scale[i] * grid.luminosity[i]
            high = max(high, t)
            if t > 0.0:
                low = min(low, t)
    winner = np.full(SLICES + 1, -1)
    step = SLICES / max(math.log(high / low), 1e-3) if high > 0.0 else 0.0
    for i in range(bound.size):
        if bound[i] < least + 30.0:
            t = work.scale[i] * grid.luminosity[i]
            q = SLICES if t <= 0.0 else min(int(step * math.log(t / low)), SLICES - 1)
            if winner[q] < 0 or bound[i] < bound[winner[q]]:
                winner[q] = i
    for i in winner:
        if i >= 0:
            fs, ss = stellar_sums(grid, obs, i)
            for g in range(work.runs.shape[0] // GROUP):
                improve(grid, obs, U(i), U(g * WIDE), WIDE_U, fs, ss, total, work)


@jit
def stellar_reach(grid, threshold, work, low, high):
    """Fill the interval of the stellar flux of each band over the kept stellar models."""
    low[:] = np.inf
    high[:] = 0.0
    for n in range(work.counts[KEPT]):
        i = work.kept[n]
        spare = max(threshold - work.bound[i], 0.0)
        curvature = work.curvature[i]
        half = math.sqrt(spare / curvature) if curvature > 0.0 else np.inf
        a0 = max(work.scale[i] - half, 0.0)
        a1 = work.scale[i] + half
        row = grid.stellar[i]
        for b in range(low.size):
            s = row[b]
            if s > 0.0:
                low[b] = min(low[b], a0 * s)
                high[b] = max(high[b], a1 * s)
            else:
                low[b] = 0.0


@jit
def tile_bounds(work, width, out):
    """Fill for each run of `width` dust models what bounds chi2 of all of them.

    Parameters
    ----------
    work : Work
        With the bounds of the dust models, and `order`.
    width : int
        Length of a run.
    out : ndarray of shape (5, n_run)
        Least bound, least and largest best luminosity, largest 1 / curvature, largest extension;
        overwritten.
    """
    for q in range(out.shape[1]):
        first = q * width
        # Places without a model are beyond any bound.
        last = min(first + width, work.order.size)
        out[0, q] = np.inf
        out[1, q] = np.inf
        out[2, q] = 0.0
        out[3, q] = 0.0
        out[4, q] = -np.inf
        for n in range(first, last):
            j = work.order[n]
            out[0, q] = min(out[0, q], work.d_bound[j])
            out[1, q] = min(out[1, q], work.d_scale[j])
            out[2, q] = max(out[2, q], work.d_scale[j])
            curvature = work.d_curvature[j]
            out[3, q] = max(out[3, q], 1.0 / curvature if curvature > 0.0 else np.inf)
            out[4, q] = max(out[4, q], work.d_extension[j])


@jit
def may_matter(runs, q, t, variance, spare):
    """Tell whether run `q` of dust models can lie within `spare` of a stellar model's bound."""
    distance = max(max(runs[1, q] - t, t - runs[2, q]), 0.0)
    # Written so that a comparison with NaN keeps the run.
    return not (runs[0, q] + distance * distance / (variance + runs[3, q]) > spare)


@jit
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
    reset(grid, work)
    dust_sums(grid, obs, work.plain)
    arrange(grid, work)
    n_band = obs.weight.size
    total = np.sum(obs.weight * obs.flux * obs.flux)
    guard = slack * total
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
        stellar_bounds(
            grid, obs, stellar_bands, 0.5 * reach, work.bound, work.scale, work.curvature
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
    threshold = max(work.best[0], 0.0) + tolerance
    farthest = square_sum(threshold + LARGEST_EXTENSION, spent) + guard
    keep(grid, obs, square_sum(threshold, spent) + guard, farthest, work)

    # 3. Bounds of the dust models, in the order of their best luminosity.
    spent += dust_side(grid, obs, sigma, stellar_bands, farthest, work)
    work.order[:] = np.argsort(work.d_scale, kind="mergesort")
    arrange(grid, work)
    n_tile = work.runs.shape[0]
    tiles = np.empty((5, n_tile))
    groups = np.empty((5, n_tile // GROUP))
    tile_bounds(work, TILE, tiles)
    tile_bounds(work, WIDE, groups)
    spares = np.empty(groups.shape[1])

    # 4. The smallest chi2.
    kept, bound, ss, runs = work.kept[: work.counts[KEPT]], work.bound, work.ss, work.runs
    scale, curvature, luminosity, best = work.scale, work.curvature, grid.luminosity, work.best
    for n in range(kept.size):
        i = kept[n]
        least = square_sum(max(best[0], 0.0), spent) + guard
        if ss[n] < 0.0 or bound[i] > least:
            continue
        t, variance = predicted(luminosity[i], scale[i], curvature[i])
        spares[:] = least - bound[i]
        n_run = find_runs(t, variance, spares, groups, tiles, runs)
        for m in range(n_run):
            first = U(runs[m, 0])
            length = U(runs[m, 1]) - first
            improve(grid, obs, U(i), first, length, work.fs[n], ss[n], total, work)
    threshold = max(best[0], 0.0) + tolerance

    # 5. The weights of all models within the tolerance.
    done = total - threshold
    levels = np.full(n_tile, done)
    most = square_sum(threshold, spent) + guard
    ahead = 0
    for n in range(0, kept.size, SAMPLE):
        i = kept[n]
        if ss[n] >= 0.0 and bound[i] <= most:
            t, variance = predicted(luminosity[i], scale[i], curvature[i])
            spares[:] = most - bound[i]
            n_run = find_runs(t, variance, spares, groups, tiles, runs)
            for m in range(n_run):
                ahead += SAMPLE * (runs[m, 1] - runs[m, 0])
    given_up = ahead > WORTH * bound.size * work.order.size
    work.counts[GIVEN_UP] = given_up
    # Taken out of the loops, where each time would count references.
    u, shine, dust, work_table, values = grid.u, grid.shine, work.dust, work.table, work.values
    bits, power, rows, w, fs = work.bits, work.power, work.rows, work.w, work.fs
    emission, cross, hits, counts = work.emission, work.cross, work.hits, work.counts
    plain = obs.limits.size == 0 and grid.powers.size == 1 and not want_log
    for n in range(kept.size):
        i = kept[n]
        if ss[n] < 0.0 or bound[i] > most:
            continue
        if given_up:
            n_run = groups.shape[1]
            for g in range(n_run):
                runs[g, 0] = g * WIDE
                runs[g, 1] = g * WIDE + WIDE
        else:
            t, variance = predicted(luminosity[i], scale[i], curvature[i])
            spares[:] = most - bound[i]
            n_run = find_runs(t, variance, spares, groups, tiles, runs)
        if n_run > 0:
            if plain:
                count(
                    u,
                    dust,
                    work_table,
                    values,
                    bits,
                    power,
                    rows,
                    w,
                    emission,
                    shine,
                    cross,
                    hits,
                    counts,
                    U(i),
                    U(n),
                    luminosity[i],
                    fs[n],
                    ss[n],
                    runs,
                    levels,
                    n_run,
                    total,
                    best[0],
                    np.inf,
                )
            else:
                count_more(grid, obs, U(n), runs, levels, n_run, total, np.inf, want_log, work)

    # 6. Further models in which a wanted value is extreme.
    count_extremes(grid, tables, obs, total, threshold, spent, guard, groups, tiles, want_log, work)


@jit
def square_sum(threshold, spent):
    """Return (sqrt(threshold) + sqrt(spent))^2: a residual and the unknown part of the bands."""
    root = math.sqrt(threshold) + math.sqrt(spent)
    return root * root


@jit
def dust_side(grid, obs, sigma, stellar_bands, most, work):
    """Fill the bounds of the dust models, after the middle of the kept stars' flux.

    Returns
    -------
    float
        The sum of the squared widths of the bands used.
    """
    n_band = obs.weight.size
    low = np.empty(n_band)
    high = np.empty(n_band)
    stellar_reach(grid, most, work, low, high)
    known = (obs.weight > 0.0) & np.isfinite(high)
    middle = np.where(known, 0.5 * (low + high), 0.0)
    width = np.where(known, 0.5 * (high - low) / sigma, np.inf)
    dust_bands = np.zeros(n_band, np.bool_)
    spent = choose(width, known & ~stellar_bands, WIDTH, dust_bands)
    dust_bounds(grid, obs, dust_bands, middle, work.d_bound, work.d_scale, work.d_curvature)
    return spent


@jit
def count_extremes(
    grid, tables, obs, total, threshold, spent, guard, groups, tiles, want_log, work
):
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
    groups, tiles : ndarray of shape (5, n)
        Of `tile_bounds`.
    """
    stellar = np.empty((2, tables.stellar_power.size))
    dust_moments = np.empty((2, tables.dust_factor.size))
    factor = np.ones(grid.powers.size + 1)
    spreads(grid, tables, work, stellar, dust_moments, factor)
    dust_extensions(tables, dust_moments, factor, work)
    tile_bounds(work, TILE, tiles)
    tile_bounds(work, WIDE, groups)
    n_group = groups.shape[1]
    least = np.min(groups[0])

    # The largest bound of a stellar model that may still matter, by what it adds to extensions;
    # the last is for any larger addition.
    cuts = np.full(CUTS, -np.inf)
    for k in range(CUTS):
        for g in range(n_group):
            further = k if k < CUTS - 1 else np.inf
            extension = min(groups[4, g] + further, LARGEST_EXTENSION)
            if extension > 0.0:
                most = square_sum(threshold + extension, spent) + guard - groups[0, g]
                cuts[k] = max(cuts[k], most)

    n_value = tables.stellar_power.size
    linear = np.empty(n_value)
    inverse = np.empty(n_value)
    mean = stellar[0]
    for v in range(n_value):
        linear[v] = 1.0 if tables.stellar_power[v] == 1 else 0.0
        inverse[v] = 1.0 / stellar[1, v] if stellar[1, v] > 0.0 else 0.0
    n_tile = tiles.shape[1]
    levels = np.empty(n_tile)
    done = total - threshold
    kept, bounds, ss, runs = work.kept[: work.counts[KEPT]], work.bound, work.ss, work.runs
    scale, curvature, luminosity = work.scale, work.curvature, grid.luminosity
    table, factors, powers = tables.stellar, grid.factors, grid.powers
    # Taken out of the loops, where each time would count references.
    u, shine, dust, work_table, values = grid.u, grid.shine, work.dust, work.table, work.values
    bits, power, rows, w, fs = work.bits, work.power, work.rows, work.w, work.fs
    emission, cross, hits, counts = work.emission, work.cross, work.hits, work.counts
    plain = obs.limits.size == 0 and grid.powers.size == 1 and not want_log
    best = work.best
    for n in range(kept.size):
        i = kept[n]
        bound = bounds[i]
        a = scale[i]
        square = 0.0
        for v in range(n_value):
            d = (1.0 + linear[v] * (a - 1.0)) * table[i, v] - mean[v]
            square += d * d * inverse[v]
        own = 0.0
        if square > ORDINARY * ORDINARY + n_value:
            own = extension_of(square, n_value)
        # A product with a dust factor grows with the stellar factor, too.
        ratio = 1.0
        for f in range(powers.size):
            value = abs(factors[f, i] * (a if powers[f] == 1 else 1.0))
            if value > 0.0:
                ratio = max(ratio, value / abs(factor[f]))
        further = 4.0 * math.log(ratio) if ratio > 1.0 else 0.0
        matters = bound <= cuts[int(min(further + 1.0, CUTS - 1.0))]
        if own > 0.0 and bound <= square_sum(threshold + own, spent) + guard - least:
            matters = True
        if not matters:
            continue
        t, variance = predicted(luminosity[i], a, curvature[i])
        n_run = 0
        for g in range(n_group):
            extension = max(own, min(groups[4, g] + further, LARGEST_EXTENSION))
            if extension <= 0.0:
                continue
            spare = square_sum(threshold + extension, spent) + guard - bound
            if spare < 0.0 or not may_matter(groups, g, t, variance, spare):
                continue
            for q in range(g * GROUP, g * GROUP + GROUP):
                extension = max(own, min(tiles[4, q] + further, LARGEST_EXTENSION))
                if extension <= 0.0:
                    continue
                spare = square_sum(threshold + extension, spent) + guard - bound
                if spare >= 0.0 and may_matter(tiles, q, t, variance, spare):
                    level = done - extension
                    end = runs[n_run - 1, 1] if n_run > 0 else -WIDE
                    if end + GAP >= q * TILE and end > g * WIDE:
                        levels[n_run - 1] = min(levels[n_run - 1], level)
                    else:
                        runs[n_run, 0] = q * TILE
                        levels[n_run] = level
                        n_run += 1
                    runs[n_run - 1, 1] = (q + 1) * TILE
        if n_run > 0:
            if ss[n] < 0.0:
                fs[n], ss[n] = stellar_sums(grid, obs, i)
            if plain:
                count(
                    u,
                    dust,
                    work_table,
                    values,
                    bits,
                    power,
                    rows,
                    w,
                    emission,
                    shine,
                    cross,
                    hits,
                    counts,
                    U(i),
                    U(n),
                    luminosity[i],
                    fs[n],
                    ss[n],
                    runs,
                    levels,
                    n_run,
                    total,
                    best[0],
                    done,
                )
            else:
                count_more(grid, obs, U(n), runs, levels, n_run, total, done, want_log, work)


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
    for v in range(stellar.shape[1]):
        stellar[1, v] = max(stellar[1, v], (ONE_VALUE * stellar[0, v]) ** 2)
    for v in range(dust.shape[1]):
        dust[1, v] = max(dust[1, v], (ONE_VALUE * dust[0, v]) ** 2)
    norm = 0.0
    for q in range(work.order.size):
        norm += row_at(grid, work, 0, q)
    for f in range(grid.powers.size):
        factor[f] = 0.0
        for q in range(work.order.size):
            factor[f] += row_at(grid, work, 1 + 3 * f, q)
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


@jit
def predicted(luminosity, scale, curvature):
    """Return the dust luminosity that a stellar model predicts, and its variance."""
    if luminosity == 0.0:
        return 0.0, 0.0
    variance = luminosity * luminosity / curvature if curvature > 0.0 else np.inf
    return scale * luminosity, variance


@jit
def find_runs(t, variance, spares, groups, tiles, runs):
    """List the runs of places of dust models that a stellar model must be compared with.

    Parameters
    ----------
    t, variance : float
        Of `predicted`.
    spares : ndarray of shape (n_group,)
        What chi2 may exceed the bound of the stellar model by, in each group of dust models.
    groups, tiles : ndarray of shape (5, n)
        Of `tile_bounds`.
    runs : ndarray of int, shape (n_tile, 2)
        First and last place (exclusive) of each run; overwritten. No run leaves its group.

    Returns
    -------
    int
        Number of runs.
    """
    n_run = 0
    n_tile = tiles.shape[1]
    end = -1 - GAP // TILE
    for g in range(groups.shape[1]):
        spare = spares[g]
        if spare >= 0.0 and may_matter(groups, g, t, variance, spare):
            for q in range(g * GROUP, min(g * GROUP + GROUP, n_tile)):
                if may_matter(tiles, q, t, variance, spare):
                    if end * TILE + GAP < q * TILE or q // GROUP != (end - 1) // GROUP:
                        runs[n_run, 0] = q * TILE
                        n_run += 1
                    end = q + 1
                    runs[n_run - 1, 1] = end * TILE
    return n_run


@jit
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
    norm = 0.0
    for n in range(work.counts[KEPT]):
        norm += work.w[0, n]
    n_value = tables.stellar_power.size
    best = work.best_index[0]
    reference = np.empty(n_value)
    for v in range(n_value):
        a = work.best[1] if tables.stellar_power[v] == 1 else 1.0
        reference[v] = a * tables.stellar[best, v]
    mean = stellar[0]
    variance = stellar[1]
    stellar[:] = 0.0
    for n in range(work.counts[KEPT]):
        w = work.w[0, n]
        if w > 0.0:
            i = work.kept[n]
            a = work.w[1, n] / w
            spread = max(work.w[2, n] / w - a * a, 0.0)
            p = w / norm
            row = tables.stellar[i]
            for v in range(n_value):
                extensive = tables.stellar_power[v] == 1
                g = row[v]
                d = (a if extensive else 1.0) * g - reference[v]
                mean[v] += p * d
                variance[v] += p * (d * d + (spread if extensive else 0.0) * g * g)
    for v in range(n_value):
        variance[v] = max(variance[v] - mean[v] * mean[v], 0.0)
        mean[v] += reference[v]

    n_value = tables.dust_factor.size
    best_dust = work.best_index[1]
    reference = np.empty(n_value)
    for v in range(n_value):
        f = tables.dust_factor[v]
        t = 1.0
        if f >= 0:
            t = grid.factors[f, best] * (work.best[1] if grid.powers[f] == 1 else 1.0)
        reference[v] = t * tables.dust[best_dust, v]
    mean = dust[0]
    variance = dust[1]
    dust[:] = 0.0
    n_factor = grid.powers.size
    # One more factor, without mean or spread, for values that have none.
    t = np.ones(n_factor + 1)
    spread = np.zeros(n_factor + 1)
    for q in range(work.order.size):
        w = row_at(grid, work, 0, q)
        if w > 0.0:
            j = work.order[q]
            p = w / norm
            for f in range(n_factor):
                t[f] = row_at(grid, work, 1 + 3 * f, q) / w
                spread[f] = max(row_at(grid, work, 2 + 3 * f, q) / w - t[f] * t[f], 0.0)
            row = tables.dust[j]
            for v in range(n_value):
                f = tables.dust_factor[v]
                h = row[v]
                d = t[f] * h - reference[v]
                mean[v] += p * d
                variance[v] += p * (d * d + spread[f] * h * h)
    for v in range(n_value):
        variance[v] = max(variance[v] - mean[v] * mean[v], 0.0)
        mean[v] += reference[v]
    for c in range(grid.coupled.size):
        b = grid.coupled[c]
        covariance[c] = work.cross[c] / norm - stellar[0, b] * dust[0, b]


@jit
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
    norm = 0.0
    mean_a = 0.0
    for n in range(work.counts[KEPT]):
        norm += work.w[0, n]
        mean_a += work.w[3, n]
    mean_a /= norm
    variance_a = work.squares[0] / norm - mean_a * mean_a
    stellar[:] = 0.0
    for v in range(tables.stellar_log_power.size):
        reference = tables.stellar_log[work.best_index[0], v]
        power = tables.stellar_log_power[v]
        mean = 0.0
        square = 0.0
        cross = 0.0
        for n in range(work.counts[KEPT]):
            g = tables.stellar_log[work.kept[n], v] - reference
            mean += work.w[0, n] * g
            square += work.w[0, n] * g * g
            cross += (work.w[3, n] - work.w[0, n] * mean_a) * g
        mean /= norm
        variance = square / norm - mean * mean
        if power == 1:
            variance += variance_a + 2.0 * cross / norm
        stellar[0, v] = mean + reference + power * mean_a
        stellar[1, v] = max(variance, 0.0)
    dust[:] = 0.0
    for v in range(tables.dust_log_factor.size):
        reference = tables.dust_log[work.best_index[1], v]
        f = tables.dust_log_factor[v]
        mean_t = 0.0
        variance = 0.0
        if f >= 0:
            for q in range(work.order.size):
                mean_t += row_at(grid, work, 3 + 3 * f, q)
            mean_t /= norm
            variance = work.squares[1 + f] / norm - mean_t * mean_t
        mean = 0.0
        square = 0.0
        cross = 0.0
        for q in range(work.order.size):
            h = tables.dust_log[work.order[q], v] - reference
            w = row_at(grid, work, 0, q)
            mean += w * h
            square += w * h * h
            if f >= 0:
                cross += (row_at(grid, work, 3 + 3 * f, q) - w * mean_t) * h
        mean /= norm
        dust[0, v] = mean + reference + mean_t
        dust[1, v] = max(variance + square / norm - mean * mean + 2.0 * cross / norm, 0.0)
