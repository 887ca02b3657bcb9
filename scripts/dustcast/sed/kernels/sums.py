"""Sums over bands of the stellar and of the dust models, for one observation."""

from __future__ import annotations

import math

import numpy as np

from dustcast.sed.kernels.compiled import U, jit
from dustcast.sed.kernels.layout import COARSE_RANK, COARSE_ROWS, TILE_U


@jit
def dust_sums(grid, obs, work):
    """Fill the sums over bands of every dust model, in the order of the grid.

    `work.plain` has the rows fD = sum_b w f D, DD = sum_b w D^2, 1 (places without a model have
    0), and sum_b w vectors[k, b] D[b].
    """
    sums = work.plain
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
def arrange_sums(total, work):
    """Bring the sums of the dust models into the order of `work.order`."""
    n_dust = work.order.size
    order, plain, dust, coarse = work.order, work.plain, work.dust, work.coarse
    n_row = plain.shape[0]
    for r in range(n_row):
        row = plain[r]
        for place in range(U(n_dust)):
            start = (place // TILE_U * U(n_row) + U(r)) * TILE_U
            dust[start + place % TILE_U] = row[order[place]]
    # Of order one, so that float32 holds them.
    size = np.max(plain[1])
    vector = np.max(np.abs(plain[3 : 3 + COARSE_RANK]))
    work.units[0] = math.sqrt(total)
    work.units[1] = math.sqrt(size) if size > 0.0 else 1.0
    work.units[2] = vector if vector > 0.0 else 1.0
    for r in range(COARSE_ROWS):
        unit = work.units[2]
        if r == 0:
            unit = work.units[0] * work.units[1]
        if r == 1:
            unit = work.units[1] ** 2
        part = 1.0 / unit if unit > 0.0 else 0.0
        row = plain[r if r < 2 else r + 1]
        for place in range(U(n_dust)):
            start = (place // TILE_U * U(COARSE_ROWS) + U(r)) * TILE_U
            coarse[start + place % TILE_U] = np.float32(part * row[order[place]])


@jit
def arrange_emission(grid, work):
    """Bring the emission of the dust models into the order of `work.order`."""
    order, emission = work.order, work.emission
    n_coupled = grid.coupled.size
    for c in range(n_coupled):
        row = grid.dust_t[grid.coupled[c]]
        for place in range(U(order.size)):
            start = (place // TILE_U * U(n_coupled) + U(c)) * TILE_U
            emission[start + place % TILE_U] = row[order[place]]


@jit
def stellar_sums(stellar, flux, weight, i):
    """Return sum_b w f S and sum_b w S^2 of the stellar model `i`."""
    f = 0.0
    s = 0.0
    for b in range(U(flux.size)):
        ws = weight[b] * stellar[i, b]
        f += ws * flux[b]
        s += ws * stellar[i, b]
    return f, s
