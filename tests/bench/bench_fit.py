"""Speed, accuracy and memory of the fits, beside a table of models as CIGALE keeps one.

Run ``python tests/bench/bench_fit.py`` (with scripts/ on PYTHONPATH), with ``--grid path.npz`` for
a real grid, and with ``--scaling`` for the time by the size of the grid up to 1e8 models and by the
number of threads, too. Times are processor seconds of this process, so that other load on the
machine counts little. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
from synthetic_grid import BANDS, FULL_AXES, synthetic_grid

from dustcast.sed.engine import FitOptions, prepare

REGIMES = {
    "full": "all bands, S/N 10",
    "two_fir": "two far-infrared bands, S/N 10",
    "uvmir": "no far-infrared bands, S/N 10",
    "low_fir": "far-infrared S/N 2 to 5",
    "low_sn": "S/N 1 to 6 everywhere",
}
FAR_INFRARED_UM = 23.0
# Of each time, this code's and the reference's, the shortest of so many: what else the machine does
# only makes a time longer.
REPEATS = 3


def load(path):
    """Read a grid, and the wavelengths of its bands in micron."""
    from dustcast.bands import band_table
    from dustcast.sed.grid import load_grid

    grid = load_grid(path)
    table = band_table()
    return grid, np.array([table[band].pivot_um for band in grid.bands])


def parameter(grid, name):
    """Return the values of a parameter, whatever module a real grid puts before its name."""
    parameters = {**grid.stellar_parameters, **grid.dust_parameters}
    return next(values for key, values in parameters.items() if key.split(".")[-1] == name)


def part_of(grid, n_stellar, n_dust):
    """Return a grid of evenly chosen stellar and dust models."""
    i = np.unique(np.linspace(0, len(grid.luminosity) - 1, n_stellar).astype(int))
    j = np.unique(np.linspace(0, len(grid.dust_flux) - 1, n_dust).astype(int))

    def some(values, index):
        return None if values is None else np.asarray(values)[index]

    return replace(
        grid,
        stellar_flux=grid.stellar_flux[i],
        luminosity=grid.luminosity[i],
        dust_flux=grid.dust_flux[j],
        quantities=tuple(
            replace(q, stellar=some(q.stellar, i), dust=some(q.dust, j)) for q in grid.quantities
        ),
        stellar_parameters={k: some(v, i) for k, v in grid.stellar_parameters.items()},
        dust_parameters={k: some(v, j) for k, v in grid.dust_parameters.items()},
    )


def observe(grid, micron, regime, n, seed=0):
    """Return fluxes and errors of n pixels: common models, a smooth misfit, and noise."""
    rng = np.random.default_rng(seed)
    reddening, r_sfr = parameter(grid, "E_BVs_young"), parameter(grid, "r_sfr")
    umin, gamma = parameter(grid, "umin"), parameter(grid, "gamma")
    likely = (reddening > 0.01) & (reddening < 0.5) & (r_sfr > 0.02) & (r_sfr < 5)
    common = (umin > 0.2) & (umin < 11) & (gamma < 0.07)
    i = rng.choice(np.flatnonzero(likely), n)
    j = rng.choice(np.flatnonzero(common), n)
    flux = grid.stellar_flux[i] + grid.luminosity[i, None] * grid.dust_flux[j]
    flux = flux * 10 ** rng.uniform(-3, 3, (n, 1))
    phase = np.log(micron / micron.min()) / np.log(micron.max() / micron.min())
    for k in range(1, 5):
        wave = np.sin(np.pi * k * phase + rng.uniform(0, 6, (n, 1)))
        flux *= np.exp(0.04 * rng.normal(size=(n, 1)) * wave)
    far = np.flatnonzero(micron > FAR_INFRARED_UM)
    signal_to_noise = np.full(flux.shape, 10.0)
    if regime == "low_fir":
        signal_to_noise[:, far] = rng.uniform(2, 5, (n, len(far)))
    if regime == "low_sn":
        signal_to_noise = rng.uniform(1, 6, flux.shape)
    error = flux / signal_to_noise
    flux = flux + error * rng.normal(size=flux.shape)
    if regime == "two_fir":
        for row in flux:
            row[rng.permutation(far)[2:]] = np.nan
    if regime == "uvmir":
        flux[:, far] = np.nan
    return flux, error


class TableFit:
    """A table of all models, evaluated a band at a time, as CIGALE's pdf_analysis does it."""

    def __init__(self, grid):
        shape = (len(grid.luminosity), len(grid.dust_flux))
        self.n_models = shape[0] * shape[1]
        self.flux = [
            np.add(s[:, None], np.outer(grid.luminosity, d)).ravel()
            for s, d in zip(grid.stellar_flux.T, grid.dust_flux.T)
        ]
        self.values = []
        for q in grid.quantities:
            value = np.ones(shape)
            if q.stellar is not None:
                value = value * q.stellar[:, None]
            if q.dust is not None:
                value = value * q.dust
            self.values.append((q.power, value.ravel()))

    def fit(self, flux, error):
        """Return means and standard deviations of all quantities and bands of one pixel."""
        sigma = np.hypot(error, 0.1 * flux)
        bands = np.flatnonzero(np.isfinite(flux))
        numerator = np.zeros(self.n_models)
        denominator = np.zeros(self.n_models)
        for b in bands:
            numerator += self.flux[b] * (flux[b] / sigma[b] ** 2)
            denominator += self.flux[b] ** 2 * (1 / sigma[b] ** 2)
        scale = numerator / denominator
        chi2 = np.zeros(self.n_models)
        for b in bands:
            chi2 += ((flux[b] - self.flux[b] * scale) * (1 / sigma[b])) ** 2
        weight = np.exp(-0.5 * (chi2 - chi2.min()))
        out = []
        for value in self.flux:
            out.append(self._moments(value * scale, weight))
        for power, value in self.values:
            out.append(self._moments(value * scale if power else value, weight))
        return out

    @staticmethod
    def _moments(values, weight):
        mean = np.average(values, weights=weight)
        return mean, np.sqrt(np.average((values - mean) ** 2, weights=weight))


def worst_error(found, expected):
    """Return the largest error of a mean in units of its standard deviation."""
    worst = 0.0
    for kind in ("", "band_"):
        mean, mean_0 = getattr(found, f"{kind}mean"), getattr(expected, f"{kind}mean")
        std = getattr(expected, f"{kind}std")
        wide = std > 1e-6 * np.abs(mean_0)
        worst = max(worst, np.max(np.abs(mean - mean_0)[wide] / std[wide], initial=0.0))
    return float(worst)


def cpu(function, *arguments):
    """Return the processor seconds that a call takes."""
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def scaling(grid, micron, options, n):
    """Print times by the size of the grid and by the number of threads."""
    print(f"\n{'models':>14}{'ms a pixel: full':>18}{'uvmir':>8}{'low_sn':>8}")
    regimes = ("full", "uvmir", "low_sn")
    rows = [observe(grid, micron, regime, n) for regime in regimes]
    more = {**FULL_AXES, "age": [2000, 4500, 7000, 8500, 9500, 11000, 12000]}
    sizes = ((100, 100), (590, 169), (2950, 339), (14750, 678), None, more)
    for size in sizes:
        if size is None:
            some = grid
        elif size is more:
            if grid.meta.get("grid") != "synthetic":
                continue
            some = synthetic_grid(more, many_quantities=True)
        else:
            some = part_of(grid, *size)
        each = prepare(some, options)
        each.fit(rows[0][0][:1], rows[0][1][:1])
        ms = [1e3 * cpu(each.fit, *row) / n for row in rows]
        print(f"{some.n_models:>14,}{ms[0]:>18.2f}{ms[1]:>8.2f}{ms[2]:>8.2f}")
    print(f"\n{'threads':>14}{'pixels/s':>12}   (wall time, no far-infrared)")
    for threads in (1, 2, 4):
        each = prepare(grid, replace(options, threads=threads))
        flux, error = observe(grid, micron, "uvmir", 4 * n)
        each.fit(flux[:8], error[:8])
        start = time.perf_counter()
        each.fit(flux, error)
        print(f"{threads:>14}{len(flux) / (time.perf_counter() - start):>12.1f}")


def main():
    """Print the tables of the benchmark and its JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", help="a grid of dustcast.sed.grid (default: a synthetic one)")
    parser.add_argument("--pixels", type=int, default=24, help="pixels a regime")
    parser.add_argument("--scaling", action="store_true", help="larger grids and threads, too")
    parser.add_argument("--check", type=int, default=2, help="pixels checked on the whole grid")
    arguments = parser.parse_args()
    if arguments.grid:
        grid, micron = load(arguments.grid)
    else:
        grid = synthetic_grid(FULL_AXES, many_quantities=True)
        micron = np.array(list(BANDS.values()))
    options = FitOptions(error_floor=0.0, error_floor_log=0.0)
    prepared = prepare(grid, options)
    flux, error = observe(grid, micron, "full", 1)
    start = time.perf_counter()
    prepared.fit(flux, error)
    print(f"grid of {grid.n_models:,} models in {len(grid.bands)} bands")
    print(f"{len(grid.quantities)} quantities")
    print(f"rank {len(prepared.vectors)}, relative error {prepared.rank_error:.1e}")
    print(f"first fit, with compilation or cache: {time.perf_counter() - start:.1f} s\n")

    found = {}
    print(f"{'regime':<32}{'ms: median':>11}{'mean':>8}{'max':>8}{'pixels/s':>10}{'counted':>12}")
    for regime in REGIMES:
        flux, error = observe(grid, micron, regime, arguments.pixels)
        results, times = [], []
        for n in range(len(flux)):
            row = slice(n, n + 1)
            results.append(prepared.fit(flux[row], error[row]))
            times.append(min(cpu(prepared.fit, flux[row], error[row]) for _ in range(REPEATS)))
        ms = 1e3 * np.array(times)
        counted = np.mean([r.n_counted[0] for r in results])
        found[regime] = {"pixels_per_s_core": 1e3 / ms.mean()}
        print(
            f"{REGIMES[regime]:<32}{np.median(ms):>11.2f}{ms.mean():>8.2f}{ms.max():>8.2f}"
            f"{1e3 / ms.mean():>10.1f}{counted:>12.3g}"
        )
    # All that the fits themselves need; the checks below take far more.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    # Arrays of 32 MB, beyond the caches as those of the whole grid would be (a table of 16 GB).
    table = TableFit(part_of(grid, 5900, 678))
    small = part_of(grid, 650, 154)
    own, brute = prepare(small, options), prepare(small, replace(options, method="brute"))
    screen = prepare(grid, replace(options, method="screen"))
    print(f"\n{'regime':<32}{'table, s':>10}{'ratio':>10}{'error/sigma':>13}{'on all':>10}")
    for regime in REGIMES:
        flux, error = observe(grid, micron, regime, arguments.pixels)
        seconds = min(cpu(table.fit, flux[0], error[0]) for _ in range(REPEATS))
        seconds *= grid.n_models / table.n_models
        worst = worst_error(own.fit(flux, error), brute.fit(flux, error))
        few = slice(0, arguments.check)
        on_all = 0.0
        if arguments.check:
            on_all = worst_error(
                prepared.fit(flux[few], error[few]), screen.fit(flux[few], error[few])
            )
        found[regime]["ratio_to_table"] = seconds * found[regime]["pixels_per_s_core"]
        found[regime]["max_mean_error_sigma"] = max(worst, on_all)
        ratio = found[regime]["ratio_to_table"]
        print(f"{REGIMES[regime]:<32}{seconds:>10.1f}{ratio:>10.0f}{worst:>13.1e}{on_all:>10.1e}")

    if arguments.scaling:
        scaling(grid, micron, options, arguments.pixels)

    def rounded(value):
        return float(f"{value:.4g}")

    print(f"\npeak memory of the fits: {peak:.0f} MB\n")
    report = {
        "bench": "fit",
        "grid_models": grid.n_models,
        "peak_rss_mb": rounded(peak),
        "regimes": {
            name: {key: rounded(value) for key, value in regime.items()}
            for name, regime in found.items()
        },
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
