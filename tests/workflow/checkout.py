"""A copy of the repository to run in, so that a test never touches the user's results."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import house
import numpy as np
from astropy.io import fits

from dustcast.tables import read_table

TINY = "tests/workflow/tiny.yaml"


def copy_repository(folder):
    """Copy what git would commit, tests included, into a folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=house.REPOSITORY,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source = house.REPOSITORY / name
        if source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name)
    return folder


def copy_compiled(folder, run):
    """Copy a repository in which something ran, without the results.

    What numba compiled there, which takes longer than the rest of a small run, comes along.
    """
    made = {"results", "grids", ".snakemake"}
    shutil.copytree(
        run, folder, ignore=lambda path, names: made & set(names) if path == str(run) else set()
    )
    # numba files it under a hash of the path of the sources.
    kernels = Path("scripts/dustcast/sed/kernels")
    old, new = (hashlib.sha1(str(root / kernels).encode()).hexdigest() for root in (run, folder))
    for compiled in (folder / kernels / "__pycache__").glob(f"kernels-*/*_{old}"):
        compiled.rename(compiled.with_name(compiled.name.replace(old, new)))
    return folder


def table_bytes(folder, run="tiny"):
    """Return the content of every table of a run: CSV files as bytes, parquet by column."""
    found = {}
    for path in sorted((folder / "results" / run).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".csv":
            found[name] = path.read_bytes()
        elif path.suffix == ".parquet":
            table = read_table(path)
            # Written out, because a missing value is not equal to itself.
            found[name] = {column: repr(np.asarray(table[column]).tolist()) for column in table}
    return found


def differences(folder, other, run="tiny"):
    """Return the tables of a run that two folders do not share, byte by byte."""
    one, two = table_bytes(folder, run), table_bytes(other, run)
    return sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))


def assert_same_tables(one, two):
    """Compare the tables of two folders of results: columns and values, CSV files byte by byte."""
    names = sorted(path.relative_to(one) for path in one.rglob("*.parquet"))
    assert len(names) > 8
    for name in names:
        first, second = (read_table(folder / name) for folder in (one, two))
        assert list(first) == list(second)
        for column in first:
            np.testing.assert_array_equal(
                first[column], second[column], err_msg=f"{name}: {column}"
            )
    for path in one.rglob("*.csv"):
        assert path.read_bytes() == (two / path.relative_to(one)).read_bytes()


def sky_header(size, pixel):
    """Return the header of a square image around ra 150, dec 20; `pixel` in arcsec."""
    return fits.Header(
        {
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CRVAL1": 150.0,
            "CRVAL2": 20.0,
            "CRPIX1": (size + 1) / 2,
            "CRPIX2": (size + 1) / 2,
            "CDELT1": -pixel / 3600,
            "CDELT2": pixel / 3600,
            "BUNIT": "MJy/sr",
        }
    )


def command(*arguments, config):
    """Return the command line of Snakemake; a target after --configfile would be read as one."""
    return [sys.executable, "-m", "snakemake", *arguments, "--configfile", config]


def environment():
    """Return the environment of a user: nothing of the library on the path, one thread a job."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return kept | {"OMP_NUM_THREADS": "1"}


def snakemake(folder, *arguments, config, check=True, variables=None):
    """Run Snakemake in a folder; return the process, with all output in stdout.

    `variables` are set in its environment.
    """
    done = subprocess.run(
        command(*arguments, config=config),
        cwd=folder,
        env=environment() | (variables or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if check:
        assert done.returncode == 0, done.stdout
    return done
