"""Our fits of the DustPedia galaxies against the official results (make test-science)."""

import gzip

import numpy as np
import pytest

from dustcast.bands import bands_of
from dustcast.config import CONFIG_FOLDER, read_yaml
from dustcast.photometry import global_photometry
from dustcast.sample import APERTURES, HYPERLEDA, dustpedia_galaxies
from dustcast.sed.cigale import read_input
from dustcast.sed.engine import FitOptions
from dustcast.sed.fit import fit_table
from dustcast.sed.grid import build_grid, read_spec
from dustcast.sed.parity import compare, compare_fluxes

pytestmark = pytest.mark.science

ALL = bands_of("input", "target", "extra")


@pytest.fixture(scope="module")
def grid(data):
    spec = read_spec(read_yaml(CONFIG_FOLDER / "grids" / "dustpedia.yaml"))
    return build_grid(spec, ALL, filters_folder=data / "filters", themis_folder=data / "themis")


@pytest.fixture(scope="module")
def photometry(data):
    galaxies = dustpedia_galaxies(data / HYPERLEDA, data / APERTURES)
    fluxes = read_input(data / "cigale/full/dustpedia_fluxes_full.mag")
    fluxes["galaxy"] = fluxes["id"]
    by_name = {galaxy.galaxy: galaxy for galaxy in galaxies}
    return global_photometry(fluxes, by_name, ALL, input_bands=bands_of("input"))


def test_full_fits_agree_with_the_official_table(data, grid, photometry):
    fit = fit_table(photometry, grid, ALL, FitOptions())
    values, table = compare(fit, data / "dustpedia/dustpedia_cigale_results_final_version.csv")
    rms = {
        quantity: value
        for quantity, subset, value in zip(table["quantity"], table["subset"], table["rms"])
        if subset == "all"
    }
    assert rms["log_Ldust"] < 0.03
    assert rms["log_Mdust"] < 0.02
    assert rms["Tdust"] < 0.25
    # The stellar masses differ by a constant, that of the initial mass function.
    masses = values.rows(values["quantity"] == "log_Mstar")
    assert np.std(masses["own"] - masses["official"]) < 0.04


def test_short_fits_give_the_fluxes_of_cigale(data, tmp_path, grid, photometry):
    fit = fit_table(photometry, grid, bands_of("input"), FitOptions())
    results = tmp_path / "results.txt"
    results.write_bytes(gzip.decompress((data / "cigale/short/results.txt.gz").read_bytes()))
    table = compare_fluxes(fit, results)
    scatter = dict(zip(table["quantity"], table["rms"]))
    wide = ("GALEX_FUV", "GALEX_NUV", "SDSS_u", "WISE_22")
    for band in bands_of("input"):
        assert scatter[band] < (0.035 if band in wide else 0.015), band
