"""The configuration: every fault in one sentence, defaults filled in, each key described."""

import json
import re

import pytest
import yaml

from dustcast import config as configuration
from dustcast.config import CONFIG_FOLDER, complete, fit_bands, read_yaml, run_bands
from dustcast.experiments import read_experiments
from dustcast.tables import DataError

RUNS = sorted(path for path in CONFIG_FOLDER.glob("*.yaml") if path.name != "schema.yaml")
SCHEMA = yaml.safe_load((CONFIG_FOLDER / "schema.yaml").read_text())
FULL_AND_SHORT = {"full": {"roles": ["input", "target"]}, "short": {"roles": ["input"]}}


def nested(key, value):
    """Return a configuration in which a dotted key has a value."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return {"run": "x"} | value


def refusal(content):
    with pytest.raises(DataError) as fault:
        complete(content)
    text = str(fault.value)
    assert "\n" not in text
    assert not text.endswith(".")
    return text


def leaves(schema, prefix=""):
    """Yield dotted name and schema of every key that is not itself a mapping of known keys."""
    for key, inner in schema.get("properties", {}).items():
        if "properties" in inner:
            yield from leaves(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner


LEAVES = dict(leaves(SCHEMA))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "the configuration lacks the key run: add it (see config/README.md)"),
        ([], "the configuration is []: a mapping is needed"),
        (
            nested("smaple", {}),
            "the configuration has the unknown key smaple: did you mean sample? allowed are run, ",
        ),
        (nested("sed.gird", "x"), "sed has the unknown key gird: did you mean grid? allowed are "),
        (nested("sed.xyz", 1), "sed has the unknown key xyz: allowed are grid, filters, "),
        ({"run": "Demo"}, "run is 'Demo': it must match ^[a-z][a-z0-9_-]*$ (name of the run, "),
        ({"run": 3}, "run is 3: a text is needed (name of the run"),
        (nested("data_dir", ""), "data_dir is '': it must not be empty (folder of downloaded"),
        (nested("mirror", 5), "mirror is 5: a text or null is needed"),
        (nested("scales", []), "scales is []: at least 1 entry is needed (pixel scales"),
        (nested("scales", "global"), "scales is 'global': a list is needed"),
        (nested("scales", ["18"]), "scales.0 is '18': it must match"),
        (nested("scales", ["1kpc", "1kpc"]), "each entry may stand once"),
        (nested("bands.roles", ["inputs"]), "bands.roles.0 is 'inputs': use one of input, target"),
        (nested("bands.leave_out", ["WISE_5"]), "bands.leave_out: the band WISE_5 is not known: "),
        (nested("sample", None), "sample is None: a mapping is needed"),
        (
            nested("sample.size_cut", "area"),
            "sample.size_cut is 'area': use one of diameter",
        ),
        (nested("sample.share_folds", 1), "sample.share_folds is 1: true or false is needed"),
        (nested("sample.galaxies", []), "at least 1 entry is needed"),
        (
            nested("survey.source", "sdss"),
            "survey.source is 'sdss': use one of dustpedia, local, mock",
        ),
        (nested("survey.source", "local"), "survey.source is local, but survey.images names no"),
        (nested("survey.images", {"A": {"SDSS_r": "a"}}), "survey.images needs the source local"),
        (
            nested("survey", {"source": "local", "images": {"A": {"SDSS_x": "a"}}}),
            "survey.images.A: the band SDSS_x is not known",
        ),
        (
            nested("survey", {"source": "local", "images": {"A": {"IRAS_60": "a"}}}),
            "survey.images.A: IRAS_60 has no pixel size in bands.csv",
        ),
        (nested("survey.least_cover", 1.5), "survey.least_cover is 1.5: it must be at most 1"),
        (nested("sky.polynomial_order", 9), "sky.polynomial_order is 9: it must be at most 8"),
        (nested("mock.n_galaxies", 7), "mock.n_galaxies is 7: it must be at least 8"),
        (nested("mock.n_galaxies", 8.5), "mock.n_galaxies is 8.5: a whole number is needed"),
        (nested("mock.seed", -1), "mock.seed is -1: it must be at least 0"),
        (nested("photometry.source", ""), "use one of catalogue, cigale_table"),
        (nested("sed.method", "fast"), "sed.method is 'fast': use one of pruned, screen, brute"),
        (nested("sed.tolerance", 0), "sed.tolerance is 0: it must be above 0"),
        (nested("sed.additional_error", "10%"), "sed.additional_error is '10%': a number is neede"),
        (
            nested("sed.additional_error", float("nan")),
            "sed.additional_error is nan: a finite ",
        ),
        (nested("sed.tolerance", float("inf")), "sed.tolerance is inf: a finite number is needed"),
        (nested("features.max_reduced_chi2", float("nan")), "a finite number is needed"),
        (nested("sed.fits", {"full": {"roles": ["input"]}}), "sed.fits lacks the key short: add"),
        (nested("sed.fits", FULL_AND_SHORT | {"Mid": {"roles": ["input"]}}), "'Mid'"),
        (nested("sed.fits", FULL_AND_SHORT | {"b": {}}), "sed.fits.b lacks the key roles"),
        (
            nested("sed.fits", FULL_AND_SHORT | {"b": {"roles": ["input"], "leave_out": ["X"]}}),
            "sed.fits.b.leave_out: the band X is not known",
        ),
        (
            nested("sed.fits", FULL_AND_SHORT | {"b": {"roles": ["extra"]}}),
            "sed.fits.b sees no band: widen its roles or leave out fewer",
        ),
        (nested("learning.n_folds", 1), "learning.n_folds is 1: it must be at least 2"),
        (nested("learning.fold_seeds", [1, 1]), "each entry may stand once"),
        (nested("learning.fold_seeds", [-1]), "learning.fold_seeds.0 is -1: it must be at least"),
        (nested("learning.settings", {"random_forest": 5}), "a mapping is needed"),
        (nested("learning.experiments", ["../x"]), "learning.experiments.0 is '../x': it must m"),
        (
            {"run": "x", "images": {"target_psf": {"18arcsec": "SPIRE_250"}}},
            "images.target_psf.18arcsec: the run has no such scale",
        ),
        (
            {
                "run": "x",
                "scales": ["18arcsec"],
                "images": {"target_psf": {"18arcsec": "Gauss_0"}},
            },
            "there is no PSF Gauss_0: name a band, or a Gaussian",
        ),
        (
            {
                "run": "x",
                "scales": ["60arcsec"],
                "images": {"target_psf": {"60arcsec": "IRAS_60"}},
            },
            "IRAS_60 has no images",
        ),
        (
            {"run": "x", "survey": {"source": "mock"}, "photometry": {"source": "images"}},
            "photometry.source is images",
        ),
    ],
)
def test_each_fault_is_one_sentence(content, message):
    assert message in refusal(content)


@pytest.mark.parametrize("key", LEAVES)
def test_every_key_refuses_a_value_of_another_kind(key):
    """Whatever the key, the sentence names it and says what is allowed."""
    inner = LEAVES[key]
    wrong = 5 if inner.get("type") != "integer" and inner.get("type") != "number" else "five"
    text = refusal(nested(key, wrong))
    assert text.startswith(f"{key} is {wrong!r}: ")
    assert re.search(r"needed|use one of", text)
    assert inner["description"] in text


def test_every_key_has_a_description_and_but_for_run_a_default():
    for key, inner in LEAVES.items():
        assert inner["description"], key
        assert ("default" in inner) == (key != "run"), key


def test_unknown_keys_are_refused_at_every_depth():
    def folders(schema, path):
        yield path, schema
        for key, inner in schema.get("properties", {}).items():
            if "properties" in inner:
                yield from folders(inner, [*path, key])

    for path, schema in folders(SCHEMA, []):
        assert schema["additionalProperties"] is False, path


def test_defaults_are_filled_in_and_valid():
    filled = complete({"run": "x"})
    for key, inner in LEAVES.items():
        value = filled
        for part in key.split("."):
            value = value[part]
        assert value == ("x" if key == "run" else inner["default"]), key
    assert complete(filled) == filled


def test_given_values_stay_and_the_input_is_not_changed():
    given = {"run": "x", "sed": {"grid": "small"}, "learning": {"settings": {"a": {"b": 1}}}}
    before = json.dumps(given)
    filled = complete(given)
    assert filled["sed"]["grid"] == "small"
    assert filled["sed"]["method"] == SCHEMA["properties"]["sed"]["properties"]["method"]["default"]
    filled["learning"]["settings"]["a"]["b"] = 2
    filled["scales"].append("1kpc")
    assert json.dumps(given) == before
    assert complete({"run": "x"})["scales"] == ["global"]


def test_readme_describes_every_key():
    path = CONFIG_FOLDER / "README.md"
    if not path.is_file():
        pytest.skip(f"{path} is not there yet")
    text = path.read_text(encoding="utf-8")
    fits = [f"sed.fits.{key}" for key in ("roles", "leave_out")]
    missing = [key for key in LEAVES if not re.search(rf"(?<![\w.]){re.escape(key)}(?![\w])", text)]
    assert missing == []
    assert all(key.rsplit(".", 1)[1] in text for key in fits)


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_runs_that_ship_are_valid(path):
    config = complete(read_yaml(path))
    assert config["run"] == path.stem
    assert (CONFIG_FOLDER / "grids" / f"{config['sed']['grid']}.yaml").is_file()
    assert set(read_experiments(config)) == set(config["learning"]["experiments"])


def test_bands_of_a_run_and_of_its_fits():
    config = complete(
        nested("bands", {"roles": ["target", "input"], "leave_out": ["PACS_70", "GALEX_FUV"]})
    )
    bands = run_bands(config)
    assert len(bands) == 24
    assert bands[0] == "GALEX_NUV"
    assert bands[-1] == "SPIRE_500"
    assert not {"PACS_70", "GALEX_FUV", "IRAS_60"} & set(bands)
    assert fit_bands(config, "full") == bands
    assert fit_bands(config, "short") == bands[:17]
    config["sed"]["fits"]["short"]["leave_out"] = ["WISE_12"]
    assert fit_bands(config, "short") == [band for band in bands[:17] if band != "WISE_12"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist: there are other"),
        (b"a: [1, 2", "is not YAML: "),
        (b"a: b: c", "is not YAML: mapping values are not allowed here"),
        (b"\xff\xfe\x00", "is not YAML"),
    ],
)
def test_unreadable_yaml_is_refused_in_one_sentence(tmp_path, content, message):
    (tmp_path / "other.yaml").write_text("a: 1\n")
    path = tmp_path / "run.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as fault:
        read_yaml(path)
    assert str(path) in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_folder_is_no_yaml_and_an_empty_file_is_an_empty_mapping(tmp_path):
    with pytest.raises(DataError, match="is a folder: name a YAML file"):
        read_yaml(tmp_path)
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "empty.yaml") == {}


def test_the_schema_is_itself_valid():
    import jsonschema

    jsonschema.Draft7Validator.check_schema(configuration._schema())
