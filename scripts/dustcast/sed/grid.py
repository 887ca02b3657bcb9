"""The grid of models: CIGALE's modules and parameters, as the two factors of energy balance.

A grid file (config/grids/*.yaml) lists modules in the order of an SED's making and the values of
each parameter; the grid is all their combinations. Its stellar factor runs over star formation
history, stellar population, nebular emission and attenuation, its dust factor over the dust
module. Fluxes are for 1 Msun formed, seen from 10 pc (see `dustcast.sed.spec`).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dustcast.sed import attenuation, dust, filters, sfh, templates
from dustcast.sed.spec import FactorisedGrid, Quantity
from dustcast.tables import DataError, atomic
from dustcast.units import SPEED_OF_LIGHT

# Curves in which the attenuation is reported, as CIGALE's `filters = B_B90 & V_B90 & FUV`.
ATTENUATION_CURVES = {"B_B90": "B_B90", "V_B90": "V_B90", "FUV": "GALEX_FUV"}

# Modules by the step of the chain, their parameters and defaults (None: must be given).
MODULES = {
    "sfh": {
        "sfhdelayedtrunc": {"tau_main": None, "age": None, "age_trunc": None, "r_sfr": None},
        # The same under the names of CIGALE 2022.
        "sfhdelayedbq": {"tau_main": None, "age_main": None, "age_bq": None, "r_sfr": None},
        "sfhdelayed": {
            "tau_main": None,
            "age_main": None,
            "tau_burst": [50.0],
            "age_burst": [20.0],
            "f_burst": [0.0],
        },
    },
    # ionising_factor is not CIGALE's: it scales the ionising photons of the templates.
    "ssp": {
        "bc03": {
            "imf": ["salpeter"],
            "metallicity": [0.02],
            "separation_age": [10],
            "ionising_factor": [1.0],
        }
    },
    "nebular": {
        "nebular": {
            "logU": [-2.0],
            "f_esc": [0.0],
            "f_dust": [0.0],
            "lines_width": [300.0],
            "emission": [True],
        }
    },
    "attenuation": {
        "dustatt_calzleit": {
            "E_BVs_young": None,
            "E_BVs_old_factor": [0.44],
            "uv_bump_wavelength": [217.5],
            "uv_bump_width": [35.0],
            "uv_bump_amplitude": [0.0],
            "powerlaw_slope": [0.0],
        },
        "dustatt_modified_starburst": {
            "E_BV_lines": None,
            "E_BV_factor": [0.44],
            "uv_bump_wavelength": [217.5],
            "uv_bump_width": [35.0],
            "uv_bump_amplitude": [0.0],
            "powerlaw_slope": [0.0],
            "Rv": [3.1],
        },
        "dustatt_powerlaw": {
            "Av_young": None,
            "Av_old_factor": [0.44],
            "uv_bump_wavelength": [217.5],
            "uv_bump_width": [35.0],
            "uv_bump_amplitude": [0.0],
            "powerlaw_slope": [-0.7],
        },
    },
    "dust": {
        "themis": {"qhac": None, "umin": None, "alpha": [2.0], "gamma": None},
        "dl2007": {"qpah": None, "umin": None, "umax": [1e6], "gamma": None},
    },
    "redshifting": {"redshifting": {"redshift": [0.0]}},
}
STEPS = tuple(MODULES)

# Parameters that may be negative; all other numbers are lengths of time, strengths or fractions.
SIGNED = ("logU", "powerlaw_slope", "redshift")

# The curves of the intergalactic medium are not part of the chain: below this redshift no band
# of the paper sees the Lyman forest.
LARGEST_REDSHIFT = 0.1


@dataclass(frozen=True)
class GridSpec:
    """A grid file, checked: the module and the parameter values of each step.

    Attributes
    ----------
    modules : dict of str to str
        Module by step, steps in the order of `STEPS`.
    parameters : dict of str to dict of str to tuple
        Values of every parameter by step, defaults filled in.
    """

    modules: dict[str, str]
    parameters: dict[str, dict[str, tuple]]

    @property
    def hash(self):
        """Short hash of modules and values, which names the grid's file."""
        text = json.dumps([self.modules, self.parameters], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def n_models(self):
        """Return the number of stellar and of dust models."""
        size = {
            step: int(np.prod([len(values) for values in self.parameters[step].values()]))
            for step in self.parameters
        }
        stellar = size["sfh"] * size["ssp"] * size["nebular"] * size["attenuation"]
        return stellar, size["dust"]


def read_spec(content, where="the grid"):
    """Check the content of a grid file.

    Parameters
    ----------
    content : dict
        Module name to parameters, each a value or a list of values.
    where : str
        Name of the file, for messages.

    Returns
    -------
    GridSpec

    Raises
    ------
    DataError
        If a module or parameter is not known, one is missing, or a value is not a number.
    """
    if not isinstance(content, dict) or not content:
        raise DataError(f"{where} names no modules: give for example sfhdelayedtrunc, bc03, themis")
    step_of = {name: step for step, known in MODULES.items() for name in known}
    chosen = {}
    for name in content:
        if name not in step_of:
            raise DataError(f"{where}: module {name} is not known: use {', '.join(step_of)}")
        step = step_of[name]
        if step in chosen:
            raise DataError(f"{where}: {chosen[step]} and {name} are both given: keep one")
        chosen[step] = name
    for step in ("sfh", "ssp", "attenuation", "dust"):
        if step not in chosen:
            raise DataError(f"{where} lacks a module: add one of {', '.join(MODULES[step])}")
    chosen.setdefault("nebular", "nebular")
    chosen.setdefault("redshifting", "redshifting")
    parameters = {}
    for step in STEPS:
        name = chosen[step]
        known = MODULES[step][name]
        given = content.get(name) or {}
        if not isinstance(given, dict):
            raise DataError(f"{where}: {name} is {given!r}: give parameters and their values")
        for key in given:
            if key not in known:
                raise DataError(f"{where}: {name} has no parameter {key}: use {', '.join(known)}")
        values = {}
        for key, default in known.items():
            listed = given.get(key, default)
            if listed is None:
                raise DataError(f"{where}: {name} needs the parameter {key}")
            listed = listed if isinstance(listed, list | tuple) else [listed]
            values[key] = tuple(_checked(value, f"{where}: {name}: {key}") for value in listed)
            if len(values[key]) == 0 or len(set(values[key])) < len(values[key]):
                raise DataError(f"{where}: {name}: {key} must list values, each once")
        parameters[step] = values
    for key in MODULES["ssp"]["bc03"]:
        if len(parameters["ssp"][key]) != 1:
            raise DataError(f"{where}: bc03: {key} must have one value")
    for step in ("nebular", "redshifting"):
        if any(len(values) != 1 for values in parameters[step].values()):
            raise DataError(f"{where}: {chosen[step]}: each parameter must have one value")
    return GridSpec({step: chosen[step] for step in STEPS}, parameters)


def _checked(value, what):
    """Return a parameter's value as a number, a truth value or the name of an IMF."""
    if what.endswith("bc03: imf"):
        # CIGALE numbers Salpeter 0; its 1, Chabrier, is not among our templates.
        name = {0: "salpeter", "0": "salpeter"}.get(value, value)
        if name not in templates.IMFS:
            raise DataError(f"{what} is {value!r}: use {' or '.join(templates.IMFS)}")
        return name
    if isinstance(value, bool):
        return value
    if not isinstance(value, int | float) or not np.isfinite(value):
        raise DataError(f"{what} is {value!r}: a number is needed")
    if value < 0 and not what.endswith(SIGNED):
        raise DataError(f"{what} is {value!r}: it must not be negative")
    return float(value)


def build_grid(spec, bands, *, filters_folder=None, themis_folder=None, redshift=None):
    """Compute a grid.

    Parameters
    ----------
    spec : GridSpec
        What to compute.
    bands : list of str
        Band ids of the flux columns.
    filters_folder : str or Path, optional
        Folder of transmission curves in CIGALE's format; default: those of astro-sedpy.
    themis_folder : str or Path, optional
        Folder of the THEMIS tables; needed for the module themis.
    redshift : float, optional
        Overrides the redshift of the grid file.

    Returns
    -------
    FactorisedGrid

    Raises
    ------
    DataError
        If templates or curves are missing, or a parameter lies outside them.
    """
    redshift = spec.parameters["redshifting"]["redshift"][0] if redshift is None else redshift
    if not 0 <= redshift <= LARGEST_REDSHIFT:
        raise DataError(
            f"redshift {redshift} is outside 0 to {LARGEST_REDSHIFT}: dustcast fits nearby "
            "galaxies and has no intergalactic medium"
        )
    names = list(dict.fromkeys([*bands, *ATTENUATION_CURVES.values()]))
    curves = filters.load_curves(names, filters_folder)
    observed = {band: curves[band] for band in bands}
    rest = {name: curves[curve] for name, curve in ATTENUATION_CURVES.items()}
    stellar = _stellar_factor(spec, observed, rest, redshift)
    dusty = _dust_factor(spec, observed, themis_folder, redshift)
    luminosity = stellar["luminosity"]
    quantities = [
        *stellar["quantities"],
        Quantity("dust.luminosity", 1, "W", stellar=luminosity),
        Quantity("dust.mass", 1, "kg", stellar=luminosity, dust=1.0 / dusty["emissivity"]),
        *[
            Quantity(f"dust.{name}", 0, "", dust=values)
            for name, values in dusty["parameters"].items()
        ],
    ]
    return FactorisedGrid(
        bands=tuple(bands),
        stellar_flux=stellar["flux"],
        luminosity=luminosity,
        dust_flux=dusty["flux"],
        quantities=tuple(quantities),
        stellar_parameters=stellar["parameters"],
        dust_parameters={f"dust.{key}": value for key, value in dusty["parameters"].items()},
        meta={
            "modules": spec.modules,
            "parameters": {step: dict(values) for step, values in spec.parameters.items()},
            "redshift": redshift,
            "imf": spec.parameters["ssp"]["imf"][0],
            "hash": spec.hash,
        },
    )


@dataclass(frozen=True)
class _Composite:
    """Spectra of a star formation history, per Msun formed: young and old parts on one grid."""

    continuum: np.ndarray  # (n_sfh, 2, n_w), W/nm
    photons: np.ndarray  # (n_sfh, 2), absorbed ionising photons 1/s
    quantities: dict[str, tuple[np.ndarray, str]]


def _composites(spec, ssp, parameters):
    """Return the young and old spectra of every star formation history, before attenuation."""
    options = spec.parameters["ssp"]
    gas = {key: values[0] for key, values in spec.parameters["nebular"].items()}
    population = ssp.population(options["metallicity"][0], options["imf"][0])
    separation = int(options["separation_age"][0])
    combinations = [dict(zip(parameters, values)) for values in zip(*parameters.values())]
    histories = [_history(spec.modules["sfh"], values) for values in combinations]
    longest = max(len(rate) for rate in histories)
    if longest > ssp.age_myr[-1]:
        raise DataError(
            f"the age {longest} Myr lies beyond the stellar templates: give at most "
            f"{ssp.age_myr[-1]:.0f} Myr"
        )
    weights = templates.age_weights(ssp, longest)
    rates = np.zeros((len(histories), longest))
    for row, rate in enumerate(histories):
        rates[row, : len(rate)] = rate[::-1] * 1e6  # Msun a cell, youngest first
    young, old = rates.copy(), rates
    young[:, separation:] = 0.0
    old = rates - young
    parts = np.stack([young @ weights, old @ weights], axis=1)

    def composed(table):
        return parts @ table

    # Young and old part: the excess is that of massive stars, not of the hot remnants of old ones.
    ionising = np.array([options["ionising_factor"][0], 1.0])
    n_ly, lum_ly = ionising * composed(population.n_ly), ionising * composed(population.lum_ly)
    lum, m_star = composed(population.lum), composed(population.m_star)
    continuum = composed(population.l_lambda)
    if gas["emission"]:
        # The gas takes the photons that neither escape nor are lost to dust.
        absorbed = 1.0 - gas["f_esc"] - gas["f_dust"]
        if absorbed < 0:
            raise DataError("nebular: f_esc + f_dust is above 1: lower one of them")
        below = ssp.wavelength_nm <= templates.LYMAN_LIMIT_NM
        continuum[..., below] *= gas["f_esc"] * ionising[:, None]
        photons = n_ly * absorbed
    else:
        photons = np.zeros_like(n_ly)
    formed = {
        "sfh.sfr": ([rate[-1] for rate in histories], "solMass / yr"),
        "sfh.sfr10Myrs": ([rate[-10:].mean() for rate in histories], "solMass / yr"),
        "sfh.sfr100Myrs": ([rate[-100:].mean() for rate in histories], "solMass / yr"),
        "sfh.integrated": (np.ones(len(histories)), "solMass"),
    }
    formed = {
        name: (np.array(values, dtype=float), unit) for name, (values, unit) in formed.items()
    }
    for name, table, unit in (
        ("stellar.lum", lum, "W"),
        ("stellar.lum_ly", lum_ly, "W"),
        ("stellar.n_ly", n_ly, "1 / s"),
        ("stellar.m_star", m_star, "solMass"),
    ):
        formed[name] = (table.sum(axis=1), unit)
        formed[f"{name}_young"] = (table[:, 0], unit)
        formed[f"{name}_old"] = (table[:, 1], unit)
    mass = parts.sum(axis=2)
    formed["stellar.m_gas"] = ((mass - m_star).sum(axis=1), "solMass")
    # CIGALE's age of the stars, weighted by the mass that is left of them.
    left = rates * (weights @ population.m_star)
    centres = np.arange(longest) + 0.5
    formed["stellar.age_m_star"] = (left @ centres / left.sum(axis=1), "Myr")
    return _Composite(continuum, photons, formed)


def _history(module, values):
    """Return the star formation history of a set of parameters."""
    if module == "sfhdelayedtrunc":
        return sfh.delayed_truncated(**values)
    if module == "sfhdelayedbq":
        return sfh.delayed_truncated(
            values["tau_main"], values["age_main"], values["age_bq"], values["r_sfr"]
        )
    return sfh.delayed(**values)


def _stellar_factor(spec, observed, rest, redshift):
    """Return fluxes, absorbed luminosity, quantities and parameters of the stellar models."""
    ssp, nebular = templates.load_ssp(), templates.load_nebular()
    wavelength = ssp.wavelength_nm
    options = spec.parameters["ssp"]
    gas = {key: values[0] for key, values in spec.parameters["nebular"].items()}
    history = _combinations(spec.parameters["sfh"])
    composite = _composites(spec, ssp, history)
    gas_continuum = nebular.continuum(options["metallicity"][0], gas["logU"])
    gas_lines = nebular.lines(options["metallicity"][0], gas["logU"])
    lines_nm = nebular.line_wavelength_nm
    # Two parts, young and old: stars and nebular continuum, and line luminosities.
    continuum = composite.continuum + composite.photons[..., None] * gas_continuum
    lines = composite.photons[..., None] * gas_lines

    shift = 1.0 + redshift
    to_bands = filters.projection(observed, wavelength * shift) / shift
    lines_to_bands = filters.line_projection(observed, lines_nm * shift)
    to_rest = filters.projection(rest, wavelength)
    lines_to_rest = filters.line_projection(rest, lines_nm)
    energy = _trapezoid_weights(wavelength)

    screens = _combinations(spec.parameters["attenuation"])
    n_history, n_screen = len(continuum), len(next(iter(screens.values())))
    flux = np.empty((n_history, n_screen, len(observed)))
    rest_flux = np.empty((n_history, n_screen, len(rest)))
    absorbed = np.empty((n_history, n_screen))
    plain = _total(continuum, lines, to_rest, lines_to_rest)
    for column in range(n_screen):
        screen = {key: values[column] for key, values in screens.items()}
        through = _transmission(spec.modules["attenuation"], screen, wavelength)
        lines_through = _transmission(spec.modules["attenuation"], screen, lines_nm, lines=True)
        flux[:, column] = _total(
            continuum * through, lines * lines_through, to_bands, lines_to_bands
        )
        rest_flux[:, column] = _total(
            continuum * through, lines * lines_through, to_rest, lines_to_rest
        )
        absorbed[:, column] = np.einsum(
            "spw,pw->s", continuum, (1.0 - through) * energy, optimize=True
        ) + np.einsum("spl,pl->s", lines, 1.0 - lines_through, optimize=True)
    # Ionising photons that dust takes heat it with all their energy.
    lyman, _ = composite.quantities["stellar.lum_ly"]
    absorbed += gas["f_dust"] * lyman[:, None]
    magnitudes = -2.5 * np.log10(rest_flux / plain[:, None])

    def of_history(values):
        return np.repeat(np.asarray(values), n_screen)

    def of_screen(values):
        return np.tile(np.asarray(values), n_history)

    quantities = [
        Quantity(name, 0 if name == "stellar.age_m_star" else 1, unit, stellar=of_history(values))
        for name, (values, unit) in composite.quantities.items()
    ]
    parameters = {f"sfh.{key}": of_history(values) for key, values in history.items()}
    parameters |= {f"attenuation.{key}": of_screen(values) for key, values in screens.items()}
    named = {
        **{f"sfh.{key}": (of_history(values), "Myr") for key, values in history.items()},
        **{key: (of_screen(values), unit) for key, (values, unit) in _screen_names(screens)},
        "attenuation.powerlaw_slope": (of_screen(screens["powerlaw_slope"]), ""),
        "attenuation.uv_bump_amplitude": (of_screen(screens["uv_bump_amplitude"]), ""),
    }
    dimensionless = ("sfh.r_sfr", "sfh.f_burst")
    quantities += [
        Quantity(name, 0, "" if name in dimensionless else unit, stellar=values)
        for name, (values, unit) in named.items()
    ]
    quantities += [
        Quantity(f"attenuation.{name}", 0, "mag", stellar=magnitudes[..., column].reshape(-1))
        for column, name in enumerate(rest)
    ]
    return {
        "flux": flux.reshape(-1, len(observed)),
        # Unattenuated models absorb nothing: no rounding below zero.
        "luminosity": np.maximum(absorbed, 0.0).reshape(-1),
        "quantities": quantities,
        "parameters": parameters,
    }


def _screen_names(screens):
    """Return CIGALE's names of the strengths of attenuation, with values and units."""
    if "E_BV_lines" in screens:
        lines, factor = screens["E_BV_lines"], screens["E_BV_factor"]
        return [
            ("attenuation.E_BV_lines", (lines, "mag")),
            ("attenuation.E_BVs", (lines * factor, "mag")),
            ("attenuation.E_BV_factor", (factor, "")),
        ]
    young = "E_BVs_young" if "E_BVs_young" in screens else "Av_young"
    strength, factor = screens[young], screens[young.replace("young", "old_factor")]
    label = young.removesuffix("_young")
    return [
        (f"attenuation.{label}.stellar.young", (strength, "mag")),
        (f"attenuation.{label}.stellar.old", (strength * factor, "mag")),
        ("attenuation.ebvs_old_factor", (factor, "")),
    ]


def model_spectra(spec, values, *, themis_folder=None):
    """Return the full spectra of some models, for 1 Msun formed, at rest.

    Parameters
    ----------
    spec : GridSpec
        Modules, and the values of stars and gas.
    values : dict of str to dict of str to array_like of shape (n,)
        Value of every parameter of the steps sfh, attenuation and dust, of each model.
    themis_folder : str or Path, optional
        As in `build_grid`.

    Returns
    -------
    wavelength_nm : ndarray of shape (n_w,)
    components : dict of str to ndarray of shape (n, n_w)
        W/nm: stars and gas before attenuation, ``attenuation`` (not positive) and ``dust``; their
        sum is the spectrum. Lines are triangles as wide as `lines_width`.
    """
    ssp, nebular = templates.load_ssp(), templates.load_nebular()
    gas = {key: found[0] for key, found in spec.parameters["nebular"].items()}
    metallicity = spec.parameters["ssp"]["metallicity"][0]
    tables = _dust_tables(spec, themis_folder)
    lines_nm = nebular.line_wavelength_nm
    width = lines_nm * gas["lines_width"] * 1e3 / SPEED_OF_LIGHT
    edges = [lines_nm - width, lines_nm, lines_nm + width]
    nodes = np.unique(np.concatenate([ssp.wavelength_nm, tables.wavelength_nm, *edges]))
    profile = np.maximum(0.0, 1.0 - np.abs(nodes - lines_nm[:, None]) / width[:, None])
    profile /= width[:, None]

    composite = _composites(spec, ssp, {k: np.asarray(v) for k, v in values["sfh"].items()})
    gas_continuum = composite.photons[..., None] * nebular.continuum(metallicity, gas["logU"])
    line_power = composite.photons[..., None] * nebular.lines(metallicity, gas["logU"])

    def on_nodes(table):
        flat = [
            np.interp(nodes, ssp.wavelength_nm, row) for row in table.reshape(-1, table.shape[-1])
        ]
        return np.reshape(flat, (*table.shape[:-1], len(nodes)))

    stars, clouds = on_nodes(composite.continuum), on_nodes(gas_continuum)
    lines = line_power @ profile
    lost, powers = np.empty(stars[:, 0].shape), np.empty(len(stars))
    energy = _trapezoid_weights(ssp.wavelength_nm)
    lyman, _ = composite.quantities["stellar.lum_ly"]
    for row in range(len(stars)):
        screen = {key: found[row] for key, found in values["attenuation"].items()}
        module = spec.modules["attenuation"]
        through = _transmission(module, screen, nodes)
        lines_through = _transmission(module, screen, lines_nm, lines=True)
        dimmed = (stars[row] + clouds[row]) * through + (line_power[row] * lines_through) @ profile
        lost[row] = (dimmed - stars[row] - clouds[row] - lines[row]).sum(axis=0)
        # The absorbed luminosity as the grid has it: on the nodes of the templates.
        plain = composite.continuum[row] + gas_continuum[row]
        coarse = _transmission(module, screen, ssp.wavelength_nm)
        powers[row] = (plain * (1.0 - coarse) @ energy).sum()
        powers[row] += (line_power[row] * (1.0 - lines_through)).sum()
    powers = np.maximum(powers + gas["f_dust"] * lyman, 0.0)
    dust_values = values["dust"]
    fraction = dust_values["qhac" if spec.modules["dust"] == "themis" else "qpah"]
    emitted = tables.spectrum(fraction, dust_values["umin"], dust_values["gamma"])
    emitted = [np.interp(nodes, tables.wavelength_nm, row, left=0, right=0) for row in emitted]
    components = {}
    for name, table in (
        ("stellar", stars),
        ("nebular.continuum", clouds),
        ("nebular.lines", lines),
    ):
        mark = "." if name == "stellar" else "_"
        components |= {f"{name}{mark}{age}": table[:, k] for k, age in enumerate(("young", "old"))}
    components["attenuation"] = lost
    components["dust"] = powers[:, None] * np.array(emitted)
    return nodes, components


def _total(continuum, lines, matrix, line_matrix):
    """Return the flux of young and old parts together, shape (n_history, n_band)."""
    return continuum.sum(axis=1) @ matrix + lines.sum(axis=1) @ line_matrix


def _transmission(module, screen, wavelength, *, lines=False):
    """Return the transmitted fraction of the young and the old part, shape (2, n_w)."""
    shape = {
        "powerlaw_slope": screen["powerlaw_slope"],
        "bump_amplitude": screen["uv_bump_amplitude"],
        "bump_centre": screen["uv_bump_wavelength"],
        "bump_width": screen["uv_bump_width"],
    }
    if module == "dustatt_modified_starburst":
        # Young and old stars and the gas continuum share a screen, the lines have another.
        if lines:
            curve, strength = attenuation.milky_way(wavelength, screen["Rv"]), screen["E_BV_lines"]
        else:
            curve = attenuation.calzleit(wavelength, **shape)
            strength = screen["E_BV_lines"] * screen["E_BV_factor"]
        return 10.0 ** (-0.4 * np.outer([strength, strength], curve))
    if module == "dustatt_calzleit":
        curve = attenuation.calzleit(wavelength, **shape)
        young, factor = screen["E_BVs_young"], screen["E_BVs_old_factor"]
    else:
        curve = attenuation.powerlaw(wavelength, **shape)
        young, factor = screen["Av_young"], screen["Av_old_factor"]
    return 10.0 ** (-0.4 * np.outer([young, young * factor], curve))


def _dust_factor(spec, observed, themis_folder, redshift):
    """Return fluxes per W, emissivity in W/kg and parameters of the dust models."""
    tables = _dust_tables(spec, themis_folder)
    parameters = _combinations(spec.parameters["dust"])
    fraction = parameters["qhac" if spec.modules["dust"] == "themis" else "qpah"]
    emission = tables.emission(fraction, parameters["umin"], parameters["gamma"])
    emissivity = np.trapezoid(emission, tables.wavelength_nm, axis=-1)
    shift = 1.0 + redshift
    matrix = filters.projection(observed, tables.wavelength_nm * shift) / shift
    return {
        "flux": emission / emissivity[:, None] @ matrix,
        "emissivity": emissivity,
        "parameters": parameters,
    }


def _dust_tables(spec, themis_folder):
    """Return the templates of the dust module."""
    module = spec.modules["dust"]
    fixed, only = {"themis": ("alpha", 2.0), "dl2007": ("umax", 1e6)}[module]
    if spec.parameters["dust"][fixed] != (only,):
        raise DataError(f"{module}: the templates have {fixed} = {only:g} only: give that")
    if module == "dl2007":
        return dust.load_dl07()
    if themis_folder is None:
        raise DataError("the module themis needs the folder of the THEMIS tables")
    return dust.load_themis(themis_folder)


def _combinations(parameters):
    """Return all combinations of parameter values: name to array of shape (n,), last fastest."""
    rows = list(itertools.product(*parameters.values()))
    return {key: np.array([row[k] for row in rows]) for k, key in enumerate(parameters)}


def _trapezoid_weights(x):
    """Return the weights w with sum(w * f) = the integral of f, linear between the points x."""
    step = np.diff(x)
    weights = np.zeros(len(x))
    weights[:-1] += step / 2
    weights[1:] += step / 2
    return weights


def save_grid(path, grid):
    """Write a grid as one npz file, whole or not at all."""
    quantities = [
        {
            "name": q.name,
            "power": q.power,
            "unit": q.unit,
            "stellar": q.stellar is not None,
            "dust": q.dust is not None,
        }
        for q in grid.quantities
    ]
    arrays = {
        "stellar_flux": grid.stellar_flux,
        "luminosity": grid.luminosity,
        "dust_flux": grid.dust_flux,
    }
    for kind in ("stellar", "dust"):
        for q in grid.quantities:
            if getattr(q, kind) is not None:
                arrays[f"{kind}:{q.name}"] = getattr(q, kind)
        for name, values in getattr(grid, f"{kind}_parameters").items():
            arrays[f"{kind}_parameter:{name}"] = values
    header = json.dumps(
        {"bands": grid.bands, "quantities": quantities, "meta": grid.meta}, sort_keys=True
    )
    with atomic(path) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, header=np.array(header), **arrays)


def load_grid(path):
    """Read a grid that `save_grid` wrote.

    Raises
    ------
    DataError
        If the file is missing or is not a grid.
    """
    path = Path(path)
    try:
        # numpy leaves a file open whose content it cannot read, unless it is ours.
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as stored:
            arrays = dict(stored)
        header = json.loads(str(arrays.pop("header")))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: run the rule build_grid") from None
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as fault:
        raise DataError(f"{path} is not a grid ({fault}): delete it and run again") from None
    parameters = {"stellar": {}, "dust": {}}
    for key in arrays:
        kind, _, name = key.partition("_parameter:")
        if name:
            parameters[kind][name] = arrays[key]
    quantities = tuple(
        Quantity(
            q["name"],
            q["power"],
            q["unit"],
            stellar=arrays[f"stellar:{q['name']}"] if q["stellar"] else None,
            dust=arrays[f"dust:{q['name']}"] if q["dust"] else None,
        )
        for q in header["quantities"]
    )
    return FactorisedGrid(
        bands=tuple(header["bands"]),
        stellar_flux=arrays["stellar_flux"],
        luminosity=arrays["luminosity"],
        dust_flux=arrays["dust_flux"],
        quantities=quantities,
        stellar_parameters=parameters["stellar"],
        dust_parameters=parameters["dust"],
        meta=header["meta"],
    )
