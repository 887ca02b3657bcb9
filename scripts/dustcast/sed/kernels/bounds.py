"""Lower bounds of chi2, and the lists of models that they leave.

Symbols and proofs are those of docs/method-fits.md.
"""

from __future__ import annotations

import math

import numpy as np

from dustcast.sed.kernels.compiled import U, jit
from dustcast.sed.kernels.lanes import (
    N_LANE,
    any_of,
    bits_of,
    larger,
    load,
    lowest_bit,
    smaller,
    store,
)
from dustcast.sed.kernels.layout import (
    BOUND_ROWS,
    KEPT,
    ROW1,
    ROW2,
    ROW3,
    ROW4,
    ROW5,
    TILE_U,
)
from dustcast.sed.kernels.screening import ROUNDING

# Stellar models that are summed at a time, so that their sums stay in the first-level cache.
STRIP = 1024
# Scales, over that of the best model, that float32 holds with room to multiply.
LARGEST_RATIO = 1e18
# Below this curvature, in the units of `stellar_bounds`, float32 has lost its digits.
FLAT = 1e-25
# Length of the bounds of 16 tiles or groups.
BLOCK = U(BOUND_ROWS) * TILE_U
# Tiles between two runs that are evaluated rather than begin a new run.
GAP = U(1)
# Largest extension of chi2 that a model with an extreme value may ask for.
LARGEST_EXTENSION = 30.0
# Extension of what has none.
NONE = -1e30


@jit
def dust_reach(grid, obs, threshold, reach):
    """Fill `reach` with the largest dust flux in each band of any model with chi2 <= threshold.

    In every fitted band t D <= f + sqrt(threshold) sigma, since stars only add (bound 1).
    """
    root = math.sqrt(threshold)
    reach[:] = 0.0
    n_band, n_dust = grid.dust_t.shape
    inverse = np.zeros(n_dust)
    for b in range(n_band):
        if obs.weight[b] > 0.0:
            most = max(obs.flux[b] + root / math.sqrt(obs.weight[b]), 0.0)
            row = grid.dust_t[b]
            if most == 0.0:
                for j in range(n_dust):
                    if row[j] > 0.0:
                        inverse[j] = np.inf
            else:
                part = 1.0 / most
                for j in range(n_dust):
                    inverse[j] = max(inverse[j], part * row[j])
    # A dust model that shines in no fitted band may be of any luminosity.
    for j in range(n_dust):
        inverse[j] = 1.0 / inverse[j]
    for b in range(n_band):
        largest = 0.0
        row = grid.dust_t[b]
        for j in range(n_dust):
            # 0 times infinity is no flux.
            flux = row[j] * inverse[j] if row[j] > 0.0 else 0.0
            largest = max(largest, flux)
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
    """Fill the least chi2 of each stellar model alone in the chosen bands, in float32.

    chi2(a) = bound + curvature (a - scale)^2, with `middle` subtracted from the fluxes; `scale` is
    not negative (bound 2). `scale` and `curvature` are in units of their own, in which all numbers
    are about 1 for a model that fits.

    Returns
    -------
    rest : float
        sum_b w f^2 of the chosen bands, f less the middle.
    scale_unit, curvature_unit : float
    """
    heavy = 0.0
    rest = 0.0
    for b in range(chosen.size):
        if chosen[b]:
            heavy += obs.weight[b]
            rest += obs.weight[b] * (obs.flux[b] - middle[b]) ** 2
    unit = math.sqrt(rest / heavy) if heavy > 0.0 else 0.0
    least = np.float32(FLAT)
    one = np.float32(1.0)
    zero = np.float32(0.0)
    whole = np.float32(rest)
    n = bound.size
    for first in range(0, n, STRIP):
        last = min(first + STRIP, n)
        f = scale[first:last]
        s = curvature[first:last]
        f[:] = zero
        s[:] = zero
        for b in range(chosen.size):
            if chosen[b]:
                w = np.float32(obs.weight[b] / heavy)
                part = obs.weight[b] / heavy * (obs.flux[b] - middle[b])
                wf = np.float32(part / unit if unit > 0.0 else 0.0)
                row = grid.coarse_t[b, first:last]
                for i in range(last - first):
                    f[i] += wf * row[i]
                    s[i] += w * row[i] * row[i]
        out = bound[first:last]
        for i in range(last - first):
            known = s[i] > least
            num = max(f[i], zero)
            a = num / (s[i] if known else one)
            out[i] = whole * (one - a * num) if known else zero
            f[i] = a if known else zero
            s[i] = s[i] if known else zero
    return rest, unit, heavy


@jit
def rounding_of(rest, threshold, n_band):
    """Return what `stellar_bounds` may be off by at any scale that meets the threshold."""
    return 8.0 * ROUNDING * (n_band + 16) * (rest + threshold)


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
def square_sum(threshold, spent):
    """Return (sqrt(threshold) + sqrt(spent))^2: a residual and the unknown part of the bands."""
    root = math.sqrt(threshold) + math.sqrt(spent)
    return root * root


@jit
def keep(grid, farthest, scale_unit, curvature_unit, work):
    """Keep the stellar models whose bound is not above `farthest`."""
    n = 0
    coarse_bound, coarse_scale = work.coarse_bound, work.coarse_scale
    coarse_curvature, luminosity, kept = work.coarse_curvature, grid.luminosity, work.kept
    for i in range(coarse_bound.size):
        kept[n] = i
        # Written so that a comparison with NaN keeps the model.
        if not (coarse_bound[i] > farthest):
            n += 1
    work.counts[KEPT] = n
    for m in range(n):
        i = kept[m]
        lam = luminosity[i]
        scale = scale_unit * coarse_scale[i]
        curvature = curvature_unit * coarse_curvature[i]
        work.bound[m] = coarse_bound[i]
        work.scale[m] = scale
        work.curvature[m] = curvature
        work.t[m] = scale * lam
        work.variance[m] = 0.0
        if lam > 0.0:
            work.variance[m] = lam * lam / curvature if curvature > 0.0 else np.inf
        work.ss[m] = -1.0
    for row in range(4):
        for m in range(n):
            work.w[row, m] = 0.0


@jit
def stellar_reach(tables, threshold, work, low, high):
    """Fill the interval of the stellar flux of each band over the kept stellar models.

    In float32, with the scale of the best model found so far for a unit.
    """
    n_lane = U(-(-low.size // N_LANE) * N_LANE)
    row = U(tables.coarse.size // work.fs.size)
    lower = np.full(n_lane, np.inf, np.float32)
    upper = np.zeros(n_lane, np.float32)
    coarse, kept, unit = tables.coarse, work.kept, work.best[1]
    for m in range(U(work.counts[KEPT])):
        a0, a1 = 0.0, np.inf
        if work.curvature[m] > 0.0:
            half = math.sqrt(max(threshold - work.bound[m], 0.0) / work.curvature[m])
            a0 = min(max(work.scale[m] - half, 0.0) / unit, LARGEST_RATIO)
            a1 = (work.scale[m] + half) / unit
            a1 = a1 if a1 < LARGEST_RATIO else np.inf
        least, most = np.float32(a0), np.float32(a1)
        start = U(kept[m]) * row
        for b in range(U(0), n_lane, TILE_U):
            s = load(coarse, start + b)
            store(lower, b, smaller(least * s, load(lower, b)))
            # 0 times infinity is NaN, and no flux.
            store(upper, b, larger(most * s, load(upper, b)))
    for b in range(low.size):
        size = unit * tables.coarse_unit[b]
        low[b] = size * lower[b] * (1.0 - 8.0 * ROUNDING)
        # Numbers that float32 cannot hold are less than the last term.
        high[b] = size * (upper[b] * (1.0 + 8.0 * ROUNDING) + 1.0 / LARGEST_RATIO)


@jit
def dust_side(grid, tables, obs, sigma, stellar_bands, threshold, budget, work):
    """Fill the bounds of the dust models, after the middle of the kept stars' flux.

    Returns
    -------
    float
        The sum of the squared widths of the bands used.
    """
    n_band = obs.weight.size
    low = np.empty(n_band)
    high = np.empty(n_band)
    stellar_reach(tables, threshold, work, low, high)
    known = (obs.weight > 0.0) & np.isfinite(high)
    middle = np.where(known, 0.5 * (low + high), 0.0)
    width = np.where(known, 0.5 * (high - low) / sigma, np.inf)
    dust_bands = np.zeros(n_band, np.bool_)
    spent = choose(width, known & ~stellar_bands, budget, dust_bands)
    dust_bounds(grid, obs, dust_bands, middle, work.d_bound, work.d_scale, work.d_curvature)
    return spent


@jit
def bound_at(place):
    """Return where the first of the bounds of a tile or group lies; the others are rows after."""
    return place // TILE_U * BLOCK + place % TILE_U


@jit
def tile_bounds(slope, work):
    """Fill what bounds chi2 of all dust models of each tile and of each group.

    The rows of `work.tiles` and `work.groups` are: least bound; least and largest best luminosity;
    largest 1 / curvature; least bound - slope * extension; largest extension.
    """
    tiles, groups = work.tiles, work.groups
    no_bounds(tiles)
    no_bounds(groups)
    for n in range(U(work.order.size)):
        j = U(work.order[n])
        curvature = work.d_curvature[j]
        inverse = 1.0 / curvature if curvature > 0.0 else np.inf
        bound, scale, extension = work.d_bound[j], work.d_scale[j], work.d_extension[j]
        far = bound - slope * extension
        q = n // TILE_U
        widen(tiles, bound_at(q), bound, scale, scale, inverse, far, extension)
        widen(groups, bound_at(q // TILE_U), bound, scale, scale, inverse, far, extension)


@jit
def no_bounds(bounds):
    """Empty all tiles or groups: those without a model are beyond any bound."""
    for start in range(U(0), U(bounds.size), BLOCK):
        for k in range(start, start + TILE_U):
            bounds[k] = np.inf
            bounds[k + ROW1] = np.inf
            bounds[k + ROW2] = 0.0
            bounds[k + ROW3] = 0.0
            bounds[k + ROW4] = np.inf
            bounds[k + ROW5] = -np.inf


@jit
def widen(bounds, k, bound, low, high, inverse, far, extension):
    """Widen the bounds of a tile or group."""
    bounds[k] = min(bounds[k], bound)
    bounds[k + ROW1] = min(bounds[k + ROW1], low)
    bounds[k + ROW2] = max(bounds[k + ROW2], high)
    bounds[k + ROW3] = max(bounds[k + ROW3], inverse)
    bounds[k + ROW4] = min(bounds[k + ROW4], far)
    bounds[k + ROW5] = max(bounds[k + ROW5], extension)


@jit
def may_matter(bounds, block, t, variance, room, room_far, room_most):
    """Tell which of 16 tiles or groups of dust models can lie within reach of a stellar model."""
    k = block * BLOCK
    least = load(bounds, k)
    spare = smaller(
        larger(room - least, room_far - load(bounds, k + ROW4)),
        room_most - least,
    )
    distance = larger(larger(load(bounds, k + ROW1) - t, t - load(bounds, k + ROW2)), 0.0)
    # Written so that a comparison with NaN keeps the tile.
    return (spare >= 0.0) & ~(distance * distance > spare * (variance + load(bounds, k + ROW3)))


@jit
def any_near(groups, t, variance, room):
    """Tell whether any dust model can lie within reach of a stellar model."""
    for block in range(U(groups.size) // BLOCK):
        if any_of(may_matter(groups, block, t, variance, room, room, room)):
            return True
    return False


@jit
def find_runs(slot, room, slope, own, further, level, bare, work, n_run):
    """Add to the list the runs of tiles that a stellar model must be compared with.

    A tile matters if its bound with the stellar model is within `room`, and as much further as the
    extension allows: the larger one of `own` and of the tile's own plus `further`.

    Parameters
    ----------
    slot : int
        Place of the stellar model in `work.kept`.
    room : float
        What chi2 may exceed the bound of the stellar model by, without extension.
    slope : float
        How much further the bound of a pair may be for each unit of extension.
    own, further : float
        Extension of the stellar model, and what it adds to that of a dust model.
    level : float
        sum_b w f^2 less the threshold of chi2 without extension.
    bare : bool
        Whether tiles without extension matter.
    work : Work
        With `tile_bounds`; `runs` gets stellar place, first and last tile (exclusive), `levels`
        the level less the extension.
    n_run : int
        Length of the list so far.

    Returns
    -------
    int
        Length of the list.
    """
    groups, tiles, runs, levels = work.groups, work.tiles, work.runs, work.levels
    t, variance = work.t[slot], work.variance[slot]
    room_own = room + slope * own
    room_far = room + slope * further
    room_most = room + slope * LARGEST_EXTENSION
    begin = n_run
    end = U(0)
    for block in range(U(groups.size) // BLOCK):
        near = bits_of(may_matter(groups, block, t, variance, room_own, room_far, room_most))
        while near:
            group = block * TILE_U + lowest_bit(near)
            near &= near - U(1)
            mask = may_matter(tiles, group, t, variance, room_own, room_far, room_most)
            extensions = group * BLOCK + ROW5
            if not bare:
                mask = mask & (larger(load(tiles, extensions) + further, own) > 0.0)
            inside = bits_of(mask)
            while inside:
                lane = lowest_bit(inside)
                inside &= inside - U(1)
                q = group * TILE_U + lane
                extension = min(max(own, tiles[extensions + lane] + further), LARGEST_EXTENSION)
                if n_run == begin or end + GAP < q:
                    runs[n_run, 0] = slot
                    runs[n_run, 1] = q
                    levels[n_run] = np.inf
                    n_run += 1
                end = q + U(1)
                runs[n_run - 1, 2] = end
                levels[n_run - 1] = min(levels[n_run - 1], level - extension)
    return n_run
