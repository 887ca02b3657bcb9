"""Lower bounds of chi2, and the lists of models that they leave.

Symbols and proofs are those of docs/method-fits.md.
"""

from __future__ import annotations

import math

import numpy as np

from dustcast.sed.kernels.compiled import U, jit
from dustcast.sed.kernels.layout import GROUP, KEPT, TILE
from dustcast.sed.kernels.screening import ROUNDING

# Stellar models that are summed at a time, so that their sums stay in the first-level cache.
STRIP = 1024
# Below this curvature, in the units of `stellar_bounds`, float32 has lost its digits.
FLAT = 1e-25
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
def stellar_reach(grid, threshold, work, low, high):
    """Fill the interval of the stellar flux of each band over the kept stellar models."""
    low[:] = np.inf
    high[:] = 0.0
    stellar = grid.stellar
    for m in range(work.counts[KEPT]):
        i = U(work.kept[m])
        curvature = work.curvature[m]
        if curvature > 0.0:
            half = math.sqrt(max(threshold - work.bound[m], 0.0) / curvature)
            a0 = max(work.scale[m] - half, 0.0)
            a1 = work.scale[m] + half
            for b in range(U(low.size)):
                low[b] = min(low[b], a0 * stellar[i, b])
                high[b] = max(high[b], a1 * stellar[i, b])
        else:
            for b in range(U(low.size)):
                low[b] = 0.0
                if stellar[i, b] > 0.0:
                    high[b] = np.inf


@jit
def dust_side(grid, obs, sigma, stellar_bands, threshold, budget, work):
    """Fill the bounds of the dust models, after the middle of the kept stars' flux.

    Returns
    -------
    float
        The sum of the squared widths of the bands used.
    """
    n_band = obs.weight.size
    low = np.empty(n_band)
    high = np.empty(n_band)
    stellar_reach(grid, threshold, work, low, high)
    known = (obs.weight > 0.0) & np.isfinite(high)
    middle = np.where(known, 0.5 * (low + high), 0.0)
    width = np.where(known, 0.5 * (high - low) / sigma, np.inf)
    dust_bands = np.zeros(n_band, np.bool_)
    spent = choose(width, known & ~stellar_bands, budget, dust_bands)
    dust_bounds(grid, obs, dust_bands, middle, work.d_bound, work.d_scale, work.d_curvature)
    return spent


@jit
def tile_bounds(slope, work):
    """Fill what bounds chi2 of all dust models of each tile and of each group.

    The rows of `work.tiles` and `work.groups` are: least bound; least and largest best luminosity;
    largest 1 / curvature; least bound - slope * extension; largest extension.
    """
    tiles, groups, n_dust = work.tiles, work.groups, work.order.size
    tiles[:2] = np.inf
    tiles[2:4] = 0.0
    # Places without a model are beyond any bound.
    tiles[4] = np.inf
    tiles[5] = -np.inf
    for n in range(n_dust):
        j = work.order[n]
        q = n // TILE
        curvature = work.d_curvature[j]
        inverse = 1.0 / curvature if curvature > 0.0 else np.inf
        tiles[0, q] = min(tiles[0, q], work.d_bound[j])
        tiles[1, q] = min(tiles[1, q], work.d_scale[j])
        tiles[2, q] = max(tiles[2, q], work.d_scale[j])
        tiles[3, q] = max(tiles[3, q], inverse)
        tiles[4, q] = min(tiles[4, q], work.d_bound[j] - slope * work.d_extension[j])
        tiles[5, q] = max(tiles[5, q], work.d_extension[j])
    for g in range(groups.shape[1]):
        first = g * GROUP
        groups[:, g] = tiles[:, first]
        for q in range(first + 1, first + GROUP):
            for row in (0, 1, 4):
                groups[row, g] = min(groups[row, g], tiles[row, q])
            for row in (2, 3, 5):
                groups[row, g] = max(groups[row, g], tiles[row, q])


@jit
def may_matter(runs, q, t, variance, room, room_far, room_most):
    """Tell whether a tile or group of dust models can lie within reach of a stellar model."""
    spare = min(max(room - runs[0, q], room_far - runs[4, q]), room_most - runs[0, q])
    distance = max(max(runs[1, q] - t, t - runs[2, q]), 0.0)
    # Written so that a comparison with NaN keeps the run.
    return (spare >= 0.0) and not (distance * distance > spare * (variance + runs[3, q]))


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
    for g in range(U(groups.shape[1])):
        if not may_matter(groups, g, t, variance, room_own, room_far, room_most):
            continue
        for q in range(g * U(GROUP), g * U(GROUP) + U(GROUP)):
            extension = min(max(own, tiles[5, q] + further), LARGEST_EXTENSION)
            if (bare or extension > 0.0) and may_matter(
                tiles, q, t, variance, room_own, room_far, room_most
            ):
                if n_run == begin or end + GAP < q:
                    runs[n_run, 0] = slot
                    runs[n_run, 1] = q
                    levels[n_run] = np.inf
                    n_run += 1
                end = q + U(1)
                runs[n_run - 1, 2] = end
                levels[n_run - 1] = min(levels[n_run - 1], level - extension)
    return n_run
