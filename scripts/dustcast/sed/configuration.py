"""CIGALE's configuration file, pcigale.ini: what it asks for, in the terms of this project."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from dustcast.bands import band_of_name
from dustcast.sed.grid import MODULES, GridSpec, read_spec
from dustcast.tables import DataError

# Our templates make 1.395 times the ionising photons of CIGALE's bc03 (docs/method-sed.md).
IONISING_FACTOR = 0.717

STEP_OF = {name: step for step, modules in MODULES.items() for name in modules}

# Parameters without effect: sfr_A counts only if normalise is False, which is refused.
WITHOUT_EFFECT = ("sfr_A", "line_list")
ATTENUATION_FILTERS = {"B_B90", "V_B90", "FUV", "galex.FUV"}
ATTENUATION_FILTERS |= {"generic.bessell.B", "generic.bessell.V"}


@dataclass
class Configuration:
    """What a pcigale.ini asks for.

    Attributes
    ----------
    data_file : Path
        The input table.
    names : dict of str to str
        Bands that are fitted: our id to the name in the file.
    fluxes : tuple of str
        Ids of the bands of which a Bayesian flux is wanted.
    content : dict
        Modules and parameters as a grid file has them (config/grids/*.yaml).
    spec : GridSpec
        The same, checked.
    redshift : float or None
        Of all objects; None where the table gives it.
    additional_error : float
    upper_limits : str
        As in `dustcast.sed.engine.FitOptions`.
    variables : tuple of str
        Quantities of which a Bayesian estimate is wanted, with or without ``_log``; empty: all.
    mock, save_best_sed : bool
    redshift_decimals : int
        Negative: redshifts are not rounded.
    notes : list of str
        What is done otherwise than CIGALE would, one sentence each.
    """

    data_file: Path
    names: dict[str, str]
    fluxes: tuple[str, ...]
    content: dict
    spec: GridSpec
    redshift: float | None
    additional_error: float
    upper_limits: str
    variables: tuple[str, ...]
    mock: bool
    save_best_sed: bool
    redshift_decimals: int
    notes: list[str] = field(default_factory=list)


def read_configuration(path):
    """Read a pcigale.ini of CIGALE 0.12 to 2025.

    Parameters
    ----------
    path : str or Path
        The file. A relative ``data_file`` starts at its folder.

    Returns
    -------
    Configuration

    Raises
    ------
    DataError
        If the file is missing or is no pcigale.ini, or asks for what dustcast does not know: the
        sentence lists all of it.
    """
    path = Path(path)
    top, modules, analysis = _sections(path)
    unknown, notes = [], []
    method = top.get("analysis_method", "pdf_analysis")
    if method != "pdf_analysis":
        unknown.append(f"analysis_method = {method}")
    for key in ("parameters_file", "properties"):
        if top.get(key, "").strip(","):
            unknown.append(f"{key} = {top[key]}")
    if not top.get("data_file"):
        raise DataError(f"{path} names no data_file: add the table of fluxes")

    chain = _list(top.get("sed_modules", ""))
    content, redshift = {}, None
    for name in chain:
        if name not in STEP_OF:
            unknown.append(f"the module {name}")
            continue
        values = _parameters(name, modules.get(name, {}), unknown, notes)
        if name == "redshifting":
            redshifts = values.pop("redshift", [])
            if len(redshifts) > 1:
                unknown.append("several redshifts of redshifting (leave it empty)")
            redshift = redshifts[0] if redshifts else None
        if name == "bc03":
            values["ionising_factor"] = IONISING_FACTOR
            notes.append(
                f"bc03: the ionising photons are scaled by {IONISING_FACTOR} to those of CIGALE's "
                "templates (docs/method-sed.md)"
            )
        content[name] = values
    names = _bands(_list(top.get("bands", "")), unknown, path)
    options = _analysis(top, analysis, unknown, notes)
    if unknown:
        raise DataError(
            f"{path} asks for what dustcast does not know: {'; '.join(unknown)}: take it out, or "
            "run CIGALE itself"
        )
    wanted = [band_of_name(name) for name in _list(analysis.get("bands", ""))]
    return Configuration(
        data_file=path.parent / top["data_file"],
        names=names,
        fluxes=tuple(band for band in wanted if band) or tuple(names),
        content=content,
        spec=read_spec(content, where=str(path)),
        redshift=redshift,
        notes=notes,
        **options,
    )


def _sections(path):
    """Return the top level, the modules' parameters and the analysis parameters, as texts."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: name a pcigale.ini") from None
    except (UnicodeDecodeError, IsADirectoryError) as fault:
        raise DataError(f"{path} is not a text file ({fault}): name a pcigale.ini") from None
    top, modules, analysis = {}, {}, {}
    current = top
    for number, raw in enumerate(lines, start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        section = re.fullmatch(r"(\[+)\s*(.+?)\s*(\]+)(\s*#.*)?", line)
        if section:
            depth, name = len(section[1]), section[2]
            if depth == 2:
                current = modules.setdefault(name, {})
            else:
                current = {"analysis_params": analysis}.get(name, {})
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise DataError(f"{path}, line {number} is {line!r}: `key = value` is needed")
        current[key.strip()] = _bare(value)
    if "sed_modules" not in top:
        raise DataError(f"{path} has no sed_modules: is it a pcigale.ini?")
    return top, modules, analysis


def _bare(value):
    """Return a value without quotes around it and without a comment after it."""
    value = value.strip()
    quoted = re.match(r"""(["'])(.*?)\1\s*(#.*)?$""", value)
    if quoted:
        return quoted[2].strip()
    return value.partition("#")[0].strip()


def _list(text):
    """Return the items of a list."""
    return [item.strip().strip("\"'") for item in text.split(",") if item.strip()]


def _parameters(name, given, unknown, notes):
    """Return the parameters of a module as lists of values."""
    known = MODULES[STEP_OF[name]][name]
    values = {}
    for key, text in given.items():
        if key in WITHOUT_EFFECT:
            continue
        if key == "filters":
            others = {part.strip() for part in text.split("&")} - ATTENUATION_FILTERS - {""}
            if others:
                notes.append(
                    f"{name}: attenuation is given in B_B90, V_B90 and FUV, not in "
                    f"{', '.join(sorted(others))}"
                )
        elif key == "ne":
            notes.append(f"{name}: ne has no effect: the templates have one electron density")
        elif key == "normalise":
            if text.lower() != "true":
                unknown.append(f"{name}: normalise = {text}")
        elif key == "zgas":
            notes.append(f"{name}: the gas has the metallicity of the stars, whatever zgas says")
        elif key == "Ext_law_emission_lines":
            if _list(text) != ["1"]:
                unknown.append(f"{name}: {key} = {text} (1 is known, the Milky Way)")
        elif key == "emission":
            values[key] = text.lower() == "true"
        elif key not in known:
            unknown.append(f"{name}: the parameter {key}")
        elif key == "imf" and _list(text) != ["0"]:
            unknown.append(f"{name}: imf = {text} (0 is known, Salpeter)")
        else:
            values[key] = _numbers(f"{name}: {key}", text, unknown)
    return values


def _numbers(what, text, unknown):
    """Return the numbers of a parameter: a list, or `range start stop step`."""
    if text.startswith("range "):
        import numpy as np

        start, stop, step = (float(part) for part in text.split()[1:])
        return np.arange(start, stop, step).tolist()
    try:
        return [float(item) for item in _list(text)]
    except ValueError:
        unknown.append(f"{what} = {text}")
        return []


def _bands(names, unknown, path):
    """Return the bands that are fitted: our id to CIGALE's name."""
    found = {}
    for name in names:
        if name.endswith("_err"):
            continue
        band = band_of_name(name)
        if band is None:
            unknown.append(f"the band {name}")
        elif f"{name}_err" not in names:
            unknown.append(f"the band {name} without {name}_err")
        elif band in found:
            raise DataError(f"{path} has the band {band} twice, as {found[band]} and {name}")
        else:
            found[band] = name
    if not names:
        raise DataError(f"{path} lists no bands: add those of the table, each with its _err")
    return found


def _analysis(top, analysis, unknown, notes):
    """Return the options of pdf_analysis."""
    limits = analysis.get("lim_flag", "noscaling").lower()
    upper_limits = {"none": "none", "false": "none"}.get(limits, "noscaling")
    if limits in ("true", "full"):
        notes.append(
            f"lim_flag = {analysis['lim_flag']}: upper limits take no part in the scale, as with "
            "noscaling"
        )
    elif limits not in ("none", "false", "noscaling"):
        unknown.append(f"lim_flag = {limits}")
    if analysis.get("save_chi2", "none").lower() not in ("none", "false"):
        notes.append("save_chi2: the chi2 of single models are not written")
    try:
        numbers = {
            "additional_error": float(top.get("additionalerror", 0.1)),
            "redshift_decimals": int(analysis.get("redshift_decimals", 2)),
        }
    except ValueError as fault:
        raise DataError(f"additionalerror and redshift_decimals are numbers ({fault})") from None
    return numbers | {
        "upper_limits": upper_limits,
        "variables": tuple(_list(analysis.get("variables", ""))),
        "mock": analysis.get("mock_flag", "false").lower() == "true",
        "save_best_sed": analysis.get("save_best_sed", "false").lower() == "true",
    }
