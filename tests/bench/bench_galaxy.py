"""A galaxy with images of the archive's sizes through the workflow, for docs/cost.md.

``python tests/bench/bench_galaxy.py FOLDER`` (with scripts/ on PYTHONPATH) copies the repository
into FOLDER, writes 26 images of half a degree there, noise and a disc of 5.9 arcmin, and runs the
fits of three scales with the paper's grid, one job at a time. ``tests/bench/cost.py`` reads the
benchmark files.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from astropy.io import fits

from dustcast import config
from dustcast.archive.gaia import COLUMNS as GAIA
from dustcast.bands import band_table, bands_of
from dustcast.sample import GALAXY_COLUMNS

REPOSITORY = Path(__file__).resolve().parents[2]
FIELD_ARCSEC, D25_ARCSEC = 1800, 354
DATA = os.environ.get("DUSTCAST_DATA", REPOSITORY.parent / "shared" / "data")


def write_image(path, band, rng):
    """Write noise and an exponential disc on the pixels that the archive has in this band."""
    pixel = band_table()[band].pixel_arcsec
    size = round(FIELD_ARCSEC / pixel)
    x = np.arange(size) - (size - 1) / 2
    data = rng.normal(5, 0.2, (size, size)) + 20 * np.exp(-np.hypot(x, x[:, None]) * pixel / 40)
    header = fits.Header(
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 20.0}
        | {"CRPIX1": (size + 1) / 2, "CRPIX2": (size + 1) / 2, "BUNIT": "MJy/sr"}
        | {"CDELT1": -pixel / 3600, "CDELT2": pixel / 3600}
    )
    fits.PrimaryHDU(data.astype("f4"), header).writeto(path, overwrite=True)


def main(folder):
    """Make the inputs and run the workflow."""
    shutil.copytree(
        REPOSITORY,
        folder,
        ignore=shutil.ignore_patterns(".git", ".venv", ".snakemake", "results"),
        dirs_exist_ok=True,
    )
    bands = config.image_bands(bands_of("input", "target"))
    rng = np.random.default_rng(1)
    for band in bands:
        write_image(folder / f"{band}.fits", band, rng)
    (folder / "mirror").mkdir(exist_ok=True)
    for name in ("themis", "filters"):
        link = folder / "mirror" / name
        link.unlink(missing_ok=True)
        link.symlink_to(Path(DATA, name).resolve())
    (folder / "mirror/gaia").mkdir(exist_ok=True)
    star = "1,150.02,20.02,5,0.1,0,1,0,1,12"
    (folder / "mirror/gaia/one.csv").write_text(f"{','.join(GAIA)}\n{star}\n")
    row = {"galaxy": "one", "ra": 150, "dec": 20, "distance": 15, "redshift": 0, "pa": 0}
    row |= {"d25_arcsec": D25_ARCSEC, "axis_ratio": 0.6, "source": "made"}
    row |= {"ebv": 0.02, "ebv_err": 0.001}
    line = ",".join(str(row.get(column, "")) for column in GALAXY_COLUMNS)
    (folder / "galaxies.csv").write_text(f"{','.join(GALAXY_COLUMNS)}\n{line}\n")
    settings = {
        "run": "bench",
        "mirror": "mirror",
        "scales": ["18arcsec", "25arcsec", "36arcsec"],
        "survey": {"source": "local", "images": {"one": {band: f"{band}.fits" for band in bands}}},
        "sample": {"by_hand": "galaxies.csv"},
        "sed": {"grid": "dustpedia", "filters": "filters"},
    }
    (folder / "bench.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "snakemake", "fits", "--cores", "1", "--configfile"]
    subprocess.run([*command, "bench.yaml"], cwd=folder, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
