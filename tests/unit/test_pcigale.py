"""CIGALE as the engine: what is written for it, and what is read back from a real run."""

import gzip
import re

import astropy.table
import numpy as np
import pytest

from dustcast.bands import band_table, bands_of
from dustcast.config import CONFIG_FOLDER, read_yaml
from dustcast.sed import pcigale
from dustcast.sed.cigale import read_input, read_results
from dustcast.sed.configuration import read_configuration
from dustcast.tables import DataError, Table

CONTENT = read_yaml(CONFIG_FOLDER / "grids" / "dustpedia.yaml")
BANDS = ["GALEX_FUV", "WISE_3.4", "SPIRE_250"]
OPTIONS = {"additional_error": 0.07, "upper_limits": "noscaling"}
NAN = float("nan")


def texts(generation, content=CONTENT, fluxes=BANDS):
    chain = pcigale.translate(content, generation)
    return pcigale.configuration_texts(
        chain, BANDS[:2], fluxes, generation=generation, cores=3, blocks=4, options=OPTIONS
    )


@pytest.mark.parametrize(
    ("generation", "names"),
    [
        ("2022", ["galex.FUV", "WISE1", "herschel.spire.PSW"]),
        ("2025", ["galex.FUV", "wise.W1", "herschel.spire.PSW_ext"]),
    ],
)
def test_configuration_asks_for_the_grid_of_the_run(tmp_path, generation, names):
    ini, spec = texts(generation)
    path = tmp_path / "pcigale.ini"
    path.write_text(ini)
    # Our own reader of such files finds the same grid, under the newer names.
    found = read_configuration(path)
    sfh, screen = CONTENT["sfhdelayedtrunc"], CONTENT["dustatt_calzleit"]
    assert found.spec.modules["sfh"] == "sfhdelayedbq"
    assert list(found.spec.parameters["sfh"].values()) == [
        tuple(map(float, sfh[key])) for key in ("tau_main", "age", "age_trunc", "r_sfr")
    ]
    assert found.spec.modules["attenuation"] == "dustatt_modified_starburst"
    attenuation = found.spec.parameters["attenuation"]
    assert attenuation["E_BV_lines"] == tuple(map(float, screen["E_BVs_young"]))
    assert attenuation["E_BV_factor"] == tuple(screen["E_BVs_old_factor"])
    assert attenuation["powerlaw_slope"] == tuple(screen["powerlaw_slope"])
    dust = found.spec.parameters["dust"]
    assert dust["umin"] == tuple(map(float, CONTENT["themis"]["umin"]))
    assert dust["alpha"] == (2.0,)
    assert list(found.names.values()) == names[:2]
    assert list(found.fluxes) == BANDS
    assert found.redshift is None
    assert found.additional_error == 0.07
    assert found.upper_limits == "noscaling"
    assert {"dust.mass", "dust.luminosity", "stellar.lum", "stellar.m_star"} < set(found.variables)
    assert {"sfh.sfr", "sfh.age_bq", "dust.qhac"} < set(found.variables)
    assert f"bands = {', '.join(names)}\n" in ini
    assert "cores = 3\n" in ini
    assert "blocks = 4\n" in ini
    # The specification has the same keys in the same places.
    keys = [[line.split(" = ")[0] for line in text.splitlines()] for text in (ini, spec)]
    assert keys[0] == keys[1]
    assert "    age_main = cigale_list(dtype=int)\n" in spec
    assert "    emission = boolean()\n" in spec
    assert ("line_list" in ini) == (generation == "2025")


def test_what_changes_is_said():
    changes = pcigale.translate(CONTENT, "2022").changes
    assert len(changes) == 2
    assert "sfhdelayedtrunc is sfhdelayedbq" in changes[0]
    assert "young stars are reddened as little as old" in changes[1]
    new = {
        "sfhdelayedbq": {"tau_main": 500, "age_main": [2000], "age_bq": 20, "r_sfr": 1},
        "bc03": {"metallicity": 0.008},
        "dustatt_modified_starburst": {"E_BV_lines": [0.1, 0.2]},
        "dl2007": {"qpah": 2.5, "umin": 1.0, "gamma": 0.1},
    }
    chain = pcigale.translate(new, "2025")
    assert chain.changes == ()
    assert chain.modules["nebular"]["zgas"] == [0.008]
    assert chain.modules["dustatt_modified_starburst"]["E_BV_factor"] == [0.44]
    assert chain.modules["dl2007"]["umax"] == [1e6]
    assert list(chain.modules) == [
        "sfhdelayedbq", "bc03", "nebular", "dustatt_modified_starburst", "dl2007", "redshifting",
    ]  # fmt: skip


def test_what_pcigale_lacks_is_refused():
    with pytest.raises(DataError, match="bc03: pcigale has no imf kroupa: use salpeter"):
        pcigale.translate(CONTENT | {"bc03": {"imf": "kroupa"}}, "2022")


@pytest.mark.parametrize(
    ("version", "generation"),
    [("2022.0", "2022"), ("2022.1", "2022"), ("2025.0", "2025"), ("2025.1.dev3", "2025")],
)
def test_generations(version, generation):
    assert pcigale.generation_of(version) == generation


@pytest.mark.parametrize("version", ["0.12.0", "2020.0", "unknown"])
def test_old_versions_are_refused(version):
    with pytest.raises(DataError, match=f"pcigale {re.escape(version)} is not supported"):
        pcigale.generation_of(version)


def photometry(ids=("G1/global", "G2/global", "G3/global")):
    n = len(ids)
    columns = {
        "id": np.array(ids, dtype=object),
        "galaxy": np.array([name.split("/")[0] for name in ids], dtype=object),
        "scale": np.full(n, "global", dtype=object),
        "redshift": np.zeros(n),
        "distance": np.linspace(3.0, 4.0, n),
    }
    for band in BANDS:
        columns[band], columns[f"{band}_err"] = np.full(n, 2.0), np.full(n, 0.1)
    columns["WISE_3.4"][1:2] = NAN
    columns["WISE_3.4_err"][2:] = -0.1
    return Table(columns)


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Return a function that puts a command pcigale of a few shell lines onto the path."""

    def inner(*lines):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        script = folder / "pcigale"
        script.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    return inner


def fit(folder, table=None, version="2022.1"):
    return pcigale.fit(
        photometry() if table is None else table,
        BANDS,
        BANDS,
        CONTENT,
        folder,
        options=OPTIONS,
        settings={"version": version, "blocks": 1},
    )


RESULTS = (
    "id bayes.sfh.age_main bayes.sfh.age_main_err bayes.galex.FUV bayes.galex.FUV_err bayes.WISE1 "
    "bayes.WISE1_err bayes.herschel.spire.PSW bayes.herschel.spire.PSW_err best.chi_square "
    "best.reduced_chi_square best.sfh.age_bq"
)


def test_a_run_from_photometry_to_fits(tmp_path, command):
    command(
        'test "$1" = run || exit 3',
        "test -s pcigale.ini.spec || exit 4",
        "mkdir out",
        f"echo '{RESULTS}' > out/results.txt",
        "echo 'G3 5000 100 1 .1 2 .2 3 .3 4 2 200' >> out/results.txt",
        "echo 'G1 6000 100 1.5 .1 2.5 .2 3.5 .3 8 4 200' >> out/results.txt",
        "echo 'G2 nan nan nan nan nan nan nan nan nan nan nan' >> out/results.txt",
    )
    folder = tmp_path / "run"
    (folder / "out").mkdir(parents=True)  # of a run that was interrupted
    found = fit(folder)
    assert list(found["id"]) == ["G1/global", "G3/global"]
    assert found["bayes.sfh.age"].tolist() == [6000, 5000]
    assert found["best.sfh.age_trunc"].tolist() == [200, 200]
    assert found["bayes.SPIRE_250_err"].tolist() == [0.3, 0.3]
    assert found["best.chi_square"].tolist() == [8, 4]
    assert found["n_bands"].tolist() == [3, 3]  # the upper limit counts
    assert found.meta["exclusions"] == [["G2", "", "global", "fit_sed", "pcigale gives no result"]]
    assert found.meta["engine"] == "pcigale 2022"
    table = astropy.table.Table.read(folder / "photometry.fits")
    assert table.colnames[:5] == ["id", "redshift", "distance", "galex.FUV", "galex.FUV_err"]
    # What we write for pcigale we can read as CIGALE's table too.
    back = read_input(folder / "photometry.fits")
    assert list(back["id"]) == ["G1", "G2", "G3"]
    np.testing.assert_array_equal(back["WISE_3.4"], photometry()["WISE_3.4"])
    np.testing.assert_array_equal(back["WISE_3.4_err"], photometry()["WISE_3.4_err"])


def test_ids_are_fit_for_names_of_files():
    assert pcigale.pcigale_id("NGC1/global") == "NGC1"
    assert pcigale.pcigale_id("NGC1/18arcsec/3_12") == "NGC1_18arcsec_3_12"


def test_an_empty_table_runs_nothing(tmp_path, command):
    command("exit 1")
    empty = photometry().rows(np.zeros(3, dtype=bool))
    empty.meta["reason"] = "no image"
    found = fit(tmp_path / "run", empty)
    assert found.n_rows == 0
    assert found.meta["reason"] == "no image"
    assert "bayes.WISE_3.4_err" in found
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["exit 7"], "pcigale run ended with code 7"),
        (["mkdir out"], "does not exist: run pcigale first"),
        (["mkdir out", "echo 'id x' > out/results.txt", "echo 'a 1' >> out/results.txt"],
         "have no Bayesian flux in GALEX_FUV"),
    ],
)  # fmt: skip
def test_failures_are_one_sentence(tmp_path, command, lines, message):
    command(*lines)
    with pytest.raises(DataError, match=message) as fault:
        fit(tmp_path / "run")
    assert "\n" not in str(fault.value)


def test_a_missing_command_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"there is no command pcigale: run with --sdm conda"):
        fit(tmp_path / "run")


def test_a_real_run_reads_back(data, tmp_path):
    """715 galaxies of CIGALE 0.12, whose band names are the oldest."""
    path = tmp_path / "results.txt"
    packed = (data / "cigale/full/results.txt.gz").read_bytes()
    path.write_bytes(gzip.decompress(packed))
    results = read_results(path)
    bands = bands_of("input", "target", "extra")
    table = read_input(data / "cigale/full/dustpedia_fluxes_full.mag")
    names = table["id"]
    table["galaxy"], table["scale"] = names, np.full(len(names), "global", dtype=object)
    table["id"] = np.array([f"{name}/global" for name in names], dtype=object)
    found = pcigale.read_back(results, table, bands, bands, {}, limits=True)
    assert list(found["id"]) == list(table["id"])
    assert found.meta["exclusions"] == []
    own = {name: row for row, name in enumerate(results["id"])}
    order = [own[name] for name in names]
    for band in bands:
        theirs = results[f"bayes.{band_table()[band].cigale[0]}"][order]
        np.testing.assert_array_equal(found[f"bayes.{band}"], theirs)
    np.testing.assert_array_equal(found["best.dust.mass"], results["best.dust.mass"][order])
    # CIGALE divides by the number of bands less one.
    reduced = found["best.chi_square"] / (found["n_bands"] - 1)
    close = np.isclose(found["best.reduced_chi_square"], reduced, rtol=1e-9)
    assert close.mean() > 0.99
