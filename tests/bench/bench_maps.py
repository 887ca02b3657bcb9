"""Maps of simulated galaxies at 6.7" against the true dust: ``make bench-maps``, for docs/maps.md.

Reads what ``snakemake maps`` and the true maps left of config/super_resolution.yaml, and prints
how far the plain prediction, the far-infrared fit brought onto its pixels, and the prediction
matched to it in either way are from the truth, in bins of the signal to noise of SPIRE 250.
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import yaml
from astropy.wcs import WCS
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator

from dustcast.imaging.cube import read_cube
from dustcast.maps import super_resolution
from dustcast.maps.products import read_sky, same_rows
from dustcast.maps.totals import extensive
from dustcast.mock.truth import read_maps
from dustcast.tables import read_table
from dustcast.temperature import dust_temperature, log_umin
from dustcast.units import (
    SOLAR_LUMINOSITY_W,
    SOLAR_MASS_KG,
)

FINE, COARSE = "6.7arcsec", "18arcsec"
EDGES = (0, 2, 5, 10, 20, np.inf)
QUANTITIES = ("dust_mass", "dust_luminosity", "Td")
FITTED = ("far-infrared", "far-infrared, geometric")
"""The fit with the mean of Umin, as the paper has it, and with its geometric mean."""
MAPS = ("prediction", *FITTED, "weighted", "exact")


def true_values(path, places):
    """Return what is true of pixels: solar units an arcsec2, and the mass-weighted Td."""
    maps = read_maps(path)[FINE]
    y, x = places
    umin = maps["dust.mass_umin"][y, x] / maps["dust.mass"][y, x]
    return {
        "dust_mass": maps["dust.mass"][y, x],
        "dust_luminosity": maps["dust.luminosity"][y, x],
        "Td": dust_temperature(umin),
    }


def upsampled(full, umin, coarse, places):
    """Return the far-infrared fit between the centres of its pixels; the nearest at the edge."""
    x, y = super_resolution._places(full)
    known = np.column_stack([x, y])
    columns = {
        "dust_mass": np.log10(full["bayes.dust.mass"] / SOLAR_MASS_KG / coarse.pixel**2),
        "dust_luminosity": np.log10(
            full["bayes.dust.luminosity"] / SOLAR_LUMINOSITY_W / coarse.pixel**2
        ),
        "Td": dust_temperature(umin),
    }
    found = {}
    for name, values in columns.items():
        inside = LinearNDInterpolator(known, values)(places)
        found[name] = np.where(
            np.isfinite(inside), inside, NearestNDInterpolator(known, values)(places)
        )
        if name != "Td":
            found[name] = 10 ** found[name]
    return found


def galaxy_errors(folder, galaxy, stars):
    """Return signal to noise of the pixels of a galaxy, errors of each map, and pulls."""
    fine, coarse = (read_sky(folder / f"cubes/{galaxy}/{s}.fits") for s in (FINE, COARSE))
    predictions = read_table(folder / f"maps/{galaxy}/{FINE}/predictions.parquet")
    photometry, short = (
        same_rows(read_table(folder / name), predictions)
        for name in (f"photometry/{galaxy}/{FINE}.parquet", f"sed/{galaxy}/{FINE}/short.parquet")
    )
    full = read_table(folder / f"sed/{galaxy}/{COARSE}/full.parquet")
    places = predictions["y"], predictions["x"]
    truth = true_values(folder / f"mock/maps/{galaxy}/{FINE}.fits", places)
    area = fine.pixel**2
    prediction = {
        name: extensive(predictions, short, name, stars)["value"] / area
        for name in ("dust_mass", "dust_luminosity")
    } | {"Td": predictions["Td"]}
    world = WCS(fine.header).pixel_to_world_values(predictions["x"], predictions["y"])
    there = np.column_stack(WCS(coarse.header).world_to_pixel_values(*world))
    maps = {"prediction": prediction}
    for kind, umin in zip(FITTED, (full["bayes.dust.umin"], np.exp(log_umin(full)[0]))):
        maps[kind] = upsampled(full, umin, coarse, there)
    pulls = {}
    for method in super_resolution.METHODS:
        matched = super_resolution.match_maps(
            fine, predictions, photometry, short, stars, coarse, full, method
        )
        maps[method] = {name: matched[name] / (1 if name == "Td" else area) for name in QUANTITIES}
        pulls[method] = {name: matched[f"{name}_sigma"] for name in QUANTITIES}
        print(galaxy, method, {key: card[0] for key, card in matched.meta["cards"].items()})
    errors = {
        (kind, name): values[name] - truth[name]
        if name == "Td"
        else np.log10(values[name] / truth[name])
        for kind, values in maps.items()
        for name in QUANTITIES
    }
    for method, sigmas in pulls.items():
        for name, sigma in sigmas.items():
            errors[f"{method} pull", name] = errors[method, name] / sigma
    cube = read_cube(folder / f"cubes/{galaxy}/{COARSE}.fits")
    band = cube.bands.index("SPIRE_250")
    x, y = np.rint(there).astype(int).T
    return cube.flux[band][y, x] / cube.parts["RMS"][band][y, x], errors


def main(folder):
    """Print the tables."""
    model = yaml.safe_load(Path("config/super_resolution.yaml").read_text())["maps"]["model"]
    stars = json.loads((Path(model) / "settings.json").read_text())["stars"]
    noise, errors = [], {}
    for path in sorted(folder.glob(f"maps/*/{FINE}/predictions.parquet")):
        ratio, found = galaxy_errors(folder, path.parts[-3], stars)
        noise.append(ratio)
        for key, values in found.items():
            errors.setdefault(key, []).append(values)
    noise = np.concatenate(noise)
    errors = {key: np.concatenate(values) for key, values in errors.items()}
    for name in QUANTITIES:
        print(f"\n{name}: RMS of log10 over truth (Td in K); chi2 of the matched maps")
        print("S/N", "pixels", *MAPS, "chi2 weighted", "chi2 exact", sep=" | ")
        for low, high in [*itertools.pairwise(EDGES), (5, np.inf)]:
            rows = (noise >= low) & (noise < high)
            if low == 0:
                rows = noise < high
            rms = [np.sqrt(np.nanmean(errors[kind, name][rows] ** 2)) for kind in MAPS]
            chi2 = [
                np.nanmean(errors[f"{m} pull", name][rows] ** 2) for m in super_resolution.METHODS
            ]
            cells = [f"{value:.3f}" for value in rms] + [f"{value:.2f}" for value in chi2]
            print(f"{low:g} to {high:g}", rows.sum(), *cells, sep=" | ")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
