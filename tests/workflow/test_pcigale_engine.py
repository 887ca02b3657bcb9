"""A run with CIGALE as the engine: through a recorded run, and for real where there is one."""

import gzip
import os
import shutil
import subprocess

import checkout
import numpy as np
import pytest
import yaml

from dustcast.sed.cigale import read_results
from dustcast.tables import read_table

STAND_IN = """#!/bin/sh
# Puts a recorded run of CIGALE into place, if it finds what a run needs.
[ "$1" = run ] || exit 2
for name in pcigale.ini pcigale.ini.spec photometry.fits; do [ -s $name ] || exit 3; done
grep -q '^sed_modules = sfhdelayedbq, bc03, nebular, dustatt_mod' pcigale.ini || exit 4
grep -q '^cores = 1$' pcigale.ini || exit 5
mkdir out
# The fitted bands tell the fits apart.
if grep '^bands = ' pcigale.ini | grep -q herschel; then kind=full; else kind=short; fi
cp "{folder}/$kind.txt" out/results.txt
"""


def configured(folder, data, **sed):
    """Write the configuration of a run of few galaxies; return its name."""
    content = yaml.safe_load((folder / "tests/workflow/real.yaml").read_text(encoding="utf-8"))
    content["mirror"] = str(data)
    content["sed"] |= {"engine": "pcigale", **sed}
    (folder / "pcigale.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return "pcigale.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, data):
    folder = checkout.copy_repository(tmp_path_factory.mktemp("pcigale"))
    checkout.snakemake(folder, "catalogues", "--cores", "1", config=configured(folder, data))
    return folder


def test_a_recorded_run_becomes_fits_and_features(folder, data, monkeypatch):
    for kind in ("full", "short"):
        packed = (data / "cigale" / kind / "results.txt.gz").read_bytes()
        (folder / f"{kind}.txt").write_bytes(gzip.decompress(packed))
    (folder / "bin").mkdir()
    script = folder / "bin/pcigale"
    script.write_text(STAND_IN.format(folder=folder), encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    config = configured(folder, data, pcigale={"version": "2022.1", "blocks": 2})
    results = folder / "results/real"
    targets = [f"results/real/sed/global/{fit}.parquet" for fit in ("full", "short")]
    targets += ["results/real/features/global.parquet"]
    done = checkout.snakemake(folder, *targets, "--cores", "1", config=config)
    # Neither our grid nor our engine is made.
    assert "build_grid" not in done.stdout
    assert "compile_engine" not in done.stdout
    photometry = read_table(results / "photometry/global.parquet")
    assert photometry.n_rows > 10
    for fit in ("full", "short"):
        table = read_table(results / f"sed/global/{fit}.parquet")
        recorded = read_results(folder / f"{fit}.txt")
        row = {name: k for k, name in enumerate(recorded["id"])}
        order = [row[name] for name in table["galaxy"]]
        assert list(table["id"]) == list(photometry["id"])
        np.testing.assert_array_equal(table["bayes.WISE_3.4"], recorded["bayes.WISE1"][order])
        np.testing.assert_array_equal(table["bayes.SPIRE_250"], recorded["bayes.PSW_HIPE"][order])
        assert np.isfinite(table["best.reduced_chi_square"]).all()
    log = (results / "logs/fit_pcigale/global_full.log").read_text(encoding="utf-8")
    assert "sfhdelayedtrunc is sfhdelayedbq" in log
    assert (results / "pcigale/global/full/pcigale.ini").is_file()
    features = read_table(results / "features/global.parquet")
    assert features.n_rows == photometry.n_rows
    assert np.isfinite(features["sMd"]).all()


def test_without_the_command_one_sentence_says_what_to_do(folder, data):
    if shutil.which("pcigale"):
        pytest.skip("there is a command pcigale")
    config = configured(folder, data, pcigale={"version": "2025.0"})
    target = "results/real/sed/global/short.parquet"
    done = checkout.snakemake(
        folder, target, "--cores", "1", "--forcerun", "fit_pcigale", config=config, check=False
    )
    assert done.returncode != 0
    assert "there is no command pcigale: run with --sdm conda" in done.stdout
    assert "Traceback" not in done.stdout


def test_an_installed_pcigale_runs(folder, data):
    if not shutil.which("pcigale"):
        pytest.skip("there is no command pcigale: install CIGALE from its source to run this test")
    subprocess.run(["pcigale", "--help"], check=True, capture_output=True)
    grid = {
        "sfhdelayedbq": {"tau_main": 2000, "age_main": 9500, "age_bq": 200, "r_sfr": [0.1, 1.0]},
        "bc03": {},
        "dustatt_modified_starburst": {"E_BV_lines": [0.1, 0.4]},
        "themis": {"qhac": [0.06, 0.17], "umin": [0.5, 3.0], "gamma": 0.01},
    }
    (folder / "config/grids/few.yaml").write_text(yaml.safe_dump(grid), encoding="utf-8")
    config = configured(folder, data, grid="few")
    target = "results/real/sed/global/short.parquet"
    checkout.snakemake(folder, target, "--cores", "1", "--forcerun", "fit_pcigale", config=config)
    table = read_table(folder / target, required=("bayes.dust.luminosity", "bayes.SPIRE_250"))
    assert table.n_rows > 10
