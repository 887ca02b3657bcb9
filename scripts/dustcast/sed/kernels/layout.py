"""What the kernels work on, and how it lies in memory.

Dust models are kept in tiles of `TILE`, the unit of pruning, and tiles in groups of as many, which
are pruned first. Arrays over dust models that the inner loops touch are one-dimensional: a tile
after the other, and within it a row of `TILE` places after the other, the `Lanes` of
`dustcast.sed.kernels.lanes`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dustcast.sed.kernels.compiled import U, jit
from dustcast.sed.kernels.lanes import N_LANE, zeros

# Places of Work.counts.
KEPT, EVALUATED, COUNTED, GIVEN_UP = range(4)

# Dust models a tile, tiles a group, and groups that are tested at once.
TILE = N_LANE
TILE_U = U(TILE)
ZERO, ONE, TWO, THREE, FOUR = (U(k) for k in range(5))
# Where rows of a tile begin.
ROW1, ROW2, ROW3, ROW4, ROW5, ROW6, ROW7, ROW8, ROW9 = (U(row * TILE) for row in range(1, 10))
# Rank of the product of stars and dust in float32 that screens, and rows of its tiles.
COARSE_RANK = 8
COARSE_ROWS = 2 + COARSE_RANK
# Rows of what bounds tiles and groups.
BOUND_ROWS = 6
# Length of the list of runs at which it is worked off.
FULL = 4096


class Grid(NamedTuple):
    """The grid in dimensionless units.

    Attributes
    ----------
    stellar : ndarray of shape (n_stellar, n_band)
        Stellar fluxes s.
    coarse_t : ndarray of float32, shape (n_band, n_stellar)
        Their transpose.
    shine : ndarray of shape (n_stellar, n_coupled)
        s in the coupled bands.
    luminosity : ndarray of shape (n_stellar,)
    u, vectors : ndarray of shape (n_stellar, rank) and (rank, n_coupled)
        s[i, b] = sum_k u[i, k] vectors[k, c] in the band b = coupled[c].
    coarse_u, coarse_error : ndarray of float32 and float64, (n_stellar, COARSE_RANK), (n_stellar,)
        The first columns of u, and the error that they leave to the sum of stars and dust.
    coupled : ndarray of int, shape (n_coupled,)
    dust_t : ndarray of shape (n_band, n_dust)
        Dust emission d.
    factors, powers : ndarray of shape (n_factor, n_stellar) and (n_factor,)
        Stellar factors of products with a dust factor, the first the luminosity, and the power of
        the scale that goes with each.
    """

    stellar: np.ndarray
    coarse_t: np.ndarray
    shine: np.ndarray
    luminosity: np.ndarray
    u: np.ndarray
    vectors: np.ndarray
    coarse_u: np.ndarray
    coarse_error: np.ndarray
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
    coarse, coarse_unit : ndarray of float32 and float64
        `stellar` over the largest of each column, in rows of whole `Lanes` one after the other, and
        these largest values.
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
    coarse: np.ndarray
    coarse_unit: np.ndarray
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
        The stellar models that are left, first `counts[KEPT]` places.
    w : ndarray of shape (4, n_stellar)
        Sums over dust models of the likelihood weight: w, w a, w a^2, w ln a; at the places of
        `kept`.
    order : ndarray of int, shape (n_dust,)
        The dust model at each place.
    rows : ndarray
        Tiles of 1 + 3 n_factor rows, at the places of `order`: sums over stellar models of w; then
        for each factor w t, w t^2, w ln t with t = a^power g.
    cross : ndarray of shape (n_coupled * TILE,)
        Sums over all models of w a^2 S L D in the coupled bands, by the place in a tile.
    squares : ndarray of shape (1 + n_factor,)
        Sums over all models of w (ln a)^2 and of w (ln t)^2 of each factor.
    best : ndarray of shape (2,)
        Smallest chi2 and its scale.
    best_index : ndarray of int, shape (2,)
        Its stellar and dust model, -1 if there is none.
    counts : ndarray of int, shape (4,)
        Stellar models kept, models evaluated, models counted, whether pruning was given up.
    coarse_bound, coarse_scale, coarse_curvature : ndarray of float32, shape (n_stellar,)
        Of `stellar_bounds`.
    bound, scale, curvature, t, variance : ndarray of shape (n_stellar,)
        The same at the places of `kept`, in the units of the observation, and the dust luminosity
        that a stellar model predicts, with its variance.
    fs, ss : ndarray of shape (n_stellar,)
        sum_b w f S and sum_b w S^2 with w = 1 / sigma^2, at the places of `kept`; `ss` is negative
        where they have not been needed yet.
    d_bound, d_scale, d_curvature : ndarray of shape (n_dust,)
        Of `dust_bounds`.
    d_extension : ndarray of shape (n_dust,)
        Of `dust_extensions`.
    plain : ndarray of shape (3 + rank, n_dust)
        Of `dust_sums`, in the order of the grid.
    dust, emission : ndarray
        Tiles of these rows, and of n_coupled rows of dust emission, in the order of `order`.
    coarse : ndarray of float32
        Tiles of COARSE_ROWS rows, for `screen_tiles`.
    coefficients : ndarray of float32, shape (4 + COARSE_RANK,)
        Of one stellar model, for `screen_tiles`.
    units : ndarray of shape (3,)
        Of the flux, of the dust emission and of its product with `vectors` in `coarse`.
    values : ndarray of shape (2 * TILE,)
        Two rows of one tile, for what is done a model at a time.
    hits : ndarray of uint64, shape (n_tile,)
        Of `screen_tiles`.
    waiting, waiting_squares : ndarray of uint64, shape (4,), and of shape (4 * TILE,)
        Tiles that `count_runs` has yet to add to `cross`, and what it multiplies them with.
    tiles, groups : ndarray
        Of `tile_bounds`: BOUND_ROWS rows for each 16 tiles, and for each 16 groups.
    runs, levels : ndarray of uint64, shape (n, 3), and of float64, shape (n,)
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
    coarse_bound: np.ndarray
    coarse_scale: np.ndarray
    coarse_curvature: np.ndarray
    bound: np.ndarray
    scale: np.ndarray
    curvature: np.ndarray
    t: np.ndarray
    variance: np.ndarray
    fs: np.ndarray
    ss: np.ndarray
    d_bound: np.ndarray
    d_scale: np.ndarray
    d_curvature: np.ndarray
    d_extension: np.ndarray
    plain: np.ndarray
    dust: np.ndarray
    emission: np.ndarray
    coarse: np.ndarray
    coefficients: np.ndarray
    units: np.ndarray
    values: np.ndarray
    hits: np.ndarray
    waiting: np.ndarray
    waiting_squares: np.ndarray
    tiles: np.ndarray
    groups: np.ndarray
    runs: np.ndarray
    levels: np.ndarray


def work_space(grid: Grid) -> Work:
    """Return the memory that one thread needs for a grid."""
    n_stellar = len(grid.luminosity)
    n_dust = grid.dust_t.shape[1]
    n_group = -(-n_dust // TILE**2)
    n_tile = n_group * TILE
    n_place = n_tile * TILE
    n_factor, n_coupled, rank = len(grid.powers), len(grid.coupled), len(grid.vectors)
    stellar = {
        name: np.zeros(n_stellar)
        for name in ("bound", "scale", "curvature", "t", "variance", "fs", "ss")
    }
    coarse = {
        name: np.zeros(n_stellar, np.float32)
        for name in ("coarse_bound", "coarse_scale", "coarse_curvature")
    }
    dust = {name: np.zeros(n_dust) for name in ("d_bound", "d_scale", "d_curvature", "d_extension")}
    return Work(
        **stellar,
        **coarse,
        **dust,
        kept=np.zeros(n_stellar, np.int64),
        w=np.zeros((4, n_stellar)),
        order=np.zeros(n_dust, np.int64),
        rows=zeros((1 + 3 * n_factor) * n_place),
        cross=zeros(n_coupled * TILE),
        squares=np.zeros(1 + n_factor),
        best=np.zeros(2),
        best_index=np.zeros(2, np.int64),
        counts=np.zeros(4, np.int64),
        plain=np.zeros((3 + rank, n_dust)),
        dust=zeros((3 + rank) * n_place),
        emission=zeros(n_coupled * n_place),
        coarse=zeros(COARSE_ROWS * n_place, np.float32),
        coefficients=np.zeros(4 + COARSE_RANK, np.float32),
        units=np.zeros(3),
        values=zeros(2 * TILE),
        hits=np.zeros(n_tile, np.uint64),
        waiting=np.zeros(4, np.uint64),
        waiting_squares=zeros(4 * TILE),
        tiles=zeros(BOUND_ROWS * n_tile),
        groups=zeros(BOUND_ROWS * -(-n_group // TILE) * TILE),
        runs=np.zeros((FULL + n_tile, 3), np.uint64),
        levels=np.zeros(FULL + n_tile),
    )


@jit
def row_at(grid, work, row, place):
    """Return one of the sums of a dust model."""
    tile, within = U(place) // TILE_U, U(place) % TILE_U
    return work.rows[(tile * U(1 + 3 * grid.powers.size) + U(row)) * TILE_U + within]
