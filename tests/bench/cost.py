"""Write docs/cost.md: what the paper's run costs, from benchmark files of a measured run.

``python tests/bench/cost.py FOLDER`` (with scripts/ on PYTHONPATH) reads the benchmarks of a run of
``bench_galaxy.py`` in FOLDER. A rule's processor seconds are start + rate x units; with jobs of one
size only, the start is that of an empty job. Units come from the plans of both runs.
"""

import csv
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from bench_galaxy import D25_ARCSEC, FIELD_ARCSEC

from dustcast import config, sample
from dustcast.bands import band_table

REPOSITORY = Path(__file__).resolve().parents[2]
PAPER = "config/paper.yaml"
# What the fiducial experiment needs; others have fits of their own.
FIDUCIAL_FITS = ("full", "short")
# Unit of each rule's work.
UNITS = {
    "find_stars": "Mpixel of images",
    "clean_image": "Mpixel of images",
    "convolve_bands": "Mpixel of images",
    "stack_cube": "pixel of D25",
    "extract_pixels": "pixel of D25",
    "fit_sed": "pixel of D25",
}
# What is read of a benchmark: processor seconds, peak memory in MB.
COLUMNS = ("cpu_time", "max_rss")
# Processor seconds of a job with nothing to do: Snakemake's own and the imports.
START_S = 1.5
BYTES_A_PIXEL = 4
PAGE = """# What the paper's run costs

Written by `python tests/bench/cost.py FOLDER` from benchmark files; do not edit. The measured run
is that of `python tests/bench/bench_galaxy.py FOLDER`: one galaxy of {d25:.1f} arcmin with
{n_bands} images of half a degree ({mpixel:.0f} million pixels), three scales, the paper's grid.
The rest is extrapolated to the plan of `config/paper.yaml`: {n_galaxies} galaxies and
{n_pixels:,} pixels inside D25 over all scales ({scales}).

| rule | rate | start of a job | jobs | units | core-hours | peak memory measured |
|---|---|---|---|---|---|---|
{table}
| sum | | | | | {total:.0f} | |

- The largest items are {first} and {second}.
- Disk: {disk:.2f} TB of raw images (float32; cutouts of half a degree, of one degree from 6 arcmin
  on, of 1.5 D25 for larger galaxies), and as much again for the clean ones. Convolved images are
  removed when the cubes are made.
- Memory: clean_image holds as many images as it has threads; images of one degree have four times
  the pixels of those measured. Its request follows both (`clean_memory` in rules/common.smk).
- {largest} has the most pixels, {n_largest:,}; its fits take {largest_hours:.1f} core-hours.
- Experiments that fit other bands (`sed.fits` of config/paper.yaml) need {n_other} more fits of
  each pixel, {other_hours:.0f} core-hours if they cost what the two above do; figure 9 needs one of
  {n_fine:,} pixels of 6.7 arcsec, most of them of M31 and M33, {fine_hours:.0f} core-hours.
  Neither is in the table.
- Not counted: downloads, which depend on the archive, training and figures.

A start below {start} s is counted as {start} s: Snakemake's own part is not in the benchmarks.
Core-hours are processor seconds, to which the benchmark's machine adds some when it has other work.
`make bench-dag` measures the planning.
"""


def megapixels(field_arcsec, bands):
    """Return the size of a galaxy's images in all bands."""
    return sum((field_arcsec / band_table()[band].pixel_arcsec) ** 2 for band in bands) / 1e6


def units(rows, galaxies, fields, bands, n_fits):
    """Return, by rule, the units of each job of a plan."""
    work = defaultdict(list)
    for name in galaxies:
        for rule in ("find_stars", "clean_image", "convolve_bands"):
            work[rule].append(megapixels(fields[name], bands))
    for row in rows:
        if row["included"] and row["scale"] != sample.GLOBAL:
            work["stack_cube"].append(row["n_pixel_expected"])
            work["extract_pixels"].append(row["n_pixel_expected"])
            work["fit_sed"] += [row["n_pixel_expected"]] * n_fits
    return work


def benchmarks(folder, run):
    """Return CPU seconds and MB of the jobs of a run, by rule and by the name of the job."""
    found = defaultdict(dict)
    base = folder / "results" / run / "benchmarks"
    for path in sorted(base.rglob("*.tsv")):
        rule, *_ = path.relative_to(base).with_suffix("").parts
        with path.open() as handle:
            (row,) = csv.DictReader(handle, delimiter="\t")
        # A job of less than a second is over before it is looked at.
        numbers = [row[key] if row[key] not in ("-", "NA") else "0" for key in COLUMNS]
        found[rule][path.relative_to(base).as_posix()] = [float(number) for number in numbers]
    return found


def measured(folder):
    """Return, by rule: start, rate, peak MB, units and seconds of the measured jobs."""
    settings = config.complete(config.read_yaml(folder / "bench.yaml"))
    settings["sample"]["by_hand"] = str(folder / settings["sample"]["by_hand"])
    galaxies = sample.read_galaxies(settings)
    rows = sample.plan(settings, galaxies)
    bands = config.image_bands(config.run_bands(settings))
    found = benchmarks(folder, settings["run"])
    by_scale = {row["scale"]: row["n_pixel_expected"] for row in rows}
    result = {}
    for rule in UNITS:
        x, y, memory = [], [], []
        for name, (seconds, megabytes) in found[rule].items():
            scale = next((one for one in by_scale if one in name), None)
            x.append(by_scale[scale] if scale else megapixels(FIELD_ARCSEC, bands))
            y.append(seconds)
            memory.append(megabytes)
        if len(set(x)) > 1:
            rate, start = np.polyfit(x, y, 1)
            rate, start = max(rate, 0.0), max(start, START_S)
        else:
            start, rate = START_S, max(np.mean(y) - START_S, 0) / x[0]
        result[rule] = {"start": start, "rate": rate, "memory": max(memory), "jobs": len(y)}
    return result


def main(folder):
    """Add up and write the page."""
    settings = config.complete(config.read_yaml(PAPER))
    galaxies = sample.read_galaxies(settings)
    planned_rows = sample.plan(settings, galaxies)
    rows = [row for row in planned_rows if not row["included"] or sample.knows_dust(row)]
    bands = config.image_bands(config.run_bands(settings))
    fields = {one.galaxy: one.field_arcsec for one in galaxies}
    work = units(rows, fields, fields, bands, len(FIDUCIAL_FITS))
    found = measured(folder)

    lines, total = [], 0.0
    for rule, unit in UNITS.items():
        cost = found[rule]
        hours = sum(cost["start"] + cost["rate"] * one for one in work[rule]) / 3600
        total += hours
        lines.append((hours, rule, unit, cost, work[rule]))
    lines.sort(key=lambda line: -line[0])
    table = "\n".join(
        f"| {rule} | {cost['rate']:.3g} s a {unit} | {cost['start']:.1f} s | {len(jobs):,} | "
        f"{sum(jobs):,.0f} | {hours:.1f} | {cost['memory'] / 1000:.1f} GB |"
        for hours, rule, unit, cost, jobs in lines
    )
    planned = Counter(row["scale"] for row in rows if row["included"])
    n_pixels = Counter()
    for row in rows:
        if row["scale"] != sample.GLOBAL:
            n_pixels[row["galaxy"]] += row["n_pixel_expected"]
    (largest, n_largest), *_ = n_pixels.most_common(1)
    rate = found["fit_sed"]["rate"] / 3600
    n_fine = sum(row["n_pixel_expected"] for row in planned_rows) - n_pixels.total()
    n_fine -= planned[sample.GLOBAL]
    n_other = len(settings["sed"]["fits"]) - len(FIDUCIAL_FITS)
    text = PAGE.format(
        start=START_S,
        d25=D25_ARCSEC / 60,
        n_bands=len(bands),
        mpixel=megapixels(FIELD_ARCSEC, bands),
        n_galaxies=len(galaxies),
        scales=", ".join(f"{planned[scale]} at {scale}" for scale in planned),
        n_pixels=n_pixels.total(),
        table=table,
        total=total,
        first=f"{lines[0][1]} ({lines[0][0] / total:.0%})",
        second=f"{lines[1][1]} ({lines[1][0] / total:.0%})",
        disk=sum(megapixels(field, bands) for field in fields.values()) * BYTES_A_PIXEL / 1e6,
        largest=largest,
        n_largest=n_largest,
        largest_hours=n_largest * rate * len(FIDUCIAL_FITS),
        n_other=n_other,
        other_hours=n_pixels.total() * rate * n_other,
        n_fine=n_fine,
        fine_hours=n_fine * rate,
    )
    (REPOSITORY / "docs" / "cost.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
