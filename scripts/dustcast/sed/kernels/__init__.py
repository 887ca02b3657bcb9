"""Compiled kernels of the fit engine; `dustcast.sed.engine` prepares their input.

All of them work on one observation in dimensionless units: fluxes are divided by a unit a band
and one an observation, stellar models by their own size, so that nothing under- or overflows
whatever the distance of the galaxy. Symbols and proofs are those of docs/method-fits.md.

In the order of a fit: `layout` (what lies where in memory), `sums`, `bounds`, `screening`,
`counting`, `extremes`, `moments`; `search` puts them together, `compiled` tells numba how.
Sums over stellar models run in the order of the grid, whatever the number of threads.
"""

from dustcast.sed.kernels.counting import limit_term
from dustcast.sed.kernels.lanes import rows_of_lanes
from dustcast.sed.kernels.layout import (
    COARSE_RANK,
    COUNTED,
    EVALUATED,
    GIVEN_UP,
    KEPT,
    TILE,
    Grid,
    Observation,
    Tables,
    Work,
    work_space,
)
from dustcast.sed.kernels.moments import log_moments, moments
from dustcast.sed.kernels.screening import ROUNDING
from dustcast.sed.kernels.search import pruned, screen

__all__ = [
    "COARSE_RANK",
    "COUNTED",
    "EVALUATED",
    "GIVEN_UP",
    "KEPT",
    "ROUNDING",
    "TILE",
    "Grid",
    "Observation",
    "Tables",
    "Work",
    "limit_term",
    "log_moments",
    "moments",
    "pruned",
    "rows_of_lanes",
    "screen",
    "work_space",
]
