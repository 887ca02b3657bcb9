"""The best models of CIGALE's own fits of DustPedia galaxies (data/cigale/full)."""

from functools import cache

import numpy as np
import pyarrow.csv
import pytest

from dustcast.config import CONFIG_FOLDER, read_yaml
from dustcast.sed.grid import read_spec

# Parameters of our grids and CIGALE's columns of them.
STELLAR = {
    "sfh.tau_main": "sfh.tau_main",
    "sfh.age": "sfh.age",
    "sfh.r_sfr": "sfh.r_sfr",
    "attenuation.E_BVs_young": "attenuation.E_BVs.stellar.young",
    "attenuation.E_BVs_old_factor": "attenuation.ebvs_old_factor",
    "attenuation.powerlaw_slope": "attenuation.powerlaw_slope",
}
DUST = {f"dust.{name}": f"dust.{name}" for name in ("qhac", "umin", "gamma")}


@cache
def best_models(data):
    """Return the columns ``best.*`` without the prefix, one row a galaxy."""
    path = data / "cigale" / "full" / "results.txt.gz"
    if not path.is_file():
        pytest.skip(f"no results of CIGALE at {path}")
    table = pyarrow.csv.read_csv(path, parse_options=pyarrow.csv.ParseOptions(delimiter=" "))
    return {
        name.removeprefix("best."): table[name].to_numpy()
        for name in table.column_names
        if name.startswith("best.")
    }


def rows_of(parameters, names, best):
    """Return the index of each best model among the models of a grid."""

    def keys(columns):
        # CIGALE writes 0.011 as 0.011000000000000001.
        return [tuple(f"{value:.6g}" for value in row) for row in zip(*columns)]

    index = {key: k for k, key in enumerate(keys([parameters[name] for name in names]))}
    return np.array([index[key] for key in keys([best[names[name]] for name in names])])


def published_spec(**changes):
    """Return the grid of the published fits, with parameters changed: ``step={key: values}``."""
    content = read_yaml(CONFIG_FOLDER / "grids" / "dustpedia.yaml")
    for module, values in changes.items():
        content[module] = content[module] | values
    return read_spec(content)
