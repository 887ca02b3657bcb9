"""Models that simulated galaxies in unit tests are made of: few nodes, no download."""

import functools

from dustcast.config import CONFIG_FOLDER, read_yaml
from dustcast.mock.spectra import Spectra
from dustcast.sed.grid import build_grid, read_spec

BANDS = ["GALEX_FUV", "GALEX_NUV", "SDSS_u", "SDSS_r", "2MASS_Ks", "WISE_3.4", "WISE_12", "WISE_22",
         "PACS_100", "SPIRE_250", "SPIRE_500"]  # fmt: skip


@functools.cache
def spectra():
    """Return the spectra of a survey with the demonstration's modules."""
    content = read_yaml(CONFIG_FOLDER / "grids" / "demo.yaml")
    content["sfhdelayedtrunc"] |= {"tau_main": [500, 3000, 20000], "age": [2000, 12000]}
    content["sfhdelayedtrunc"]["r_sfr"] = [0.01, 0.1, 1, 10]
    content["dustatt_calzleit"] = {
        "E_BVs_young": [0, 0.01, 0.03, 0.1, 0.3, 1.0],
        "E_BVs_old_factor": [0.25, 0.75],
        "powerlaw_slope": [-0.5, 0.0],
    }
    content["dl2007"] |= {"umin": [0.1, 0.3, 1.0, 3.0, 8.0, 25.0], "gamma": [0, 1]}
    return Spectra(build_grid(read_spec(content), BANDS))
