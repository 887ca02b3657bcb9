"""The grid of models against spectra that are built step by step, and CIGALE's own best models."""

import configparser
import copy
import math
import re

import best_models
import numpy as np
import pytest
from scipy.interpolate import interp1d

from dustcast.bands import band_table, bands_of
from dustcast.config import CONFIG_FOLDER, read_yaml
from dustcast.sed import dust, filters, grid, templates
from dustcast.tables import DataError

BANDS = [
    "GALEX_FUV",
    "SDSS_u",
    "SDSS_r",
    "2MASS_Ks",
    "WISE_3.4",
    "WISE_22",
    "PACS_100",
    "SPIRE_250",
]
CONTENT = {
    "sfhdelayedtrunc": {"tau_main": [500, 8800], "age": 1000, "age_trunc": 200, "r_sfr": [0.1, 3]},
    "bc03": {"imf": "salpeter", "metallicity": 0.02, "separation_age": 10, "ionising_factor": 0.7},
    "nebular": {"logU": -2.3, "f_esc": 0.1, "f_dust": 0.2},
    "dustatt_calzleit": {
        "E_BVs_young": [0, 0.3],
        "E_BVs_old_factor": 0.5,
        "uv_bump_amplitude": 1.5,
        "powerlaw_slope": [-0.5, 0.2],
    },
    "dl2007": {"qpah": [0.47, 2.5], "umin": [1.0, 5.0], "gamma": [0, 0.1]},
}


def changed(**modules):
    """Return the content of the tiny grid with some parameters of some modules replaced."""
    content = copy.deepcopy(CONTENT)
    for module, values in modules.items():
        content[module] = {**content.get(module, {}), **values}
    return content


def build(content=None, bands=BANDS, **options):
    return grid.build_grid(grid.read_spec(content or CONTENT), bands, **options)


def quantity(one, name, row):
    found = next(q for q in one.quantities if q.name == name)
    return (found.stellar if found.stellar is not None else found.dust)[row]


@pytest.fixture(scope="module")
def tiny():
    return build()


# --- one model, step by step ---------------------------------------------------------------------


def salpeter_over_kroupa(age):
    """Ratio of the numbers of stars at the turn-off, both functions normalised to 1 Msun."""
    mass = templates.turnoff_mass(age)
    salpeter = 0.35 / (0.1**-0.35 - 100**-0.35) * mass**-2.35
    low = (0.5**0.7 - 0.1**0.7) / 0.7
    high = 0.5 * (0.5**-0.3 - 100**-0.3) / 0.3
    kroupa = np.where(mass < 0.5, mass**-1.3, 0.5 * mass**-2.3) / (low + high)
    return salpeter / kroupa


def composite(values):
    """Return spectra, ionising photons and their power of the young and the old stars.

    Ten bursts a Myr, each interpolated in age; the star formation history cell by cell.
    """
    ssp = templates.load_ssp()
    row = int(np.argmin(np.abs(ssp.metallicity - 0.02)))
    factor = salpeter_over_kroupa(ssp.age_myr)
    table = np.column_stack([ssp.l_lambda[row], ssp.n_ly[row], ssp.lum_ly[row], ssp.lum[row]])
    at_age = interp1d(ssp.age_myr, table * factor[:, None], axis=0)
    tau, age, trunc, ratio = (int(values["tau_main"]), 1000, 200, values["r_sfr"])
    rates = [t * math.exp(-t / tau) for t in range(age)]
    rates = rates[: age - trunc] + [ratio * rates[age - trunc - 1]] * trunc
    total = math.fsum(rates)
    parts = np.zeros((2, table.shape[1]))
    for back in range(age):  # Myr ago
        burst = at_age(back + (np.arange(10) + 0.5) / 10).mean(axis=0)
        parts[0 if back < 10 else 1] += rates[age - 1 - back] / total * burst
    return ssp.wavelength_nm, parts[:, :-3], parts[:, -3], parts[:, -2], parts[:, -1]


def by_hand(values, refine=1):
    """Return a model's spectrum with and without its screen, and its integrals.

    The screen is applied at the nodes of the templates, or at `refine` points a step.
    """
    wavelength, stars, photons, lyman, bolometric = composite(values)
    gas = templates.load_nebular()
    photons, lyman = photons * [0.7, 1.0], lyman * [0.7, 1.0]
    stars[:, wavelength <= 91.1753] *= 0.1 * np.array([[0.7], [1.0]])
    row = int(np.argmin(np.abs(gas.metallicity - 0.02)))
    low = int(np.searchsorted(gas.log_u, -2.3)) - 1
    part = (-2.3 - gas.log_u[low]) / (gas.log_u[low + 1] - gas.log_u[low])
    tables = [
        (1 - part) * table[row, low] + part * table[row, low + 1]
        for table in (gas.continuum_table, gas.line_table)
    ]
    continuum = stars + 0.7 * photons[:, None] * tables[0]  # 1 - f_esc - f_dust = 0.7
    lines = 0.7 * photons[:, None] * tables[1]

    steps = np.arange(len(wavelength) * refine - refine + 1) / refine
    continuum = interp1d(np.arange(len(wavelength)), continuum)(steps)
    wavelength = np.interp(steps, np.arange(len(wavelength)), wavelength)

    def curve(nm):
        def raw(at, slope, amplitude):
            um = at / 1000
            k = (
                2.659
                * (
                    np.where(
                        um < 0.63,
                        -2.156 + 1.509 / um - 0.198 / um**2 + 0.011 / um**3,
                        -1.857 + 1.040 / um,
                    )
                )
                + 4.05
            )
            k = np.where(at < 150, 5.472 + 0.671 / um - 9.218e-3 / um**2 + 2.620e-3 / um**3, k)
            drude = (at * 35) ** 2 / ((at**2 - 217.5**2) ** 2 + (at * 35) ** 2)
            return k * (at / 550) ** slope + amplitude * drude

        slope, two = values["powerlaw_slope"], np.array([440.0, 550.0])
        scale = np.diff(raw(two, 0, 0)) / np.diff(raw(two, slope, 1.5))
        return np.where(nm < 91.2, 0, np.maximum(raw(nm, slope, 1.5), 0) * scale)

    reddening = np.array([[1.0], [0.5]]) * values["E_BVs_young"]
    through = 10 ** (-0.4 * reddening * curve(wavelength))
    lines_through = 10 ** (-0.4 * reddening * curve(gas.line_wavelength_nm))
    absorbed = (
        np.trapezoid((continuum * (1 - through)).sum(axis=0), wavelength)
        + (lines * (1 - lines_through)).sum()
        + 0.2 * lyman.sum()
    )
    return {
        "wavelength": wavelength,
        "continuum": (continuum * through).sum(axis=0),
        "plain": continuum.sum(axis=0),
        "line_nm": gas.line_wavelength_nm,
        "lines": (lines * lines_through).sum(axis=0),
        "plain_lines": lines.sum(axis=0),
        "absorbed": absorbed,
        "photons": photons.sum(),
        "bolometric": bolometric.sum(),
    }


def flux_by_hand(curve, wavelength, spectrum, line_nm=(), lines=(), redshift=0.0):
    """Return the flux in mJy at 10 pc: Simpson's rule, exact for the product of two lines."""
    seen = wavelength * (1 + redshift)
    nodes = np.union1d(seen, curve.wavelength_nm)
    nodes = nodes[(nodes >= curve.wavelength_nm[0]) & (nodes <= curve.wavelength_nm[-1])]
    middle = (nodes[1:] + nodes[:-1]) / 2

    def product(at):
        return np.interp(at, seen, spectrum / (1 + redshift), left=0, right=0) * np.interp(
            at, curve.wavelength_nm, curve.transmission
        )

    values = product(nodes)
    simpson = np.sum(np.diff(nodes) / 6 * (values[:-1] + 4 * product(middle) + values[1:]))
    for nm, power in zip(line_nm, lines):
        at = nm * (1 + redshift)
        simpson += power * np.interp(at, curve.wavelength_nm, curve.transmission, left=0, right=0)
    mean = simpson / np.trapezoid(curve.transmission, curve.wavelength_nm)  # W/nm
    area = 4 * math.pi * (10 * 3.0856775814913673e16) ** 2
    pivot = curve.pivot_nm * 1e-9
    return mean * 1e9 / area * pivot**2 / 299792458 / 1e-29


@pytest.mark.parametrize("redshift", [0.0, 0.05])
def test_models_built_step_by_step(tiny, redshift):
    """No factor of the grid is used here: spectra of stars, gas, screen and dust are summed."""
    one = tiny if redshift == 0 else build(redshift=redshift)
    curves = filters.load_curves(BANDS)
    tables = dust.load_dl07()
    for i, j in ((0, 0), (5, 3), (11, 6), (15, 7)):
        values = {key.split(".")[1]: column[i] for key, column in one.stellar_parameters.items()}
        model = by_hand(values)
        assert one.luminosity[i] == pytest.approx(model["absorbed"], rel=1e-9)
        grains = {key.split(".")[1]: column[j] for key, column in one.dust_parameters.items()}
        emission = np.ravel(tables.emission(grains["qpah"], grains["umin"], grains["gamma"]))
        power_a_mass = np.trapezoid(emission, tables.wavelength_nm)
        warm = emission * model["absorbed"] / power_a_mass
        for column, band in enumerate(BANDS):
            curve = curves[band]
            expected = flux_by_hand(
                curve, model["wavelength"], model["continuum"], model["line_nm"], model["lines"],
                redshift=redshift,
            )  # fmt: skip
            expected += flux_by_hand(curve, tables.wavelength_nm, warm, redshift=redshift)
            found = one.stellar_flux[i, column] + one.luminosity[i] * one.dust_flux[j, column]
            assert found == pytest.approx(expected, rel=1e-8), (i, j, band)
        # What does not depend on the observer: quantities at rest.
        mass = next(q for q in one.quantities if q.name == "dust.mass")
        assert mass.stellar[i] * mass.dust[j] == pytest.approx(
            model["absorbed"] / power_a_mass, rel=1e-9
        )
        assert quantity(one, "stellar.n_ly", i) == pytest.approx(model["photons"], rel=1e-9)
        assert quantity(one, "stellar.lum", i) == pytest.approx(model["bolometric"], rel=1e-9)
        for name, band in (("FUV", "GALEX_FUV"), ("V_B90", "V_B90"), ("B_B90", "B_B90")):
            curve = filters.load_curves([band])[band]
            bright, faint = (
                flux_by_hand(curve, model["wavelength"], model[a], model["line_nm"], model[b])
                for a, b in (("plain", "plain_lines"), ("continuum", "lines"))
            )
            assert quantity(one, f"attenuation.{name}", i) == pytest.approx(
                2.5 * math.log10(bright / faint), abs=1e-8
            )


def test_energy_is_conserved_over_the_whole_spectrum():
    """What leaves the stars and the gas leaves the galaxy, by direct integration.

    Twenty points from node to node, at which the screen is evaluated anew: the grid's own nodes
    are good to 2e-4.
    """
    values = {"tau_main": 8800, "r_sfr": 3.0, "E_BVs_young": 0.3, "powerlaw_slope": -0.5}
    model = by_hand(values, refine=20)
    one = build(changed(dustatt_calzleit={"E_BVs_young": [0.3], "powerlaw_slope": -0.5}))
    row = 3  # the last of tau_main and of r_sfr
    before = np.trapezoid(model["plain"], model["wavelength"]) + model["plain_lines"].sum()
    after = np.trapezoid(model["continuum"], model["wavelength"]) + model["lines"].sum()
    heat = 0.2 * quantity(one, "stellar.lum_ly", row)  # of photons that dust takes from the gas
    assert before - after + heat == pytest.approx(one.luminosity[row], rel=2e-4)
    tables = dust.load_dl07()
    emission = np.ravel(tables.emission(2.5, 1.0, 0.1))
    emitted = emission / np.trapezoid(emission, tables.wavelength_nm) * one.luminosity[row]
    assert np.trapezoid(emitted, tables.wavelength_nm) + after == pytest.approx(
        before + heat, rel=2e-4
    )
    # Gas gives back as continuum and lines no more than it took from the stars.
    assert before + heat < model["bolometric"]


def test_models_without_dust_absorb_only_ionising_photons(tiny):
    clear = tiny.stellar_parameters["attenuation.E_BVs_young"] == 0
    lyman = next(q for q in tiny.quantities if q.name == "stellar.lum_ly").stellar
    np.testing.assert_allclose(tiny.luminosity[clear], 0.2 * lyman[clear], rtol=1e-12)
    dry = build(changed(nebular={"f_dust": 0.0}))
    assert (dry.luminosity[clear] == 0).all()
    assert (dry.luminosity[~clear] > 0).all()


def test_order_and_size_of_the_grid(tiny):
    spec = grid.read_spec(CONTENT)
    assert spec.n_models() == (16, 8)
    assert tiny.stellar_flux.shape == (16, len(BANDS))
    assert tiny.dust_flux.shape == (8, len(BANDS))
    assert list(tiny.stellar_parameters["sfh.tau_main"][[0, 7, 8]]) == [500, 500, 8800]
    assert list(tiny.dust_parameters["dust.gamma"][:3]) == [0, 0.1, 0]
    for one in tiny.quantities:
        assert one.power in (0, 1)
        for factor, size in ((one.stellar, 16), (one.dust, 8)):
            assert factor is None or factor.shape == (size,)


# --- settings that are not CIGALE's --------------------------------------------------------------


def test_ionising_factor_scales_the_photons_of_young_stars_and_what_they_light():
    """Everything is linear in the factor; old stars and the star light itself do not see it."""
    low, middle, high = (build(changed(bc03={"ionising_factor": f})) for f in (0.5, 1.0, 1.5))
    for name in ("stellar_flux", "luminosity"):
        a, b, c = (getattr(one, name) for one in (low, middle, high))
        np.testing.assert_allclose(c - b, b - a, rtol=1e-6, atol=1e-9 * np.abs(b).max())
        assert (c >= b).all()
    for one, factor in ((low, 0.5), (high, 1.5)):
        for name, power in (("n_ly", factor), ("lum_ly", factor), ("lum", 1), ("m_star", 1)):
            for part, scale in (("_young", power), ("_old", 1)):
                np.testing.assert_allclose(
                    quantity(one, f"stellar.{name}{part}", slice(None)),
                    scale * quantity(middle, f"stellar.{name}{part}", slice(None)),
                    rtol=1e-12,
                )
    without = [
        build(changed(bc03={"ionising_factor": f}, nebular={"emission": False})) for f in (0.5, 1.5)
    ]
    np.testing.assert_array_equal(without[0].stellar_flux, without[1].stellar_flux)


def test_imf_is_a_factor_of_the_light_by_turnoff_mass():
    """Salpeter makes 1/1.52 (20 Msun) to 1/1.31 (1 Msun) of Kroupa's light, 1/1.65 at 100."""
    salpeter, kroupa = (build(changed(bc03={"imf": imf})) for imf in ("salpeter", "kroupa"))
    ratio = quantity(kroupa, "stellar.lum", 0) / quantity(salpeter, "stellar.lum", 0)
    assert 1.31 < ratio < 1.55
    young = quantity(kroupa, "stellar.n_ly_young", slice(None)) / quantity(
        salpeter, "stellar.n_ly_young", slice(None)
    )
    assert ((young > 1.52) & (young < 1.66)).all()
    assert salpeter.meta["imf"] == "salpeter"
    assert kroupa.meta["imf"] == "kroupa"
    # More of Salpeter's mass is in dwarfs, which live.
    assert quantity(salpeter, "stellar.m_star", 0) > quantity(kroupa, "stellar.m_star", 0)
    assert quantity(salpeter, "sfh.sfr", 0) == quantity(kroupa, "sfh.sfr", 0)
    as_number = build(changed(bc03={"imf": 0}))
    np.testing.assert_array_equal(as_number.stellar_flux, salpeter.stellar_flux)


def test_power_law_attenuation():
    content = {key: value for key, value in CONTENT.items() if key != "dustatt_calzleit"}
    content["dustatt_powerlaw"] = {"Av_young": [0.0, 1.0], "Av_old_factor": 1.0}
    one = build(content)
    visual = next(q for q in one.quantities if q.name == "attenuation.V_B90").stellar
    clear = one.stellar_parameters["attenuation.Av_young"] == 0
    np.testing.assert_allclose(visual[clear], 0.0, atol=1e-12)
    # 1 mag at 550 nm; the curve's breadth and the slope of spectra change a little.
    np.testing.assert_allclose(visual[~clear], 1.0, atol=0.02)


def test_burst_or_quench_is_the_truncated_history_under_other_names():
    content = {key: value for key, value in CONTENT.items() if key != "sfhdelayedtrunc"}
    old = CONTENT["sfhdelayedtrunc"]
    new = {"age_main": old["age"], "age_bq": old["age_trunc"]}
    new |= {key: old[key] for key in ("tau_main", "r_sfr")}
    # The order of the parameters is that of the module.
    one, other = build(), build({"sfhdelayedbq": new, **content})
    np.testing.assert_array_equal(one.stellar_flux, other.stellar_flux)
    assert "sfh.age_bq" in {q.name for q in other.quantities}


def test_modified_starburst_has_one_screen_for_stars_and_another_for_lines():
    content = {key: value for key, value in CONTENT.items() if key != "dustatt_calzleit"}
    content["nebular"] = {"emission": False}
    shape = {"uv_bump_amplitude": 1.5, "powerlaw_slope": -0.3}
    lines = {"E_BV_lines": [0.0, 0.5], "E_BV_factor": 0.4, **shape}
    alike = {"E_BVs_young": [0.0, 0.2], "E_BVs_old_factor": 1.0, **shape}
    one = build({**content, "dustatt_modified_starburst": lines})
    other = build({**content, "dustatt_calzleit": alike})
    # Without gas the modules agree.
    np.testing.assert_allclose(one.stellar_flux, other.stellar_flux, rtol=1e-12)
    np.testing.assert_allclose(one.luminosity, other.luminosity, rtol=1e-12)
    content["nebular"] = {"emission": True}
    one = build({**content, "dustatt_modified_starburst": lines})
    other = build({**content, "dustatt_calzleit": alike})
    red = one.stellar_parameters["attenuation.E_BV_lines"] > 0
    np.testing.assert_allclose(one.stellar_flux[~red], other.stellar_flux[~red], rtol=1e-12)
    # Lines lose more than in the screen of the stars, and dust gains what they lose.
    assert (one.luminosity[red] > other.luminosity[red]).all()
    assert (one.stellar_flux[red] <= other.stellar_flux[red] * (1 + 1e-12)).all()
    names = {q.name: q for q in one.quantities}
    strength = names["attenuation.E_BVs"].stellar
    np.testing.assert_allclose(strength[red], 0.2)
    assert names["attenuation.E_BV_factor"].stellar[0] == 0.4


# --- files ---------------------------------------------------------------------------------------


def test_a_saved_grid_comes_back_exactly(tiny, tmp_path):
    for name in ("one", "two"):
        grid.save_grid(tmp_path / f"{name}.npz", tiny)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    back = grid.load_grid(tmp_path / "one.npz")
    assert back.bands == tiny.bands
    for name in ("stellar_flux", "luminosity", "dust_flux"):
        assert getattr(back, name).tobytes() == getattr(tiny, name).tobytes()
    assert [(q.name, q.power, q.unit) for q in back.quantities] == [
        (q.name, q.power, q.unit) for q in tiny.quantities
    ]
    for one, two in zip(back.quantities, tiny.quantities):
        for factor, expected in ((one.stellar, two.stellar), (one.dust, two.dust)):
            assert (factor is None) == (expected is None)
            if factor is not None:
                assert factor.tobytes() == np.asarray(expected).tobytes()
    for name in ("stellar_parameters", "dust_parameters"):
        found, expected = getattr(back, name), getattr(tiny, name)
        assert set(found) == set(expected)
        for key in expected:
            np.testing.assert_array_equal(found[key], expected[key])
    assert back.meta["hash"] == tiny.meta["hash"]
    assert back.meta["modules"] == tiny.meta["modules"]


@pytest.mark.parametrize("kind", ["missing", "empty", "cut", "flipped", "text", "other", "folder"])
def test_damaged_grids_are_refused(tiny, tmp_path, kind):
    path = tmp_path / "grid.npz"
    grid.save_grid(path, tiny)
    content = bytearray(path.read_bytes())
    if kind == "missing":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut":
        path.write_bytes(bytes(content[:-500]))
    elif kind == "flipped":
        content[len(content) // 2] ^= 255
        path.write_bytes(bytes(content))
    elif kind == "text":
        path.write_text("not a grid")
    elif kind == "other":
        np.savez(path, a=np.arange(3))
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    message = "does not exist: run the rule" if kind == "missing" else "is not a grid .*: delete it"
    with pytest.raises(DataError, match=message) as fault:
        grid.load_grid(path)
    assert str(path) in str(fault.value)
    assert "\n" not in str(fault.value)


# --- grid files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "x.yaml names no modules: give for example"),
        (["themis"], "x.yaml names no modules"),
        (changed(dl2014={"umin": 1}), "x.yaml: module dl2014 is not known: use sfhdelayedtrunc, "),
        (changed(themis={"qhac": 0.1}), "x.yaml: dl2007 and themis are both given: keep one"),
        ({"dl2007": CONTENT["dl2007"]}, "x.yaml lacks a module: add one of sfhdelayedtrunc, sfh"),
        (changed(dl2007={"qhac": 1}), "x.yaml: dl2007 has no parameter qhac: use qpah, umin, umax"),
        (changed(sfhdelayedtrunc={"age": None}), "x.yaml: sfhdelayedtrunc needs the parameter age"),
        (changed(sfhdelayedtrunc={"age": []}), "sfhdelayedtrunc: age must list values, each once"),
        (changed(dl2007={"umin": [1, 1.0]}), "dl2007: umin must list values, each once"),
        (changed(dl2007={"umin": ["a"]}), "x.yaml: dl2007: umin is 'a': a number is needed"),
        (changed(dl2007={"umin": "1e6"}), "x.yaml: dl2007: umin is '1e6': a number is needed"),
        (changed(dl2007={"umin": [[1]]}), "dl2007: umin is [1]: a number is needed"),
        (changed(dl2007={"umin": math.nan}), "dl2007: umin is nan: a number is needed"),
        (changed(dl2007={"gamma": math.inf}), "dl2007: gamma is inf: a number is needed"),
        (
            changed(dustatt_calzleit={"E_BVs_young": -0.1}),
            "dustatt_calzleit: E_BVs_young is -0.1: it must not be negative",
        ),
        (changed(bc03={"imf": "chabrier"}), "bc03: imf is 'chabrier': use kroupa or salpeter"),
        (changed(bc03={"imf": 1}), "bc03: imf is 1: use kroupa or salpeter"),
        (changed(bc03={"metallicity": [0.02, 0.05]}), "bc03: metallicity must have one value"),
        (changed(nebular={"logU": [-2, -3]}), "nebular: each parameter must have one value"),
        (changed(redshifting={"redshift": [0, 0.1]}), "redshifting: each parameter must have one"),
        ({**CONTENT, "dl2007": 5}, "x.yaml: dl2007 is 5: give parameters and their values"),
    ],
)
def test_wrong_grid_files_are_refused_in_one_sentence(content, message):
    with pytest.raises(DataError, match=re.escape(message)) as fault:
        grid.read_spec(content, "x.yaml")
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (changed(bc03={"metallicity": 0.03}), {}, "metallicity"),
        (changed(nebular={"logU": -9}), {}, "logU = -9.0 lies outside the nebular templates"),
        (changed(nebular={"f_esc": 0.9}), {}, "f_esc + f_dust is above 1: lower one of them"),
        (changed(sfhdelayedtrunc={"age": 20000}), {}, "the age 20000 Myr lies beyond the stellar"),
        (changed(sfhdelayedtrunc={"age": 150}), {}, "age_trunc 200 Myr must lie between 0 and age"),
        (changed(sfhdelayedtrunc={"tau_main": 0}), {}, "tau_main 0.0 Myr must be above 0"),
        (changed(dl2007={"umin": 10.0}), {}, "umin = 10"),
        (changed(dl2007={"gamma": 1.5}), {}, "gamma = 1.5"),
        (changed(dl2007={"umax": 1e5}), {}, "dl2007: the templates have umax = 1e+06 only"),
        (CONTENT, {"redshift": 0.5}, "redshift 0.5 is outside 0 to 0.1"),
        (CONTENT, {"redshift": -0.01}, "redshift -0.01 is outside"),
        (CONTENT, {"redshift": math.nan}, "redshift nan is outside"),
        (CONTENT, {"bands": ["WISE_5"]}, "the band WISE_5 is not known"),
        (CONTENT, {"bands": ["IRAS_60"]}, "the band IRAS_60 has no default transmission curve"),
        (CONTENT, {"filters_folder": "/none"}, "the folder of transmission curves /none does not"),
    ],
)
def test_impossible_grids_are_refused_in_one_sentence(content, options, message):
    with pytest.raises(DataError, match=re.escape(message)) as fault:
        build(content, **options)
    assert "\n" not in str(fault.value)


def test_themis_needs_its_tables():
    content = {key: value for key, value in CONTENT.items() if key != "dl2007"}
    content["themis"] = {"qhac": 0.17, "umin": 1.0, "gamma": 0.0}
    with pytest.raises(DataError, match="the module themis needs the folder of the THEMIS tables"):
        build(content)


def test_hash_names_the_content_and_not_its_form():
    spec = grid.read_spec(CONTENT)
    again = grid.read_spec({key: CONTENT[key] for key in reversed(list(CONTENT))})
    assert again.hash == spec.hash
    assert grid.read_spec(changed(dl2007={"umax": 1000000})).hash == spec.hash
    assert grid.read_spec(changed(dl2007={"umin": [1.0, 7.0]})).hash != spec.hash
    assert re.fullmatch(r"[0-9a-f]+", spec.hash)


@pytest.mark.parametrize(
    "path", sorted((CONFIG_FOLDER / "grids").glob("*.yaml")), ids=lambda p: p.stem
)
def test_grids_that_ship_are_valid(path):
    spec = grid.read_spec(read_yaml(path), path.name)
    n_models = math.prod(spec.n_models())
    sizes = {"dustpedia": (80_041_500, 80_041_500), "small": (950_000, 1_050_000)}
    low, high = sizes.get(path.stem, (1, 400_000))
    assert low <= n_models <= high
    # A comment that gives a size is true.
    text = path.read_text()
    if path.stem == "dustpedia":
        assert "80,041,500 models" in text


def test_dustpedia_grid_is_that_of_the_published_run(data):
    """Module by module and value by value as in pcigale.ini."""
    path = data / "cigale" / "full" / "pcigale.ini"
    if not path.is_file():
        pytest.skip(f"no {path}")
    # Three depths of brackets: the modules' sections are what matters.
    text = re.sub(r"(?m)^\s*\[\[(\w+)\]\]", r"[\1]", path.read_text())
    parser = configparser.ConfigParser(strict=False)
    parser.optionxform = str
    parser.read_string("[top]\n" + "\n".join(line.strip() for line in text.splitlines()))
    modules = [name.strip() for name in parser["top"]["sed_modules"].split(",")]
    spec = grid.read_spec(read_yaml(CONFIG_FOLDER / "grids" / "dustpedia.yaml"))
    assert list(spec.modules.values()) == modules
    # What only we have, what is no parameter of a model, and what is a filter's name.
    own, theirs = {"ionising_factor"}, {"sfr_A", "normalise", "filters"}
    for step, name in spec.modules.items():
        section = dict(parser[name])
        assert set(section) - theirs == set(spec.parameters[step]) - own
        for key, values in spec.parameters[step].items():
            if key in own or (name, key) == ("redshifting", "redshift"):
                continue
            if key == "emission":
                assert values == (section[key] == "True",)
            elif key == "imf":
                assert (values, section[key]) == (("salpeter",), "0")
            else:
                assert values == tuple(float(field) for field in section[key].split(",")), key
    assert spec.parameters["redshifting"]["redshift"] == (0.0,)
    assert spec.n_models() == (47250, 1694)


# --- CIGALE's own models -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(data):
    """The whole grid in all bands with CIGALE's curves, and the best models' rows in it."""
    if not (data / "themis").is_dir() or not (data / "filters").is_dir():
        pytest.skip(f"no THEMIS tables or transmission curves under {data}")
    best = best_models.best_models(data)
    bands = bands_of("input", "target", "extra")
    one = grid.build_grid(
        best_models.published_spec(),
        bands,
        filters_folder=data / "filters",
        themis_folder=data / "themis",
    )
    i = best_models.rows_of(one.stellar_parameters, best_models.STELLAR, best)
    j = best_models.rows_of(one.dust_parameters, best_models.DUST, best)
    return one, best, i, j


def test_fluxes_of_the_published_best_models(published):
    """From their own parameters, in 32 bands: 0.03 dex in the median; old templates differ."""
    one, best, i, j = published
    mass = best["sfh.integrated"][:, None]
    flux = mass * (one.stellar_flux[i] + one.luminosity[i, None] * one.dust_flux[j])
    for column, band in enumerate(one.bands):
        theirs = best[band_table()[band].cigale[0]]
        assert abs(np.median(np.log10(flux[:, column] / theirs))) < 0.03, band


def test_rates_of_the_published_best_models(published):
    one, best, i, _ = published
    for name in ("sfh.sfr", "sfh.sfr10Myrs", "sfh.sfr100Myrs"):
        found = quantity(one, name, i) * best["sfh.integrated"]
        np.testing.assert_allclose(found, best[name], rtol=1e-12)


def test_dust_of_the_published_best_models(published):
    """Power within 5% in the median, and mass over power to the precision of the tables."""
    one, best, i, j = published
    mass = best["sfh.integrated"]
    dusty = best["dust.luminosity"] > 0
    assert (one.luminosity[i][~dusty] == 0).all()
    i, j, mass = i[dusty], j[dusty], mass[dusty]
    power = one.luminosity[i] * mass
    ratio = power / best["dust.luminosity"][dusty]
    assert np.median(ratio) == pytest.approx(1, abs=0.05)
    weight = next(q for q in one.quantities if q.name == "dust.mass")
    found = weight.stellar[i] * weight.dust[j] * mass / power
    np.testing.assert_allclose(
        found, best["dust.mass"][dusty] / best["dust.luminosity"][dusty], rtol=1e-6
    )


def test_attenuation_of_the_published_best_models(published):
    """B and V within 0.03 mag; FUV within 0.07 mag, at attenuations up to 4 mag (rms 0.03)."""
    one, best, i, _ = published
    for name, largest in (("B_B90", 0.03), ("V_B90", 0.03), ("FUV", 0.07)):
        difference = quantity(one, f"attenuation.{name}", i) - best[f"attenuation.{name}"]
        assert np.abs(difference).max() < largest, name
        assert np.sqrt(np.mean(difference**2)) < largest / 2, name


def test_attenuation_with_the_templates_as_they_are(data):
    """Without the factor of the ionising photons FUV is within 0.06 mag too (strong screens)."""
    if not (data / "themis").is_dir() or not (data / "filters").is_dir():
        pytest.skip(f"no THEMIS tables or transmission curves under {data}")
    best = best_models.best_models(data)
    strong = [0.29, 0.44, 0.66, 1.0]
    rows = np.isclose(best["attenuation.E_BVs.stellar.young"][:, None], strong).any(axis=1)
    best = {name: column[rows] for name, column in best.items()}
    assert rows.sum() == 178
    spec = best_models.published_spec(
        bc03={"ionising_factor": 1.0},
        dustatt_calzleit={"E_BVs_young": strong},
        themis={"qhac": 0.17, "umin": 1.2, "gamma": 0.0},
    )
    one = grid.build_grid(
        spec, ["GALEX_FUV"], filters_folder=data / "filters", themis_folder=data / "themis"
    )
    i = best_models.rows_of(one.stellar_parameters, best_models.STELLAR, best)
    for name, largest in (("B_B90", 0.03), ("V_B90", 0.03), ("FUV", 0.06)):
        difference = quantity(one, f"attenuation.{name}", i) - best[f"attenuation.{name}"]
        assert np.abs(difference).max() < largest, name
