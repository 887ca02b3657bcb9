"""Fluxes and errors of a simulated survey of images against what was put in: ``make bench-survey``.

Reads what the rules of images and truth left of a run of config/mock.yaml, and prints for each
band, over all galaxies: how far convolution and resampling change the flux inside D25 (noise, stars
and sky apart), and the scatter of pixels in units of their background and photon errors around the
galaxies and inside D25, calibration and extinction set to what was put in. Around the galaxies it
also says how much of that is the scatter within an image and how much the level of its sky. Errors
are those of a bootstrap over galaxies. A band marked * is wider than the scale's PSF, to which its
truth was brought: look at it at a coarser scale.
"""

import sys
from pathlib import Path

import numpy as np

from dustcast.bands import band_table
from dustcast.imaging.cube import read_cube
from dustcast.mock.truth import read_maps
from dustcast.sample import galaxy_table
from dustcast.tables import read_csv, read_table

SCALES = ("18arcsec", "25arcsec")
# Sky begins where the galaxy has faded: in units of the D25 ellipse.
SKY_FROM = 1.8
# Images of which this share or less is missing have no edge cut off.
COVERED = 0.9
OUTSIDE, MASKED = 4, 3
N_BOOTSTRAP = 200
LEAST_PIXELS = 50  # of an image whose level and scatter are told apart


def stage_rows(folder):
    """Yield (galaxy, quantity, scale, band, residual) of images without missing edges."""
    for path in sorted(folder.glob("mock/stages/*.parquet")):
        table = read_table(path)
        put_in = read_table(folder / "mock/bands" / path.name)
        whole = dict(zip(put_in["band"], put_in["covered"] > COVERED))
        names = ("galaxy", "stage", "quantity", "scale", "band", "residual")
        for galaxy, stage, quantity, scale, band, residual in zip(*(table[n] for n in names)):
            if whole[band]:
                yield galaxy, f"{stage} {quantity}", scale, band, residual


def pixel_pulls(folder, galaxies, scale):
    """Return pulls around and inside the galaxies by band, and the bands wider than the PSF."""
    around, inside, wider = {}, {}, set()
    for path in sorted(folder.glob(f"cubes/*/{scale}.fits")):
        name = path.parent.name
        maps = read_maps(folder / f"mock/maps/{name}.fits")[scale]
        if maps is None:
            continue
        cube, galaxy = read_cube(path), galaxies[name]
        put_in = read_table(folder / f"mock/bands/{name}.parquet")
        stated = float(next(iter(read_csv(folder / f"mock/reddening/{name}.csv", ("ebv",))))["ebv"])
        rows = {band: k for k, band in enumerate(put_in["band"])}
        radius = cube.grid.elliptical_radius(galaxy.pa, galaxy.axis_ratio) / galaxy.d25_arcsec * 2
        for k, band in enumerate(cube.bands):
            if cube.why[k] or band not in maps:
                continue
            if cube.info[k].get("DC_WIDER"):
                wider.add(band)
            true_extinction = put_in["extinction_mag"][rows[band]]
            undone = 10 ** (0.4 * (band_table()[band].extinction * stated - true_extinction))
            gain = undone * (1 + put_in["calibration_error"][rows[band]])
            error = np.hypot(cube.parts["RMS"][k], cube.parts.get("POIS", 0 * cube.flux)[k])
            good = (cube.mask[k] & MASKED) == 0
            # The truth is brought to the image: its noise has no part in the gain.
            pull = (cube.flux[k] - gain * maps[band]) / error
            for found, where in (
                (around, good & (radius > SKY_FROM)),
                (inside, good & ((cube.mask[k] & OUTSIDE) == 0)),
            ):
                found.setdefault(band, []).append(pull[where & np.isfinite(pull)])
    return around, inside, wider


def with_error(parts, rng):
    """Return the scatter of all pulls of some galaxies, and its error by a bootstrap over them."""
    draws = rng.integers(len(parts), size=(N_BOOTSTRAP, len(parts)))
    drawn = [scatter(np.concatenate([parts[k] for k in draw])) for draw in draws]
    return scatter(np.concatenate(parts)), np.std(drawn)


def scatter(values):
    """Return the standard deviation that the median absolute deviation stands for."""
    return 1.4826 * np.median(np.abs(values - np.median(values)))


def main(folder):
    """Print the tables."""
    galaxies = galaxy_table(folder / "sample/galaxies.csv")
    changed = {}
    for galaxy, quantity, scale, band, residual in stage_rows(folder):
        changed.setdefault((quantity, scale), {}).setdefault(band, []).append((residual, galaxy))
    for (quantity, scale), by_band in changed.items():
        print(f"\n{quantity} {scale}: mean, largest, of flux inside D25 (galaxies)")
        for band, found in by_band.items():
            values = np.array([value for value, _ in found])
            worst = int(np.nanargmax(np.abs(values)))
            print(
                f"  {band:12s} {100 * np.nanmean(values):+7.2f}% {100 * values[worst]:+8.2f}% "
                f"{found[worst][1]} ({len(values)})"
            )
    for scale in SCALES:
        print_pulls(folder, galaxies, scale)


def print_pulls(folder, galaxies, scale):
    """Print the scatter of the pulls at a scale."""
    around, inside, wider = pixel_pulls(folder, galaxies, scale)
    if not around:
        return
    rng = np.random.default_rng(0)
    print(f"\npulls at {scale}: 1.48 MAD (standard deviation, pixels) around and inside; around:")
    for band in around:
        cells = []
        for parts in (around[band], inside[band]):
            parts = [pulls for pulls in parts if pulls.size]
            value, error = with_error(parts, rng)
            pulls = np.concatenate(parts)
            cells.append(f"{value:.2f} +- {error:.2f} ({np.std(pulls):.2f}, {len(pulls)})")
        images = [pulls for pulls in around[band] if len(pulls) > LEAST_PIXELS]
        level = np.sqrt(np.mean([np.median(pulls) ** 2 for pulls in images]))
        within = np.mean([scatter(pulls) for pulls in images])
        name = f"{band}{'*' if band in wider else ''}"
        print(f"  {name:12s}", *cells, f"an image: {within:.3f}, level {level:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
