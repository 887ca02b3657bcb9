"""CIGALE itself as the engine of fits: its files written, its command run, its results read back.

pcigale changed names of modules, parameters and bands over the years. `GENERATIONS` are those
that this module writes for; results of any are read.
"""

from __future__ import annotations

import importlib.metadata
import math
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dustcast.bands import band_of_name, band_table
from dustcast.sed.cigale import read_results
from dustcast.tables import DataError, Table, atomic, places, write_text

# Index of a generation's band names in the band table.
GENERATIONS = {"2022": 1, "2025": 2}
KEYS = ("id", "galaxy", "scale")

# Types of the parameters for pcigale.ini.spec; all others are lists of numbers.
INTEGERS = ("age_main", "age_bq", "age_burst", "imf", "separation_age", "Ext_law_emission_lines")
TEXTS = ("filters", "line_list")
SWITCHES = ("emission", "normalise")

# Our name of a quantity by pcigale's, where a grid file has the older names.
OLDER_NAMES = {"sfh.age_main": "sfh.age", "sfh.age_bq": "sfh.age_trunc"}

# Quantities that pcigale estimates, by module.
ESTIMATES = {
    "sfhdelayedbq": ("age_main", "age_bq", "r_sfr", "tau_main"),
    "sfhdelayed": ("age_main", "age_burst", "f_burst", "tau_burst", "tau_main"),
    "bc03": ("age_m_star", "lum", "lum_ly", "m_gas", "m_star", "n_ly"),
    "dustatt_modified_starburst": ("E_BV_lines", "E_BVs", "powerlaw_slope", "uv_bump_amplitude"),
    "dustatt_powerlaw": ("Av.stellar.old", "Av.stellar.young", "powerlaw_slope"),
    "themis": ("alpha", "gamma", "luminosity", "mass", "qhac", "umin"),
    "dl2007": ("gamma", "luminosity", "mass", "qpah", "umax", "umin"),
}
PREFIXES = {"sfh": "sfh", "bc03": "stellar", "dustatt": "attenuation", "themis": "dust"}
PREFIXES |= {"dl2007": "dust"}
RATES = ("sfh.integrated", "sfh.sfr", "sfh.sfr100Myrs", "sfh.sfr10Myrs")

# What pcigale's gas can have for metallicity (2022 and 2025).
GAS_METALLICITIES = (
    *(0.0001, 0.0004, 0.001, 0.002, 0.0025, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008, 0.009),
    *(0.011, 0.012, 0.014, 0.016, 0.019, 0.02, 0.022, 0.025, 0.03, 0.033, 0.037, 0.041, 0.046),
    0.051,
)


@dataclass(frozen=True)
class Chain:
    """Modules and parameters for one generation of pcigale.

    Attributes
    ----------
    modules : dict of str to dict
        Parameters (lists, texts or truth values) by module, in the order of the chain.
    changes : tuple of str
        What the fits mean otherwise than with our modules, one sentence each.
    """

    modules: dict[str, dict]
    changes: tuple[str, ...]


def generation_of(version):
    """Return the generation of a version of pcigale, for instance of ``2022.1``.

    Raises
    ------
    DataError
        If the version is older than 2022 or no year.
    """
    year = str(version).split(".")[0]
    if not year.isdigit() or int(year) < 2022:
        raise DataError(
            f"pcigale {version} is not supported: install one of 2022 to 2025, or set sed.engine: "
            "dustcast"
        )
    return "2025" if int(year) >= 2025 else "2022"


def installed_generation():
    """Return the generation of the pcigale in this environment.

    Raises
    ------
    DataError
        If there is none.
    """
    try:
        return generation_of(importlib.metadata.version("pcigale"))
    except importlib.metadata.PackageNotFoundError:
        raise DataError(
            "pcigale is not installed in this environment: run with --sdm conda "
            "(envs/cigale.yaml), name the version in sed.pcigale.version, or set sed.engine: "
            "dustcast"
        ) from None


def translate(content, generation):
    """Return the modules of a grid file under the names of a generation of pcigale.

    Parameters
    ----------
    content : dict
        As in config/grids/*.yaml.
    generation : str
        A key of `GENERATIONS`.

    Returns
    -------
    Chain

    Raises
    ------
    DataError
        If pcigale has nothing that corresponds.
    """
    lists = {name: _lists(values or {}) for name, values in content.items()}
    modules, changes = {}, []
    if "sfhdelayedtrunc" in lists:
        old = lists["sfhdelayedtrunc"]
        modules["sfhdelayedbq"] = {
            "tau_main": old["tau_main"],
            "age_main": old["age"],
            "age_bq": old["age_trunc"],
            "r_sfr": old["r_sfr"],
        }
        changes.append("sfhdelayedtrunc is sfhdelayedbq: age is age_main, age_trunc is age_bq")
    for name in ("sfhdelayedbq", "sfhdelayed"):
        if name in lists:
            modules[name] = lists[name]
    for parameters in modules.values():
        parameters |= {"sfr_A": [1.0], "normalise": True}
    ssp = {"imf": ["salpeter"], "metallicity": [0.02], "separation_age": [10], **lists["bc03"]}
    if ssp["imf"][0] not in ("salpeter", 0):
        raise DataError(f"bc03: pcigale has no imf {ssp['imf'][0]}: use salpeter")
    modules["bc03"] = {
        "imf": [0],
        "metallicity": ssp["metallicity"],
        "separation_age": ssp["separation_age"],
    }
    modules["nebular"] = _nebular(lists.get("nebular", {}), ssp["metallicity"][0], generation)
    names = band_table()["GALEX_FUV"].cigale
    curves = "B_B90 & V_B90" if generation == "2022" else "generic.bessell.B & generic.bessell.V"
    screen = {"filters": f"{curves} & {names[-1]}"}
    bump = {"uv_bump_wavelength": [217.5], "uv_bump_width": [35.0], "uv_bump_amplitude": [0.0]}
    lines = {"Ext_law_emission_lines": [1], "Rv": [3.1]}
    if "dustatt_calzleit" in lists:
        old = {"E_BVs_old_factor": [0.44], "powerlaw_slope": [0.0], **lists["dustatt_calzleit"]}
        strength = {
            "E_BV_lines": old.pop("E_BVs_young"),
            "E_BV_factor": old.pop("E_BVs_old_factor"),
        }
        modules["dustatt_modified_starburst"] = {**strength, **bump, **old, **lines, **screen}
        changes.append(
            "dustatt_calzleit is dustatt_modified_starburst: E_BV_lines is E_BVs_young and "
            "E_BV_factor is E_BVs_old_factor, so that young stars are reddened as little as old "
            "ones, and lines by the Milky Way's curve"
        )
    if "dustatt_modified_starburst" in lists:
        given = lists["dustatt_modified_starburst"]
        modules["dustatt_modified_starburst"] = {
            "E_BV_factor": [0.44], "powerlaw_slope": [0.0], **bump, **lines, **given, **screen
        }  # fmt: skip
    if "dustatt_powerlaw" in lists:
        given = {"Av_old_factor": [0.44], "powerlaw_slope": [-0.7], **lists["dustatt_powerlaw"]}
        modules["dustatt_powerlaw"] = {**bump, **given, **screen}
    for name, fixed in (("themis", {"alpha": [2.0]}), ("dl2007", {"umax": [1e6]})):
        if name in lists:
            modules[name] = {**fixed, **lists[name]}
    # Empty: from the table.
    modules["redshifting"] = {"redshift": []}
    return Chain(modules, tuple(changes))


def _lists(parameters):
    """Return parameters whose numbers are all in lists."""
    return {
        key: value if isinstance(value, list | bool) else [value]
        for key, value in parameters.items()
    }


def _nebular(given, metallicity, generation):
    """Return the parameters of pcigale's gas, which has a metallicity of its own."""
    zgas = min(GAS_METALLICITIES, key=lambda value: abs(math.log(value / metallicity)))
    gas = {
        "logU": given.get("logU", [-2.0]),
        "zgas": [zgas],
        "ne": [100],
        "f_esc": given.get("f_esc", [0.0]),
        "f_dust": given.get("f_dust", [0.0]),
        "lines_width": given.get("lines_width", [300.0]),
        "emission": bool(np.ravel(given.get("emission", True))[0]),
    }
    return gas | ({"line_list": ""} if generation == "2025" else {})


def configuration_texts(chain, bands, fluxes, *, generation, cores, blocks, options):
    """Return the contents of pcigale.ini and pcigale.ini.spec.

    Parameters
    ----------
    chain : Chain
        From `translate`.
    bands, fluxes : list of str
        Ids of the bands that are fitted, and of those of which a Bayesian flux is wanted.
    generation : str
        Whose names the bands have.
    cores, blocks : int
        Parallel processes, and pieces in which the models are computed.
    options : dict
        ``additional_error`` and ``upper_limits``.

    Returns
    -------
    tuple of (str, str)
    """
    name_of = _band_names(generation)
    fitted = [name_of[band] + end for band in bands for end in ("", "_err")]
    variables = [*RATES]
    for module in chain.modules:
        prefix = next((p for key, p in PREFIXES.items() if module.startswith(key)), "")
        variables += [f"{prefix}.{name}" for name in ESTIMATES.get(module, ())]
    top = {
        "data_file": ("photometry.fits", "string()"),
        "parameters_file": ("", "string()"),
        "sed_modules": (list(chain.modules), "cigale_string_list()"),
        "analysis_method": ("pdf_analysis", "string()"),
        "cores": (cores, "integer(min=1)"),
        "bands": (fitted, "cigale_string_list()"),
        "properties": ([], "cigale_string_list()"),
        "additionalerror": (options["additional_error"], "float(min=0.0)"),
    }
    analysis = {
        "variables": (sorted(variables), "cigale_string_list()"),
        "bands": ([name_of[band] for band in fluxes], "cigale_string_list()"),
        "save_best_sed": (False, "boolean()"),
        "save_chi2": ("none", "option('all', 'none', 'properties', 'fluxes')"),
        "lim_flag": (options["upper_limits"], "option('full', 'noscaling', 'none')"),
        "mock_flag": (False, "boolean()"),
        "redshift_decimals": (2, "integer()"),
        "blocks": (blocks, "integer(min=1)"),
    }
    lines = [(0, key, *pair) for key, pair in top.items()]
    lines += [(0, "[sed_modules_params]", None, None)]
    for module, parameters in chain.modules.items():
        lines += [(1, f"[[{module}]]", None, None)]
        lines += [(2, key, value, _type(key)) for key, value in parameters.items()]
    lines += [(0, "[analysis_params]", None, None)]
    lines += [(1, key, *pair) for key, pair in analysis.items()]
    texts = []
    for which in (2, 3):
        rows = [
            "  " * line[0] + (line[1] if line[3] is None else f"{line[1]} = {_text(line[which])}")
            for line in lines
        ]
        texts.append("\n".join(rows) + "\n")
    return tuple(texts)


def _type(key):
    """Return the type of a module's parameter, as pcigale.ini.spec has it."""
    if key in SWITCHES:
        return "boolean()"
    if key in TEXTS:
        return "string()"
    return "cigale_list(dtype=int)" if key in INTEGERS else "cigale_list()"


def _text(value):
    """Return a value as it stands in the file; a list of one ends with a comma."""
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) + ("," if len(value) == 1 else "")
    return str(value)


def _band_names(generation):
    """Return the names of the bands in a generation of pcigale, by id."""
    return {band: row.cigale[GENERATIONS[generation]] for band, row in band_table().items()}


def fit(photometry, bands, fluxes, content, folder, *, options, settings, threads=1):
    """Fit a photometry table by running pcigale.

    Parameters
    ----------
    photometry : Table
        id, galaxy, scale, redshift, distance (Mpc), `<band>`, `<band>_err` in mJy.
    bands, fluxes : list of str
        Bands that the fit sees, and those of which it gives a Bayesian flux.
    content : dict
        Grid of models, as in config/grids/*.yaml.
    folder : str or Path
        Where pcigale runs: its configuration and its own output stay there. Made anew.
    options : dict
        ``additional_error`` and ``upper_limits``.
    settings : dict
        ``version`` of pcigale (None: the installed one) and ``blocks``.
    threads : int
        Processes of pcigale.

    Returns
    -------
    Table
        As `dustcast.sed.fit.fit_table` gives it, with the columns that pcigale has.
        ``meta["changes"]`` says what the fits mean otherwise.

    Raises
    ------
    DataError
        If pcigale is missing or fails, or its results lack a Bayesian flux.
    """
    version = settings["version"]
    generation = generation_of(version) if version else installed_generation()
    chain = translate(content, generation)
    for change in chain.changes:
        print(change, flush=True)
    meta = {"engine": f"pcigale {generation}", "changes": list(chain.changes)}
    if not photometry.n_rows:
        reason = photometry.meta.get("reason", "the photometry table is empty")
        return _empty(fluxes, meta | {"exclusions": [], "reason": reason})
    folder = Path(folder)
    if folder.exists():
        shutil.rmtree(folder)
    ini, spec = configuration_texts(
        chain,
        bands,
        fluxes,
        generation=generation,
        cores=threads,
        blocks=settings["blocks"],
        options=options,
    )
    write_text(folder / "pcigale.ini", ini)
    write_text(folder / "pcigale.ini.spec", spec)
    write_photometry(folder / "photometry.fits", photometry, bands, generation)
    _run(folder)
    found = [folder / "out" / f"results.{suffix}" for suffix in ("fits", "txt")]
    results = next((path for path in found if path.is_file()), found[0])
    limits = options["upper_limits"] != "none"
    return read_back(read_results(results), photometry, bands, fluxes, meta, limits=limits)


def pcigale_id(sample_id):
    """Return the id of a row in pcigale's tables, which it uses in names of files."""
    return str(sample_id).removesuffix("/global").replace("/", "_")


def write_photometry(path, photometry, bands, generation):
    """Write the input table of pcigale: FITS, NaN where a flux is missing."""
    from astropy.table import Table as AstropyTable

    name_of = _band_names(generation)
    columns = {"id": [pcigale_id(name) for name in photometry["id"]]}
    columns |= {name: photometry[name] for name in ("redshift", "distance")}
    for band in bands:
        columns |= {name_of[band] + end: photometry[band + end] for end in ("", "_err")}
    with atomic(path) as temporary:
        AstropyTable(columns).write(temporary, format="fits")


def _run(folder):
    """Run pcigale in a folder; its output goes where ours goes."""
    try:
        done = subprocess.run(["pcigale", "run"], cwd=folder, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise DataError(
            "there is no command pcigale: run with --sdm conda (envs/cigale.yaml), or set "
            "sed.engine: dustcast"
        ) from None
    if done.returncode:
        raise DataError(
            f"pcigale run ended with code {done.returncode}: the log and {folder} say more"
        )


def read_back(results, photometry, bands, fluxes, meta, *, limits):
    """Return results of pcigale under our names, in the order of the photometry.

    Parameters
    ----------
    results : Table
        As from `dustcast.sed.cigale.read_results`; band names of any generation.
    photometry : Table
        What was fitted.
    bands, fluxes : list of str
        As in `fit`.
    meta : dict
        Provenance.
    limits : bool
        Whether upper limits took part.

    Returns
    -------
    Table
        Rows without a result are left out and listed in ``meta["exclusions"]``.

    Raises
    ------
    DataError
        If a Bayesian flux is missing.
    """
    rows = places(results["id"], map(pcigale_id, photometry["id"]))
    columns = {key: photometry[key] for key in KEYS}
    units = {}
    for theirs, values in results.items():
        kind, _, name = theirs.partition(".")
        if kind not in ("bayes", "best"):
            continue
        plain, error = name.removesuffix("_err"), "_err" if name.endswith("_err") else ""
        ours = f"{kind}.{band_of_name(plain) or OLDER_NAMES.get(plain, plain)}{error}"
        columns[ours] = np.where(rows >= 0, values[rows], np.nan)
        if results.units.get(theirs):
            units[ours] = results.units[theirs]
    missing = [band for band in fluxes if f"bayes.{band}" not in columns]
    if missing:
        raise DataError(
            f"the results of pcigale have no Bayesian flux in {missing[0]}: does its database "
            "have the band? Else take it out with bands.leave_out"
        )
    used = [
        np.isfinite(photometry[band]) & ((photometry[f"{band}_err"] > 0) | limits) for band in bands
    ]
    columns["n_bands"] = np.sum(used, axis=0)
    fitted = np.isfinite(columns["best.chi_square"])
    reason = "pcigale gives no result"
    lost = dict.fromkeys(
        (str(photometry["galaxy"][row]), "", str(photometry["scale"][row]), "fit_sed", reason)
        for row in np.flatnonzero(~fitted)
    )
    meta = meta | {"exclusions": [list(row) for row in lost]}
    if not fitted.any():
        meta["reason"] = reason
    return Table(columns, units=units, meta=meta).rows(fitted)


def _empty(fluxes, meta):
    """Return a table of fits without rows."""
    columns = {key: np.empty(0, dtype=object) for key in KEYS}
    names = [f"bayes.{band}{end}" for band in fluxes for end in ("", "_err")]
    names += ["best.chi_square", "best.reduced_chi_square", "n_bands"]
    return Table(columns | {name: np.empty(0) for name in names}, meta=meta)
