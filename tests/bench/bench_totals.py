"""Errors of sums over pixels, held to simulated galaxies: ``make bench-totals``, for docs/maps.md.

Reads the run of config/mock_table.yaml. Models of whole galaxies predict the pixels of 18" of
galaxies of other folds, for three seeds of the folds. What carries sigma to pixels and to sums is
measured on every second galaxy and tried on the others, and the other way round.
"""

import sys
from pathlib import Path

import numpy as np

from dustcast.learning.experiments import (
    predict_fold,
    read_features,
    rows_of_fold,
    train_fold,
)
from dustcast.learning.folds import split_folds
from dustcast.learning.shipping import STARS, carried_shares, star_errors
from dustcast.maps.totals import QUANTITIES, extensive, total
from dustcast.tables import Table, aligned, read_table, stack_tables
from dustcast.units import SOLAR_LUMINOSITY_W, SOLAR_MASS_KG

SCALE, SEEDS, LEAST_PIXELS = "18arcsec", (123, 124, 125), 4
# Of 18" pixels behind a PSF of 18".
PSF_PIXELS = 1.0
UNITS = {"dust_luminosity": SOLAR_LUMINOSITY_W, "dust_mass": SOLAR_MASS_KG}


def stars_of(predictions):
    """Return predictions of one target as those of every target that has stars."""
    parts = [Table(predictions) for _ in STARS]
    for part, target in zip(parts, STARS):
        part["target"] = np.full(predictions.n_rows, target, dtype=object)
    return stack_tables(parts)


def pixels_of(predictions, names):
    """Return which rows belong to some galaxies."""
    return np.isin(predictions["galaxy"].astype(str), sorted(names))


def pulls(pixels, target, name, shares, stars, short, true, names):
    """Return the residuals of sums in units of their error, and of that of independent errors."""
    sigma = pixels["sigma"] * shares["inflation"]
    predictions = Table(
        {
            target: pixels["prediction"],
            f"{target}_sigma_galaxy": sigma * np.sqrt(shares["galaxy_share"]),
            f"{target}_sigma_pixel": sigma * np.sqrt(1 - shares["galaxy_share"]),
        }
    )
    values = extensive(predictions, short, name, stars)
    found = []
    for galaxy in sorted(names):
        mine = pixels["galaxy"] == galaxy
        if mine.sum() < LEAST_PIXELS:
            continue
        x, y = np.array([text.rsplit("/", 1)[1].split("_") for text in pixels["id"][mine]], int).T
        row = total(values.rows(mine), x, y, shares["length"] * PSF_PIXELS)
        off = np.log10(row["total"] / np.sum(true[mine] / UNITS[name]))
        found.append((off / row["error_dex"], off / row["error_independent_dex"]))
    return np.array(found)


def main(folder):
    """Print chi2 by seed."""
    whole, names = read_features(
        [read_table(folder / "features/global.parquet")], {"flux_errors": True}
    )
    pixels, _ = read_features(
        [read_table(folder / f"features/{SCALE}.parquet")], {"flux_errors": True}
    )
    galaxies = list(dict.fromkeys(whole["galaxy"]))
    short, full, truth = (
        aligned(read_table(folder / name), pixels["id"], name)
        for name in (
            f"sed/{SCALE}/short.parquet",
            f"sed/{SCALE}/full.parquet",
            f"mock/truth/{SCALE}.parquet",
        )
    )
    whole_short, whole_full = (
        read_table(folder / f"sed/global/{fit}.parquet") for fit in ("short", "full")
    )
    for seed in SEEDS:
        folds = split_folds(galaxies, 4, seed)
        for name, (target, *_) in QUANTITIES.items():
            models = {
                fold: train_fold(
                    whole,
                    names,
                    target,
                    {galaxy for galaxy, other in folds.items() if other != fold},
                    "xgboost",
                    seed=seed,
                )
                for fold in range(4)
            }
            seen, found = (
                stack_tables(
                    [
                        predict_fold(rows_of_fold(features, folds, fold), model, fold)
                        for fold, model in models.items()
                    ]
                )
                for features in (whole, pixels)
            )
            found = aligned(found, pixels["id"], "the fit")
            halves = [set(galaxies[k::2]) for k in (0, 1)]
            results = {"full fit": [], "truth": []}
            for here, there in (halves, halves[::-1]):
                calibration = found.rows(pixels_of(found, here))
                shares = carried_shares(
                    calibration["prediction"] - calibration["truth"],
                    calibration["sigma"],
                    calibration["galaxy"],
                    calibration["id"],
                )
                both = stars_of(seen.rows(pixels_of(seen, here)))
                stars = star_errors(both, whole_short, whole_full)
                for kind, table in (("full fit", full), ("truth", truth)):
                    column = name.replace("_", ".")
                    true = table[f"bayes.{column}" if kind == "full fit" else column]
                    results[kind].append(
                        pulls(found, target, name, shares, stars, short, true, there)
                    )
            for kind, parts in results.items():
                chi2 = np.mean(np.concatenate(parts) ** 2, axis=0)
                count = sum(map(len, parts))
                print(seed, name, kind, count, *(f"{value:.2f}" for value in chi2), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
