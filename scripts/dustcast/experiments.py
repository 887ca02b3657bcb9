"""Experiments: small YAML files that say what changes from the fiducial.

Standard library and yaml only: Snakemake's driver imports this module.
"""

from __future__ import annotations

from dustcast.bands import REFERENCE_BAND, check_bands
from dustcast.config import CONFIG_FOLDER, fit_bands, read_yaml
from dustcast.sample import GLOBAL
from dustcast.tables import DataError

OFFICIAL = "official"
# Keys of an experiment that change the table of features, and those that choose from it.
FEATURE_KEYS = ("short", "truth", "reference", "w1", "dropout")
SELECTION_KEYS = (
    *("drop_bands", "observed", "flux_errors", "scales", "log_scale"),
    *("radius", "hubble_stage", "neighbours", "shared", "temperature"),
)
TRAINING_KEYS = ("train_scales", "leave_out", "train_share", "max_rows")
OTHER_KEYS = ("description", "regressors", "fold_seeds", "settings", "keep_models")
FIDUCIAL = "fiducial"
# Value of leave_out: the galaxies of figures.highlight.
HIGHLIGHTED = "highlighted"
FORESTS = ("random_forest", "extra_trees")
W1_KINDS = ("surface_brightness", "luminosity")
TEMPERATURES = ("mean", "geometric")
LISTS = {
    **{"drop_bands": str, "scales": str, "shared": str, "train_scales": str},
    **{"leave_out": str, "regressors": str, "fold_seeds": int},
}
SWITCHES = (
    *("observed", "flux_errors", "log_scale", "dropout"),
    *("radius", "hubble_stage", "neighbours", "keep_models"),
)


def read_experiments(config):
    """Return the experiments of a run.

    Parameters
    ----------
    config : dict
        Completed configuration.

    Returns
    -------
    dict of str to dict
        By name, defaults filled in: `FEATURE_KEYS`, `regressors`, `fold_seeds`, `description`,
        `settings` (of each regressor that has any; those of the run where the file says nothing),
        `selection` (what `dustcast.learning.experiments.select_features` takes), `training` (what
        `training_sample` there takes), `keep_models` and `features` (folder of its feature
        tables, with a slash; empty for those of the run).

    Raises
    ------
    DataError
        If a file is missing, has an unknown key, or names what the run does not have.
    """
    defaults = feature_defaults(config)
    defaults.pop("features")
    found = {}
    for name in config["learning"]["experiments"]:
        path = CONFIG_FOLDER / "experiments" / f"{name}.yaml"
        content = read_yaml(path)
        _check_form(path.name, content)
        features = {key: content.get(key, default) for key, default in defaults.items()}
        _check(config, path.name, features, content)
        found[name] = {
            **features,
            "description": content.get("description", ""),
            "regressors": content.get("regressors", config["learning"]["regressors"]),
            "fold_seeds": content.get("fold_seeds", config["learning"]["fold_seeds"]),
            "settings": _settings(config["learning"], name, content.get("settings", {})),
            "training": _training(config, name, content),
            "keep_models": content.get(
                "keep_models", name in (FIDUCIAL, config["figures"]["experiment"])
            ),
            "selection": {key: content[key] for key in SELECTION_KEYS if key in content},
            "features": "" if features == defaults else f"{name}/",
        }
    return found


def _settings(learning, name, own):
    """Return the settings of regressors: experiments beside the fiducial have fewer trees."""
    settings = dict(learning["settings"])
    if name != FIDUCIAL and learning["experiment_trees"]:
        for forest in FORESTS:
            chosen = settings.get(forest, {})
            parameters = chosen.get("parameters", {}) | {
                "n_estimators": learning["experiment_trees"]
            }
            settings[forest] = chosen | {"parameters": parameters}
    return settings | own


def _training(config, name, content):
    """Return who trains: the keys of the file, and the most rows of experiments."""
    training = {key: content[key] for key in TRAINING_KEYS if key in content}
    if name != FIDUCIAL and config["learning"]["max_rows"]:
        training.setdefault("max_rows", config["learning"]["max_rows"])
    if HIGHLIGHTED in training.get("leave_out", []):
        named = [galaxy for galaxy in training["leave_out"] if galaxy != HIGHLIGHTED]
        training["leave_out"] = named + config["figures"]["highlight"]
    return training


def feature_defaults(config):
    """Return what the run's own table of features is made of (`FEATURE_KEYS`, `features`)."""
    return {
        "short": "short",
        "truth": config["features"]["truth"],
        "reference": REFERENCE_BAND,
        "w1": config["features"]["w1"],
        "dropout": False,
        "features": "",
    }


def _check_form(name, content):
    """Raise `DataError` if the content of a file has an unknown key or a value of a wrong kind."""
    if not isinstance(content, dict):
        raise DataError(f"{name} is not a mapping: write one key and its value a line")
    known = (*FEATURE_KEYS, *SELECTION_KEYS, *TRAINING_KEYS, *OTHER_KEYS)
    for key, value in content.items():
        if key not in known:
            raise DataError(f"{name} has the unknown key {key}: use {', '.join(known)}")
        if key in LISTS:
            kind, items = LISTS[key], value if isinstance(value, list) else [None]
            if not all(type(item) is kind for item in items):
                what = "names" if kind is str else "whole numbers"
                raise DataError(f"{name}: {key} is {value!r}: a list of {what} is needed")
        elif key == "settings":
            if not (isinstance(value, dict) and all(isinstance(v, dict) for v in value.values())):
                raise DataError(
                    f"{name}: settings is {value!r}: a mapping of regressors to their settings is "
                    "needed"
                )
        elif key == "train_share":
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
                raise DataError(f"{name}: train_share is {value!r}: a number to 1 is needed")
        elif key == "max_rows":
            if type(value) is not int or value < 1:
                raise DataError(f"{name}: max_rows is {value!r}: a whole number is needed")
        elif not isinstance(value, bool if key in SWITCHES else str):
            needed = "true or false" if key in SWITCHES else "a text"
            raise DataError(f"{name}: {key} is {value!r}: {needed} is needed")


def _check(config, name, features, content):
    """Raise `DataError` if an experiment names what the run does not have."""
    fits = config["sed"]["fits"]
    if features["short"] not in fits:
        raise DataError(f"{name}: the fit {features['short']} is not one of {', '.join(fits)}")
    truths = [*fits, *([OFFICIAL] if config["survey"]["source"] == "dustpedia" else [])]
    if features["truth"] not in truths:
        raise DataError(f"{name}: truth is {features['truth']!r}: use one of {', '.join(truths)}")
    if features["w1"] not in W1_KINDS:
        raise DataError(f"{name}: w1 is {features['w1']!r}: use {' or '.join(W1_KINDS)}")
    if (kind := content.get("temperature", TEMPERATURES[0])) not in TEMPERATURES:
        raise DataError(f"{name}: temperature is {kind!r}: use {' or '.join(TEMPERATURES)}")
    if kind != TEMPERATURES[0] and features["truth"] == OFFICIAL:
        raise DataError(
            f"{name}: temperature is {kind}, which the official table has not: let truth be a fit"
        )
    check_bands([features["reference"], *content.get("drop_bands", [])], name)
    for scale in (s for key in ("scales", "train_scales", "shared") for s in content.get(key, [])):
        if scale not in config["scales"]:
            raise DataError(
                f"{name}: the scale {scale} is not of the run: use {', '.join(config['scales'])}"
            )
    if features["dropout"]:
        if content.get("scales", config["scales"]) != [GLOBAL]:
            raise DataError(
                f"{name}: dropout removes bands of whole galaxies only: write scales: [{GLOBAL}]"
            )
        for subset, kept in config["learning"]["dropout"]["subsets"].items():
            check_bands(kept, f"learning.dropout.subsets.{subset}")
        known = {*config["learning"]["dropout"]["subsets"], "random"}
        strange = sorted(set(config["learning"]["dropout"]["every"]) - known)
        if strange:
            raise DataError(
                f"learning.dropout.every: there is no subset {strange[0]}: use one of "
                f"{', '.join(sorted(known))}"
            )
    bands = fit_bands(config, features["short"])
    if features["reference"] not in bands:
        raise DataError(
            f"{name}: the fit {features['short']} does not see the reference band "
            f"{features['reference']}: name another reference"
        )
