"""Interpolated spectra are sums of models: checked against grids of those very models."""

import numpy as np
import pytest

from dustcast.config import CONFIG_FOLDER, read_yaml
from dustcast.mock.spectra import MILKY_WAY_QHAC, MILKY_WAY_QPAH, Spectra
from dustcast.sed.grid import build_grid, read_spec
from dustcast.tables import DataError
from dustcast.units import SOLAR_LUMINOSITY_W

BANDS = ["GALEX_FUV", "SDSS_r", "WISE_3.4", "WISE_12", "SPIRE_250"]


def spec(**changes):
    """A grid of two nodes a parameter, of the demonstration's modules."""
    content = read_yaml(CONFIG_FOLDER / "grids" / "demo.yaml")
    content["sfhdelayedtrunc"] |= {"tau_main": [1000, 4000], "age": [4000, 9000]}
    content["sfhdelayedtrunc"]["r_sfr"] = [0.1, 1.0]
    content["dustatt_calzleit"] = {
        "E_BVs_young": [0, 0.1, 0.3],
        "E_BVs_old_factor": [0.3, 0.6],
        "powerlaw_slope": [-0.4, 0.0],
    }
    content["dl2007"] = {"qpah": [1.12, 1.77], "umin": [0.5, 0.7, 1.0], "gamma": [0, 1]}
    for module, values in changes.items():
        content[module] = content[module] | values
    return content


@pytest.fixture(scope="module")
def grid():
    return build_grid(read_spec(spec()), BANDS)


@pytest.fixture(scope="module")
def spectra(grid):
    return Spectra(grid)


def position(**changes):
    """Parameters of a position on the nodes, but for `changes` (short names)."""
    values = {
        "sfh.tau_main": 1000.0,
        "sfh.age": 4000.0,
        "sfh.r_sfr": 0.1,
        "attenuation.E_BVs_young": 0.1,
        "attenuation.E_BVs_old_factor": 0.3,
        "attenuation.powerlaw_slope": -0.4,
        "dust.qhac": 1.12 / MILKY_WAY_QPAH * MILKY_WAY_QHAC,
        "dust.umin": 0.5,
        "dust.gamma": 0.0,
    }
    for name, value in changes.items():
        (full,) = [known for known in values if known.endswith(f".{name}")]
        values[full] = value
    return {name: np.array([value]) for name, value in values.items()}


def one_model(**changes):
    """The same by a grid of a single model: flux, luminosity and masses for 1 Msun formed."""
    names = {
        "sfhdelayedtrunc": ("tau_main", "age", "r_sfr"),
        "dustatt_calzleit": ("E_BVs_young", "E_BVs_old_factor", "powerlaw_slope"),
        "dl2007": ("qpah", "umin", "gamma"),
    }
    first = {
        module: {name: spec()[module][name][0] for name in parameters}
        for module, parameters in names.items()
    }
    first["dustatt_calzleit"]["E_BVs_young"] = 0.1
    for module, parameters in names.items():
        first[module] |= {name: changes[name] for name in parameters if name in changes}
    model = build_grid(read_spec(spec(**first)), BANDS)
    assert model.n_models == 1
    quantities = {quantity.name: quantity for quantity in model.quantities}
    return {
        "stars": model.stellar_flux[0],
        "dust": model.luminosity[0] * model.dust_flux[0],
        "dust_lum": model.luminosity[0],
        "dust_mass": model.luminosity[0] * quantities["dust.mass"].dust[0],
        **{
            name: quantities[f"stellar.{of}"].stellar[0]
            for name, of in (
                ("stellar_lum", "lum"),
                ("young_lum", "lum_young"),
                ("m_star", "m_star"),
            )
        },
    }


@pytest.mark.parametrize(
    "changes",
    [{}, {"tau_main": 4000.0, "age": 9000.0}, {"E_BVs_young": 0.3, "powerlaw_slope": 0.0},
     {"umin": 1.0}, {"umin": 0.7, "gamma": 0.03}, {"gamma": 1.0, "r_sfr": 1.0}],
)  # fmt: skip
def test_a_model_of_the_grid_is_itself(spectra, changes):
    """Any gamma is one: the emission per dust mass is linear in it."""
    emitted = spectra.emission(np.array([3.0]), position(**changes))
    for name, value in one_model(**changes).items():
        np.testing.assert_allclose(getattr(emitted, name)[0], 3 * value, rtol=1e-9, err_msg=name)


def test_stars_between_nodes_are_a_sum_of_two_models(spectra):
    """Half of each in mass formed, where the logarithm of tau_main is halfway."""
    emitted = spectra.emission(np.ones(1), position(tau_main=2000.0))
    parts = [one_model(), one_model(tau_main=4000.0)]
    for name in ("stars", "dust_lum", "stellar_lum", "m_star"):
        mean = (np.asarray(parts[0][name]) + parts[1][name]) / 2
        np.testing.assert_allclose(getattr(emitted, name)[0], mean, rtol=1e-9, err_msg=name)


def test_dust_between_nodes_is_a_sum_by_mass(spectra):
    """So that the mean field, weighted by dust mass, is the Umin that was asked for."""
    emitted = spectra.emission(np.ones(1), position(umin=0.6))
    low, high = one_model(umin=0.5), one_model(umin=0.7)
    per_mass = (low["dust"] / low["dust_mass"] + high["dust"] / high["dust_mass"]) / 2
    np.testing.assert_allclose(emitted.dust[0] / emitted.dust_mass[0], per_mass, rtol=1e-9)
    power = (low["dust_lum"] / low["dust_mass"] + high["dust_lum"] / high["dust_mass"]) / 2
    assert emitted.dust_lum[0] / emitted.dust_mass[0] == pytest.approx(power, rel=1e-9)
    assert emitted.dust_lum[0] == pytest.approx(low["dust_lum"], rel=1e-9)


def test_values_beyond_the_nodes_are_those_of_the_last(spectra):
    inside = spectra.emission(np.ones(1), position(umin=1.0, E_BVs_young=0.3))
    outside = spectra.emission(np.ones(1), position(umin=99.0, E_BVs_young=5.0))
    np.testing.assert_array_equal(inside.dust, outside.dust)
    assert spectra.limits("dust.umin") == (0.5, 1.0)
    assert spectra.limits("sfh.tau_main") == (1000.0, 4000.0)


def test_positions_do_not_depend_on_each_other(spectra, monkeypatch):
    monkeypatch.setattr("dustcast.mock.spectra.BLOCK", 7)
    rng = np.random.default_rng(1)
    parameters = {name: np.repeat(value, 30) for name, value in position().items()}
    parameters["dust.umin"] = rng.uniform(0.5, 1.0, 30)
    parameters["sfh.age"] = rng.uniform(4000, 9000, 30)
    together = spectra.emission(np.ones(30), parameters)
    alone = spectra.emission(
        np.ones(1), {name: values[[11]] for name, values in parameters.items()}
    )
    np.testing.assert_array_equal(together.stars[11], alone.stars[0])
    np.testing.assert_array_equal(together.dust[11], alone.dust[0])


def test_a_history_has_the_stars_that_were_asked_for(spectra):
    wanted = position(tau_main=2500.0, age=6000.0, r_sfr=0.4)
    emitted = spectra.emission(np.ones(1), wanted)
    light = np.log10(emitted.m_star / (emitted.stellar_lum / SOLAR_LUMINOSITY_W))[0]
    young = np.log10(emitted.young_lum / emitted.stellar_lum)[0]
    tau_main, age, r_sfr = spectra.history(light, young, 6000.0)
    found = spectra.emission(np.ones(1), position(tau_main=tau_main, age=age, r_sfr=r_sfr))
    assert np.log10(found.m_star / (found.stellar_lum / SOLAR_LUMINOSITY_W))[0] == pytest.approx(
        light, abs=0.03
    )
    assert np.log10(found.young_lum / found.stellar_lum)[0] == pytest.approx(young, abs=0.07)
    assert age == pytest.approx(6000.0, abs=1500.0)


def test_other_modules_are_refused(grid):
    content = spec()
    content["dustatt_powerlaw"] = {"Av_young": [0.1, 0.3]}
    del content["dustatt_calzleit"]
    with pytest.raises(DataError, match=r"but the grid has no attenuation\.E_BVs_young"):
        Spectra(build_grid(read_spec(content), BANDS))
