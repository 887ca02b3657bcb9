"""Fits on a control set: single models between the nodes of the paper's grid, drawn as its prior.

A fit that is told the truth about noise must find them within its errors. The prior is flat over
nodes, so parameters are drawn uniformly in the index of their nodes and interpolated between them:
tau_main, age, r_sfr, the attenuation and gamma take any value, Umin the tabulated ones (37, of
which the grid has 14), the fraction of small grains the nodes, since no others are tabulated.
Attenuation starts at the first step above 0: below it the grid has no model with little dust.
"""

import numpy as np
import pytest

from dustcast.bands import bands_of
from dustcast.config import CONFIG_FOLDER, read_yaml
from dustcast.sed import engine
from dustcast.sed.dust import THEMIS_UMIN
from dustcast.sed.fit import fit_table
from dustcast.sed.grid import GridSpec, build_grid, read_spec
from dustcast.tables import Table
from dustcast.units import grid_scale

pytestmark = pytest.mark.science

COUNT = 1000
# Values drawn of each parameter; models are drawn from all their combinations.
VALUES = {"tau_main": 12, "age": 6, "r_sfr": 8, "E_BVs_young": 12, "E_BVs_old_factor": 4,
          "powerlaw_slope": 4, "gamma": 10}  # fmt: skip
QUANTITIES = ("dust.luminosity", "dust.mass", "dust.umin", "stellar.lum", "stellar.m_star")
# Relative errors of the fluxes, one a sample, to which 10% are added: all S/N are above 5.
RELATIVE_ERRORS, ADDITIONAL_ERROR = (0.02, 0.15), 0.1
DISTANCE_MPC, MASS_FORMED = 10.0, 1e10


def between(nodes, index):
    """Return values at positions in the index of a parameter's nodes."""
    return np.interp(index, np.arange(len(nodes)), sorted(nodes))


def control_models(spec, bands, folder, rng):
    """Return a grid of models off the nodes of another."""
    parameters = {step: dict(values) for step, values in spec.parameters.items()}
    for values in parameters.values():
        for name, count in VALUES.items():
            if name in values:
                nodes = [node for node in values[name] if name != "E_BVs_young" or node > 0]
                drawn = np.unique(between(nodes, rng.uniform(0, len(nodes) - 1, count)))
                values[name] = tuple(map(float, np.round(drawn) if name == "age" else drawn))
        if "umin" in values:
            low, high = min(values["umin"]), max(values["umin"])
            values["umin"] = tuple(value for value in THEMIS_UMIN if low <= value <= high)
    return build_grid(GridSpec(spec.modules, parameters), bands, themis_folder=folder)


def draw(models, umin_nodes, rng):
    """Return the photometry of some models, and what is true of them."""
    stellar = rng.integers(len(models.stellar_flux), size=COUNT)
    umin = models.dust_parameters["dust.umin"]
    levels = np.unique(umin)
    wanted = between(umin_nodes, rng.uniform(0, len(umin_nodes) - 1, COUNT))
    nearest = levels[np.abs(np.log(levels)[:, None] - np.log(wanted)).argmin(axis=0)]
    dusty = np.array([rng.choice(np.flatnonzero(umin == level)) for level in nearest])
    flux = models.stellar_flux[stellar]
    flux = flux + models.luminosity[stellar, None] * models.dust_flux[dusty]
    flux *= MASS_FORMED / grid_scale(DISTANCE_MPC)
    relative = np.exp(rng.uniform(*np.log(RELATIVE_ERRORS), COUNT))[:, None]
    # The additional error is part of the stated one: of the observed flux it would favour low ones.
    sigma = np.hypot(relative, ADDITIONAL_ERROR) * flux
    seen = flux + sigma * rng.normal(size=flux.shape)
    names = np.array([f"control{k}" for k in range(COUNT)], dtype=object)
    columns = {"id": names, "galaxy": names, "scale": np.full(COUNT, "global", dtype=object)}
    columns["distance"] = np.full(COUNT, DISTANCE_MPC)
    for column, band in enumerate(models.bands):
        columns |= {band: seen[:, column], f"{band}_err": sigma[:, column]}
    truth = {}
    for quantity in models.quantities:
        stars = 1.0 if quantity.stellar is None else quantity.stellar[stellar]
        dust = 1.0 if quantity.dust is None else quantity.dust[dusty]
        truth[quantity.name] = (MASS_FORMED if quantity.power else 1.0) * stars * dust
    return Table(columns), truth


def test_pulls_of_models_between_the_nodes(data):
    spec = read_spec(read_yaml(CONFIG_FOLDER / "grids" / "dustpedia.yaml"))
    bands, folder = bands_of("input", "target"), data / "themis"
    models = control_models(spec, bands, folder, np.random.default_rng(5))
    grid = build_grid(spec, bands, themis_folder=folder)
    photometry, truth = draw(models, spec.parameters["dust"]["umin"], np.random.default_rng(1))
    fit = fit_table(photometry, grid, bands, engine.FitOptions(additional_error=0.0, threads=2))
    assert list(fit["id"]) == list(photometry["id"])
    for name in QUANTITIES:
        pull = (fit[f"bayes.{name}"] - truth[name]) / fit[f"bayes.{name}_err"]
        coverage = np.mean(np.abs(pull) < 1)
        print(f"{name}: median pull {np.median(pull):.3f}, coverage {coverage:.3f}")
        assert abs(np.median(pull)) < 0.2, name
        assert coverage > 0.60, name
        # The engine states no error below 5% (CIGALE's floor), more than that of stellar.lum.
        if name != "stellar.lum":
            assert coverage < 0.76, name
