"""Kills at random points, a full disk, a folder that cannot be written, a corrupt table.

The kills are seeded; which job they hit also depends on the machine's speed. `make test-faults`
kills a simulated survey ten times; a few kills of the tiny run are part of `make test`.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import checkout
import numpy as np
import processes
import pytest
import yaml
from astropy.io import fits
from checkout import TINY

from dustcast import bridge
from dustcast.sample import GALAXY_COLUMNS
from dustcast.tables import read_table, write_rows

SURVEY = "tests/workflow/survey.yaml"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


def live_jobs(folder, run):
    """Return the process ids of the jobs of a run that are alive."""
    found = []
    for path in (folder / "results" / run / "running").glob("[!.]*.json"):
        # A job that ends takes its record along.
        with contextlib.suppress(OSError, ValueError):
            record = json.loads(path.read_text())
            if bridge.is_alive(record):
                found.append(record["pid"])
    return found


def resume(folder, config):
    return [sys.executable, "scripts/resume.py", config, "--cores", "2"]


def start(folder, command, log):
    return subprocess.Popen(command, cwd=folder, env=checkout.environment(), stdout=log, stderr=log)


def drivers(process):
    """Return Snakemake's process: the one started, or the one that resume.py has started."""
    family = [process.pid, *processes.descendants(process.pid)]
    return [pid for pid in family if b"snakemake" in processes.command(pid)[:4]][:1]


def kill_at_random(folder, run, process, chance, target):
    """Kill a job, or Snakemake, some time after one to three more jobs have begun.

    Returns
    -------
    bool
        Whether there was something to kill before the run ended.
    """
    n_more, seen = chance.randint(1, 3), set(live_jobs(folder, run))
    while process.poll() is None:
        new = set(live_jobs(folder, run)) - seen
        if len(new) >= n_more:
            break
        if new:  # those that end meanwhile count too
            seen |= new
            n_more -= len(new)
        time.sleep(0.02)
    time.sleep(chance.uniform(0, 1.5))
    while process.poll() is None:
        # No job may be alive just now: Snakemake is between two of them.
        victims = live_jobs(folder, run) if target == "job" else drivers(process)
        if victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(victims), signal.SIGKILL)
                return True
        time.sleep(0.02)
    return False


def disturbed_run(folder, config, run, *, kills, seed):
    """Run to the end with kills of jobs and of Snakemake; return how many of each there were."""
    chance = random.Random(seed)
    # As many of one kind as of the other, in a random order.
    targets = ["job", "driver"] * (kills // 2)
    chance.shuffle(targets)
    done = {"job": 0, "driver": 0}
    command = checkout.command("--cores", "2", config=config)
    with (folder / "faults.log").open("w") as log:
        for _ in range(10 * kills):
            process = start(folder, command, log)
            try:
                if targets and kill_at_random(folder, run, process, chance, targets[0]):
                    done[targets.pop(0)] += 1
                code = process.wait()
            finally:
                process.kill()
                process.wait()
            if code == 0:
                return done
            command = resume(folder, config)
            # What a killed Snakemake has started lives on, and resume refuses meanwhile.
            if live_jobs(folder, run):
                refused = subprocess.run(
                    command, cwd=folder, env=checkout.environment(), capture_output=True, text=True
                )
                assert refused.returncode != 0 or not live_jobs(folder, run)
            while live_jobs(folder, run):
                time.sleep(0.1)
    raise AssertionError(f"the run does not end: {(folder / 'faults.log').read_text()[-3000:]}")


def test_tables_of_a_killed_run_are_those_of_an_undisturbed_one(tiny, tmp_path):
    folder = checkout.copy_compiled(tmp_path / "run", tiny)
    assert disturbed_run(folder, TINY, "tiny", kills=2, seed=11) == {"job": 1, "driver": 1}
    assert checkout.differences(folder, tiny) == []
    assert not list((folder / "results/tiny").rglob("*.tmp*"))


@pytest.mark.science
def test_survey_survives_ten_kills(tmp_path):
    undisturbed = checkout.copy_repository(tmp_path / "undisturbed")
    checkout.snakemake(undisturbed, "--cores", "2", config=SURVEY)
    folder = checkout.copy_compiled(tmp_path / "run", undisturbed)
    assert disturbed_run(folder, SURVEY, "survey", kills=10, seed=7) == {"job": 5, "driver": 5}
    assert checkout.differences(folder, undisturbed, "survey") == []


# ---------------------------------------------------------------------------------------------
# Disks


@pytest.fixture
def disk(tiny, tmp_path):
    """A copy of the repository whose results lie on a disk of their own; a way to change it."""
    folder = checkout.copy_compiled(tmp_path / "run", tiny)
    results = folder / "results"
    results.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(results)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")

    yield folder, mount
    while subprocess.run(["mountpoint", "-q", str(results)]).returncode == 0:
        subprocess.run(["umount", str(results)], check=True)


@needs_root
def test_full_disk_is_told_and_the_run_goes_on_when_there_is_room(tiny, disk):
    folder, mount = disk
    mount("size=256k")
    done = checkout.snakemake(folder, "--cores", "2", config=TINY, check=False)
    assert done.returncode != 0
    assert "No space left on device" in done.stdout
    written = checkout.table_bytes(folder)  # whole, whatever there is
    mount("remount,size=200m")
    resumed = subprocess.run(
        resume(folder, TINY), cwd=folder, env=checkout.environment(), capture_output=True, text=True
    )
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert checkout.differences(folder, tiny) == []
    # Parts of fits that are finished are files too, until the whole is written.
    after = checkout.table_bytes(folder)
    assert {name for name in written if after.get(name, written[name]) != written[name]} == set()


@needs_root
def test_results_that_cannot_be_written_are_told(disk):
    folder, mount = disk
    mount("size=1m")
    mount("remount,ro")
    done = checkout.snakemake(folder, "--cores", "2", config=TINY, check=False)
    assert done.returncode != 0
    assert "Read-only file system" in done.stdout
    assert "results/tiny" in done.stdout


# ---------------------------------------------------------------------------------------------
# Files


def test_corrupt_table_is_named_and_nothing_corrupt_goes_on(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "copy")
    path = folder / "results/tiny/sed/global/full.parquet"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = checkout.snakemake(folder, "--cores", "2", config=TINY, check=False)
    assert done.returncode != 0
    assert "full.parquet cannot be read" in done.stdout
    sentence = next(line for line in done.stdout.splitlines() if "cannot be read" in line)
    assert "run again" in sentence
    assert "Traceback" not in done.stdout
    assert not (folder / "results/tiny/features/global.parquet").exists()


FAULTS = {
    "SDSS_u": "cut short",
    "SDSS_g": "all NaN",
    "SDSS_r": "empty file",
    "SDSS_i": "elsewhere on the sky",
    "SDSS_z": "no coordinates",
}


def write_image(path, fault=None):
    """Write a disc on a noisy sky, 10 arcmin wide, damaged in one of the ways of FAULTS."""
    size, pixel = 200, 3 / 3600
    x = np.arange(size) - (size - 1) / 2
    data = 20 * np.exp(-np.hypot(x, x[:, None]) / 5)
    data += np.random.default_rng(0).normal(5, 0.2, data.shape)
    header = fits.Header({"BUNIT": "MJy/sr"})
    if fault != "no coordinates":
        right_ascension = 40.0 if fault == "elsewhere on the sky" else 150.0
        header.update({"CTYPE1": "RA---TAN", "CRVAL1": right_ascension, "CDELT1": -pixel})
        header.update({"CTYPE2": "DEC--TAN", "CRVAL2": 20.0, "CDELT2": pixel})
        header.update({"CRPIX1": (size + 1) / 2, "CRPIX2": (size + 1) / 2})
    if fault == "all NaN":
        data[:] = np.nan
    fits.PrimaryHDU(data.astype("f4"), header).writeto(path)
    if fault == "cut short":
        path.write_bytes(path.read_bytes()[:50_000])
    elif fault == "empty file":
        path.write_bytes(b"")


def test_faulty_images_cost_their_band_and_no_more(tiny, tmp_path):
    folder = checkout.copy_compiled(tmp_path / "run", tiny)
    write_image(folder / "good.fits")
    others = ("WISE_12", "SPIRE_250")
    bands = {"whole": [*FAULTS, *others], "part": [*FAULTS, *others], "nothing": list(FAULTS)}
    images = {name: dict.fromkeys(own, "good.fits") for name, own in bands.items()}
    shape = {"ra": 150, "dec": 20, "distance": 10, "redshift": 0, "d25_arcsec": 120}
    shape |= {"axis_ratio": 1, "pa": 0, "source": "made", "ebv": 0.02, "ebv_err": 0.01}
    rows = [dict.fromkeys(GALAXY_COLUMNS, "") | shape | {"galaxy": name} for name in images]
    write_rows(folder / "galaxies.csv", rows, GALAXY_COLUMNS)
    settings = {
        "run": "own",
        "scales": ["18arcsec"],
        "survey": {"source": "local", "images": images},
        "sample": {"by_hand": "galaxies.csv"},
        "stars": {"source": "by_hand"},
    }
    (folder / "own.yaml").write_text(yaml.safe_dump(settings))
    # Images that are wrong from the start are refused before any job, so these go bad later.
    raw = [f"results/own/images/{name}/raw/{band}.fits" for name in bands for band in bands[name]]
    checkout.snakemake(folder, *raw, "--cores", "2", config="own.yaml")
    results = folder / "results/own"
    for name in ("part", "nothing"):
        for band, fault in FAULTS.items():
            path = results / f"images/{name}/raw/{band}.fits"
            path.unlink()
            write_image(path, fault)
    checkout.snakemake(folder, "pixels", "--cores", "2", config="own.yaml")

    tables = {name: read_table(results / f"photometry/{name}/18arcsec.parquet") for name in images}
    n_pixels = len(tables["whole"]["id"])
    assert n_pixels > 20
    assert len(tables["part"]["id"]) == n_pixels
    np.testing.assert_array_equal(tables["part"]["WISE_12"], tables["whole"]["WISE_12"])
    assert len(tables["nothing"]["id"]) == 0
    for band in FAULTS:
        assert np.isfinite(tables["whole"][band]).any(), band
        assert not np.isfinite(tables["part"][band]).any(), band
    listed = read_table(results / "images/part/clean.parquet").meta["exclusions"]
    reasons = {band: reason for _, band, _, _, reason in listed}
    for band in FAULTS:
        assert f"raw/{band}.fits" in reasons[band], reasons[band]
