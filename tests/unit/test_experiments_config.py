"""Experiments: what their files may say, and what is filled in."""

import pytest

from dustcast import experiments
from dustcast.config import CONFIG_FOLDER, complete
from dustcast.experiments import read_experiments
from dustcast.tables import DataError

NAMES = sorted(path.stem for path in (CONFIG_FOLDER / "experiments").glob("*.yaml"))
FITS = {
    "full": {"roles": ["input", "target", "extra"]},
    "full26": {"roles": ["input", "target"]},
    "short": {"roles": ["input"]},
    "short_no_wise": {
        "roles": ["input"],
        "leave_out": ["WISE_3.4", "WISE_4.6", "WISE_12", "WISE_22"],
    },
    "short_no_mir": {
        "roles": ["input"],
        "leave_out": ["WISE_3.4", "WISE_4.6", "WISE_12", "WISE_22", "Spitzer_5.8", "Spitzer_8.0"],
    },
    "short_no_w4": {"roles": ["input"], "leave_out": ["WISE_22"]},
}
SCALES = ["150pc", "400pc", "1kpc", "3kpc", "18arcsec", "25arcsec", "36arcsec", "global"]


def run(names, **learning):
    config = complete(
        {
            "run": "x",
            "sed": {"fits": FITS},
            "features": {"truth": "official"},
            "learning": {"experiments": names, **learning},
        }
    )
    return config | {"scales": SCALES}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that reads one experiment file of given text."""
    (tmp_path / "experiments").mkdir()
    monkeypatch.setattr(experiments, "CONFIG_FOLDER", tmp_path)

    def read(text, **learning):
        (tmp_path / "experiments" / "mine.yaml").write_text(text)
        return read_experiments(run(["mine"], **learning))["mine"]

    return read


def test_every_experiment_that_ships_reads():
    assert "fiducial" in NAMES
    found = read_experiments(run(NAMES))
    assert list(found) == NAMES
    for name, experiment in found.items():
        assert experiment["description"].endswith("."), name
    assert found["fiducial"]["features"] == ""
    assert found["fiducial"]["selection"] == {}
    assert found["observed_fluxes"]["selection"] == {"observed": True}
    assert found["observed_fluxes"]["features"] == ""
    assert found["no_wise"]["features"] == "no_wise/"
    assert found["no_wise"]["reference"] == "Spitzer_3.6"
    assert found["no_wise"]["short"] == "short_no_wise"
    assert found["truth_full26"]["truth"] == "full26"
    assert found["w1_luminosity"]["w1"] == "luminosity"


def test_defaults_come_from_the_run(write):
    experiment = write("", regressors=["xgboost"], fold_seeds=[7], experiment_trees=0)
    assert experiment == {
        "short": "short",
        "truth": "official",
        "reference": "WISE_3.4",
        "w1": "surface_brightness",
        "dropout": False,
        "description": "",
        "regressors": ["xgboost"],
        "fold_seeds": [7],
        "settings": {},
        "training": {"max_rows": 20000},
        "keep_models": False,
        "selection": {},
        "features": "",
    }


def test_what_a_file_says_comes_first(write):
    experiment = write(
        "description: Mine.\nregressors: [extra_trees]\nfold_seeds: []\ndrop_bands: [WISE_12]\n"
        "scales: [1kpc]\nlog_scale: false\nobserved: true\ntruth: full\n",
        regressors=["xgboost"],
        fold_seeds=[7],
    )
    assert experiment["regressors"] == ["extra_trees"]
    assert experiment["fold_seeds"] == []
    assert experiment["features"] == "mine/"
    assert experiment["selection"] == {
        "drop_bands": ["WISE_12"],
        "observed": True,
        "scales": ["1kpc"],
        "log_scale": False,
    }


def test_settings_of_a_regressor_replace_those_of_the_run(write):
    of_run = {"svr": {"n_inner": 3}, "random_forest": {"parameters": {"max_samples": 0.5}}}
    experiment = write("settings: {random_forest: {n_inner: 4}}\n", settings=of_run)
    assert experiment["settings"] == {
        "svr": {"n_inner": 3},
        "random_forest": {"n_inner": 4},
        "extra_trees": {"parameters": {"n_estimators": 60}},
    }


def test_what_only_selects_uses_the_tables_of_the_run(write):
    assert write("drop_bands: [WISE_12]\nshort: short\ntruth: official\n")["features"] == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("drop: [WISE_12]", "mine.yaml has the unknown key drop: use short, truth, "),
        ("- fiducial", "mine.yaml is not a mapping"),
        ("just words", "mine.yaml is not a mapping"),
        ("drop_bands: WISE_12", "drop_bands is 'WISE_12': a list of names is needed"),
        ("drop_bands: [3.4]", r"drop_bands is \[3.4\]: a list of names is needed"),
        ("drop_bands: [WISE_13]", "mine.yaml: the band WISE_13 is not known: use GALEX_FUV"),
        ("drop_bands: [WISE_12, WISE_12]", "a band stands twice"),
        ("regressors: random_forest", "a list of names is needed"),
        ("fold_seeds: [a]", "a list of whole numbers is needed"),
        ("fold_seeds: [true]", "a list of whole numbers is needed"),
        ("settings: 3", "settings is 3: a mapping of regressors to their settings is needed"),
        ("settings: {svr: 3}", "a mapping of regressors to their settings is needed"),
        ("observed: 1", "observed is 1: true or false is needed"),
        ("log_scale: [a]", "true or false is needed"),
        ("truth: 5", "truth is 5: a text is needed"),
        (
            "truth: ful",
            "truth is 'ful': use one of full, full26, short, .*, short_no_w4, official",
        ),
        ("short: tiny", "the fit tiny is not one of full, full26, short, short_no_wise"),
        ("w1: flux", "w1 is 'flux': use surface_brightness or luminosity"),
        ("temperature: warm", "temperature is 'warm': use mean or geometric"),
        ("{temperature: geometric, truth: official}", "which the official table has not: let"),
        ("reference: W1", "the band W1 is not known"),
        ("short: short_no_wise", "does not see the reference band WISE_3.4: name another"),
        ("reference: PACS_100", "the fit short does not see the reference band PACS_100"),
        ("scales: [5kpc]", "the scale 5kpc is not of the run: use 150pc, 400pc"),
    ],
)
def test_refusals_are_one_sentence(write, text, message):
    with pytest.raises(DataError, match=message) as fault:
        write(text)
    assert "\n" not in str(fault.value)


def test_a_missing_file_names_those_that_exist():
    with pytest.raises(
        DataError,
        match="does not exist: there are angular_scales, any_bands, any_scale, ensemble, ",
    ):
        read_experiments(run(["nosuch"]))


def test_the_official_truth_belongs_to_dustpedia():
    config = run(["fiducial"])
    config["survey"]["source"] = "mock"
    with pytest.raises(DataError, match="truth is 'official': use one of full"):
        read_experiments(config)


def test_dropout_is_for_whole_galaxies_and_for_bands_that_exist(write):
    text = "description: x.\ndropout: true\n"
    with pytest.raises(DataError, match="scales: \\[global\\]"):
        write(text)
    found = write(text + "scales: [global]\nflux_errors: true\n")
    assert found["dropout"]
    assert found["features"] == "mine/"
    assert found["selection"] == {"scales": ["global"], "flux_errors": True}
    with pytest.raises(DataError, match=r"learning\.dropout\.subsets\.odd: the band WISE_99"):
        write(text + "scales: [global]\n", dropout={"subsets": {"odd": ["WISE_99"]}})
    with pytest.raises(DataError, match=r"learning\.dropout\.every: there is no subset odd"):
        write(text + "scales: [global]\n", dropout={"every": {"odd": 2}})


def test_an_experiment_may_set_its_own_rows(write):
    assert write("max_rows: 7")["training"] == {"max_rows": 7}


def test_other_experiments_than_the_fiducial_cost_less():
    forest = {"parameters": {"n_estimators": 500, "min_samples_leaf": 3}, "n_inner": 4}
    found = read_experiments(run(["fiducial", "radius"], settings={"random_forest": forest}))
    assert found["fiducial"]["settings"] == {"random_forest": forest}
    assert found["fiducial"]["training"] == {}
    assert found["fiducial"]["keep_models"]
    assert found["radius"]["settings"]["random_forest"] == {
        "parameters": {"n_estimators": 60, "min_samples_leaf": 3},
        "n_inner": 4,
    }
    assert found["radius"]["settings"]["extra_trees"] == {"parameters": {"n_estimators": 60}}
    assert found["radius"]["training"] == {"max_rows": 20000}
    assert not found["radius"]["keep_models"]
    full = read_experiments(run(["radius"], experiment_trees=0, max_rows=0))["radius"]
    assert full["settings"] == {}
    assert full["training"] == {}


def test_highlighted_galaxies_are_those_of_the_configuration(write):
    assert write("leave_out: [NGC1, highlighted]")["training"]["leave_out"] == [
        "NGC1",
        "M31",
        "M33",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("train_share: 1.5", "train_share is 1.5: a number to 1 is needed"),
        ("train_share: true", "a number to 1"),
        ("max_rows: many", "max_rows is 'many': a whole number is needed"),
        ("train_scales: [5kpc]", "the scale 5kpc is not of the run"),
        ("shared: [5kpc]", "the scale 5kpc is not of the run"),
        ("neighbours: 3", "neighbours is 3: true or false is needed"),
    ],
)
def test_mistakes_of_training_are_one_sentence(write, text, sentence):
    with pytest.raises(DataError, match=sentence):
        write(text)
