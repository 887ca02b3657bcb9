"""The galaxies of the mock survey: names, positions, distances, sizes, shapes and types.

The plan needs them when the Snakefile is read, so they are drawn here from DustPedia's moments with
the standard library alone. What the galaxies are made of is drawn in `dustcast.mock.galaxies`.
"""

from __future__ import annotations

import json
import math
import random
from functools import lru_cache

from dustcast.config import REPOSITORY
from dustcast.sample import Galaxy
from dustcast.tables import DataError
from dustcast.units import ARCSEC_RAD

MOMENTS = REPOSITORY / "resources" / "mock_moments.json"
MODEL_NODES = REPOSITORY / "resources" / "mock_models.yaml"

# The nearest galaxies, which alone have pixels at 150 pc (18" at 1.72 Mpc): distance in Mpc, D25 in
# arcsec, axis ratio (None: drawn). Two are large and stand in for M31 and M33, with about 1500
# pixels of 18" inside D25. All exceed 3 kpc, so they are shared by all scales up to 3 kpc.
NEAREST = ((1.1, 640.0, None), (1.35, 880.0, 0.80), (1.5, 480.0, None), (1.7, 860.0, 0.85))
SMALLEST_D25_ARCSEC, LARGEST_D25_ARCSEC = 60.0, 900.0  # DustPedia's limit; fields up to 15'
SMALLEST_DISTANCE_MPC = 1.8  # of the others
# Beyond this 3 kpc, the widest of the paper's physical scales, is less than 18".
FARTHEST_NEARBY_MPC = 3e-3 / (18 * ARCSEC_RAD)
# Intrinsic thickness of discs and of early types, as minor over major axis (Hubble 1926 for the
# formula; the usual value of discs; early types are seldom flatter than E6).
THICKNESS_LATE, THICKNESS_EARLY = 0.2, 0.45
STAGES = (-5.0, 10.0)
GOLDEN = (math.sqrt(5) - 1) / 2
MAX_TRIES = 1000


@lru_cache(maxsize=2)
def read_moments(path=MOMENTS):
    """Read the moments of the DustPedia galaxies (`dustcast.mock.moments`).

    Returns
    -------
    dict
        As `dustcast.mock.moments.measure_moments` returns it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise DataError(
            f"{path} cannot be read ({fault}): it ships with dustcast, restore it"
        ) from None


def mock_galaxies(n_galaxies, seed, nearby_share=0.0):
    """Draw the galaxies of the mock survey.

    Parameters
    ----------
    n_galaxies : int
        How many; 4 of them are the `NEAREST`.
    seed : int
        Seed of the population.
    nearby_share : float
        Share of the others whose logarithms of distance are spread evenly up to
        `FARTHEST_NEARBY_MPC`, so that more of them have pixels of physical scales.

    Returns
    -------
    list of Galaxy
        The nearest, then, in random order, one from each n-th part of the distribution of
        DustPedia's distances, and one from each part of the even one. Size and Hubble stage follow
        the distance as in DustPedia. Positions are spread over the sky, so that no two ellipses
        overlap.
    """
    moments = read_moments()
    rng = random.Random(seed)
    width = max(3, len(str(n_galaxies)))
    others = n_galaxies - len(NEAREST)
    nearby = round(nearby_share * others)
    parts = list(range(others))
    rng.shuffle(parts)
    galaxies = []
    for number in range(n_galaxies):
        if number < len(NEAREST):
            distance, d25, axis_ratio = NEAREST[number]
            _, stage = _size_and_stage(moments, rng, distance, d25)
        else:
            part = parts[number - len(NEAREST)] + rng.random()
            if part < nearby:
                growth = FARTHEST_NEARBY_MPC / SMALLEST_DISTANCE_MPC
                distance = SMALLEST_DISTANCE_MPC * growth ** (part / nearby)
            else:
                share = (part - nearby) / (others - nearby)
                distance = max(_quantile(moments["distance_mpc"], share), SMALLEST_DISTANCE_MPC)
            d25, stage = _size_and_stage(moments, rng, distance)
            axis_ratio = None
        if axis_ratio is None:
            # Random orientations: the cosine of the inclination is uniform.
            thickness = THICKNESS_EARLY if stage < 0 else THICKNESS_LATE
            axis_ratio = math.hypot(thickness, math.sqrt(1 - thickness**2) * rng.random())
        galaxies.append(
            Galaxy(
                galaxy=f"MOCK{number + 1:0{width}d}",
                ra=_digits(360 * (number * GOLDEN % 1), 6),
                dec=_digits(math.degrees(math.asin(2 * (number + 0.5) / n_galaxies - 1)), 6),
                distance=_digits(distance, 4),
                redshift=0.0,
                d25_arcsec=_digits(d25, 2),
                axis_ratio=_digits(axis_ratio, 4),
                pa=_digits(180 * rng.random(), 2),
                hubble_stage=_digits(stage, 1),
                source="mock",
            )
        )
    return galaxies


def dust_smoothing_kpc(mock, galaxy):
    """Return the width in kpc over which absorbed light spreads before dust emits it.

    Parameters
    ----------
    mock : dict
        Section `mock` of the configuration.
    galaxy : str
    """
    return mock["dust_smoothing_of"].get(galaxy, mock["dust_smoothing_kpc"])


def _digits(value, count):
    """Return a value as the table of galaxies holds it, the same for the plan and for the jobs."""
    return round(value, count)


def _quantile(values, share):
    """Return a quantile from values at equal steps of probability."""
    position = share * (len(values) - 1)
    low = min(int(position), len(values) - 2)
    return values[low] + (position - low) * (values[low + 1] - values[low])


def _size_and_stage(moments, rng, distance, d25=None):
    """Draw D25 (arcsec) and Hubble stage of a galaxy at a distance, of a given D25 if there is one.

    Sizes and stages outside the survey's limits are drawn again.
    """
    names = moments["quantities"]
    x, y, z = (names.index(n) for n in ("log_distance_mpc", "log_d25_kpc", "hubble_stage"))
    log_distance = math.log10(distance)
    densities = []
    for component in moments["components"]:
        mean, variance = component["mean"][x], component["covariance"][x][x]
        offset = (log_distance - mean) ** 2 / variance
        densities.append(component["weight"] * math.exp(-offset / 2) / math.sqrt(variance))
    kpc_per_arcsec = ARCSEC_RAD * distance * 1e3
    for _ in range(MAX_TRIES):
        component = rng.choices(moments["components"], densities)[0]
        mean, cov = component["mean"], component["covariance"]
        # Size given distance, then stage given both: two steps of a Cholesky factorisation.
        slope = cov[x][y] / cov[x][x]
        scatter = math.sqrt(cov[y][y] - slope * cov[x][y])
        expected = mean[y] + slope * (log_distance - mean[x])
        if d25 is None:
            log_size = expected + scatter * rng.gauss(0, 1)
        else:
            log_size = math.log10(d25 * kpc_per_arcsec)
        size = 10**log_size / kpc_per_arcsec
        first = cov[x][z] / cov[x][x]
        second = (cov[y][z] - slope * cov[x][z]) / scatter**2
        rest = cov[z][z] - first * cov[x][z] - second**2 * scatter**2
        stage = mean[z] + first * (log_distance - mean[x]) + second * (log_size - expected)
        stage += math.sqrt(rest) * rng.gauss(0, 1)
        allowed = d25 is not None or SMALLEST_D25_ARCSEC <= size <= LARGEST_D25_ARCSEC
        if allowed and STAGES[0] <= stage <= STAGES[1]:
            return size, stage
    raise DataError(
        f"no galaxy of the survey's sizes exists at {distance:.3g} Mpc: check {MOMENTS}"
    )
