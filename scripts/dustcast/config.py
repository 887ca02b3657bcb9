"""The configuration of a run: checked against its schema, defaults filled in.

Snakemake's driver imports this module: standard library, yaml and jsonschema only, which come
with Snakemake.
"""

from __future__ import annotations

import copy
import difflib
import math
import re
from functools import lru_cache
from pathlib import Path

from dustcast.bands import band_table, bands_of, check_bands
from dustcast.tables import DataError

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG_FOLDER = REPOSITORY / "config"
# Names of Gaussian PSFs: the width in arcsec.
GAUSS_PATTERN = r"Gauss_([0-9]+(?:[.][0-9]+)?)"


def complete(config):
    """Check a configuration and fill in its defaults.

    Parameters
    ----------
    config : dict
        As read from a YAML file.

    Returns
    -------
    dict
        A new dictionary with every key of the schema.

    Raises
    ------
    DataError
        In one sentence: the key, what is wrong, and what is allowed.
    """
    import jsonschema

    schema = _schema()
    validator = jsonschema.Draft7Validator(schema)
    errors = sorted(validator.iter_errors(config), key=lambda error: list(map(str, error.path)))
    if errors:
        raise DataError(_sentence(errors[0]))
    _check_values(config, ())
    filled = _with_defaults(copy.deepcopy(dict(config)), schema)
    _check_images(filled)
    check_bands(filled["bands"]["leave_out"], "bands.leave_out")
    _check_survey(filled)
    if filled["sed"]["marginals"] and filled["sed"]["engine"] == "pcigale":
        raise DataError("sed.marginals needs sed.engine dustcast: pcigale gives no posteriors")
    filled["scales"] = [
        best_scale(filled) if scale == "best" else scale for scale in filled["scales"]
    ]
    for name, fit in filled["sed"]["fits"].items():
        check_bands(fit.get("leave_out", []), f"sed.fits.{name}.leave_out")
        if not fit_bands(filled, name):
            raise DataError(f"sed.fits.{name} sees no band: widen its roles or leave out fewer")
    return filled


def _check_survey(config):
    """Raise `DataError` if the images of a run are not named as its source asks for."""
    local = config["survey"]["source"] == "local"
    # Synthetic observations need no galaxies.
    if local and not config["survey"]["images"] and not config["synthetic"]["table"]:
        raise DataError(
            "survey.source is local, but survey.images names no file: give the path of each "
            "image by galaxy and band"
        )
    if not local and config["survey"]["images"]:
        raise DataError(
            f"survey.images needs the source local: survey.source is {config['survey']['source']}"
        )
    for galaxy, images in config["survey"]["images"].items():
        check_bands(images, f"survey.images.{galaxy}")
        without = [band for band in images if band not in image_bands(band_table())]
        if without:
            raise DataError(f"survey.images.{galaxy}: {without[0]} has no pixel size in bands.csv")


def best_scale(config):
    """Return the finest scale at which all input images of the run's own galaxies take part."""
    known = band_table()
    widths = [
        known[band].fwhm_arcsec
        for images in config["survey"]["images"].values()
        for band in images
        if known[band].role == "input"
    ]
    if not widths:
        raise DataError(
            "scales names best, the PSF of the widest input image, but survey.images has none: "
            "name a scale such as 18arcsec"
        )
    return f"{max(widths):g}arcsec"


def check_twice(path):
    """Raise `DataError` if a mapping of a YAML file has a key twice, of which YAML keeps one."""
    import yaml

    def walk(node, where):
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            name = f"{where}{key.value}"
            if name in seen:
                raise DataError(
                    f"{path} has {name} twice (line {key.start_mark.line + 1}): keep one"
                )
            seen.add(name)
            walk(value, f"{name}.")

    seen = set()
    with open(path, encoding="utf-8") as file:
        walk(yaml.compose(file), "")


def _check_images(config):
    """Raise `DataError` if what a run asks of images does not fit together."""
    pixels = [scale for scale in config["scales"] if scale != "global"]
    summed = config["photometry"]["source"] == "images"
    simulated = config["survey"]["source"] == "mock" and config["mock"]["level"] == "table"
    if simulated and summed:
        raise DataError(
            "photometry.source is images, which a simulated table of photometry does not have: "
            "leave it out"
        )
    simulated = config["survey"]["source"] == "mock" and config["mock"]["level"] == "images"
    if simulated and not summed and "global" in config["scales"]:
        raise DataError(
            "scales has global, but photometry.source is "
            f"{config['photometry']['source']}: set it to images, simulated galaxies are in no "
            "catalogue"
        )
    for scale, name in config["images"]["target_psf"].items():
        where = f"images.target_psf.{scale}"
        if scale not in pixels:
            raise DataError(f"{where}: the run has no such scale: scales has {', '.join(pixels)}")
        if not math.isfinite(psf_width(name, where)):
            raise DataError(f"{where}: {name} has no images: name another band")


def psf_width(name, where):
    """Return the nominal width in arcsec of a PSF: a band's, or that of a Gaussian's name."""
    gaussian = re.fullmatch(GAUSS_PATTERN, name)
    if gaussian and float(gaussian[1]) > 0:
        return float(gaussian[1])
    if name not in band_table():
        raise DataError(f"{where}: there is no PSF {name}: name a band, or a Gaussian, Gauss_6.7")
    return band_table()[name].fwhm_arcsec


def image_bands(bands):
    """Return those of some bands that have images: IRAS and Planck are photometry only."""
    return [band for band in bands if math.isfinite(band_table()[band].pixel_arcsec)]


def run_bands(config):
    """Return the ids of the bands that take part in a run, in the order of the band table."""
    chosen = bands_of(*config["bands"]["roles"])
    return [band for band in chosen if band not in config["bands"]["leave_out"]]


def fit_bands(config, fit):
    """Return the ids of the bands that a fit of the run sees."""
    wanted = config["sed"]["fits"][fit]
    known = band_table()
    return [
        band
        for band in run_bands(config)
        if known[band].role in wanted["roles"] and band not in wanted.get("leave_out", [])
    ]


def read_yaml(path):
    """Read a YAML file.

    Raises
    ------
    DataError
        If it is missing or is not YAML.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(other.stem for other in Path(path).parent.glob("*.yaml")))
        raise DataError(f"{path} does not exist: there are {known or 'none'}") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder: name a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise DataError(f"{path} is not YAML: {' '.join(str(fault).split())}") from None
    return {} if content is None else content


@lru_cache(maxsize=1)
def _schema():
    """Return the schema of a configuration."""
    return read_yaml(CONFIG_FOLDER / "schema.yaml")


def _with_defaults(value, schema):
    """Return a value with the defaults of its schema filled in, at every depth."""
    if not isinstance(value, dict):
        return value
    for key, inner in schema.get("properties", {}).items():
        if key not in value and "default" in inner:
            value[key] = copy.deepcopy(inner["default"])
        if key in value:
            value[key] = _with_defaults(value[key], inner)
    return value


def _check_values(value, path):
    """Raise `DataError` for what a JSON schema lets pass: infinite numbers, braces in a text."""
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"{'.'.join(map(str, path))} is {value}: a finite number is needed")
    if isinstance(value, str) and re.search("[{}]", value):
        raise DataError(
            f"{'.'.join(map(str, path))} is {value!r}: braces are Snakemake's wildcards, so no "
            "path may hold them"
        )
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_values(inner, (*path, key))


def _sentence(error):
    """Return one sentence for a jsonschema error: where, what, what is allowed."""
    where = ".".join(str(part) for part in error.path) or "the configuration"
    inner = error.schema
    if error.validator == "additionalProperties":
        known = list(inner.get("properties", {}))
        unknown = next(key for key in error.instance if key not in known)
        near = difflib.get_close_matches(str(unknown), known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"{where} has the unknown key {unknown}: {hint}allowed are {', '.join(known)}"
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        return f"{where} lacks the key {missing}: add it (see config/README.md)"
    allowed = {
        "enum": lambda: f"use one of {', '.join(map(str, inner['enum']))}",
        "type": lambda: f"{_kind(inner['type'])} is needed",
        "minimum": lambda: f"it must be at least {inner['minimum']}",
        "maximum": lambda: f"it must be at most {inner['maximum']}",
        "minProperties": lambda: "at least one entry is needed",
        "exclusiveMinimum": lambda: f"it must be above {inner['exclusiveMinimum']}",
        "minItems": lambda: f"at least {inner['minItems']} entry is needed",
        "minLength": lambda: "it must not be empty",
        "uniqueItems": lambda: "each entry may stand once",
        "pattern": lambda: f"it must match {inner['pattern']}",
    }.get(error.validator, lambda: error.message)()
    meaning = f" ({inner['description']})" if "description" in inner else ""
    return f"{where} is {error.instance!r}: {allowed}{meaning}"


def _kind(types):
    """Return the name of a JSON type, or of several."""
    names = {
        "string": "a text",
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "array": "a list",
        "object": "a mapping",
        "null": "null",
    }
    types = types if isinstance(types, list) else [types]
    return " or ".join(names[kind] for kind in types)
