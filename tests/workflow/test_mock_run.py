"""A simulated survey from its galaxies to the closure table, on one core and on two."""

import checkout
import numpy as np
import pytest

from dustcast.tables import read_table

CONFIG = "tests/workflow/mini.yaml"
RESULTS = "results/mini"
# Two whole runs: three minutes of computing.
pytestmark = pytest.mark.science

TARGETS = [f"{RESULTS}/tables/closure.csv", f"{RESULTS}/predictions/at_6.7arcsec.parquet"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two copies of the repository with the same run: one core, two cores."""
    folders = []
    for cores in ("1", "2"):
        folder = checkout.copy_repository(tmp_path_factory.mktemp(f"cores{cores}"))
        checkout.snakemake(folder, *TARGETS, "--cores", cores, config=CONFIG)
        folders.append(folder / RESULTS)
    return folders


def test_every_scale_and_stage_is_closed(runs):
    table = read_table(runs[0] / "tables/closure.csv")
    stages = set(zip(table["stage"], table["scale"]))
    assert stages == {
        (stage, scale)
        for stage in ("fit_true", "fit_full", "fit_short", "predict_fit", "predict_truth")
        for scale in ("18arcsec", "global")
    }
    whole = (table["quantity"] == "sMd") & (table["stage"] == "fit_full")
    assert dict(zip(table["scale"][whole], table["n"][whole])) == {"18arcsec": 48, "global": 8}


def test_one_model_learns_all_scales(runs):
    features = read_table(runs[0] / "features/18arcsec.parquet")
    assert len(set(features["log_scale"])) == 8
    predictions = read_table(runs[0] / "predictions/fiducial.parquet")
    assert set(predictions["scale"]) == {"18arcsec", "global"}
    # A galaxy's pixels and its whole share a fold.
    fold = {}
    for name, number in zip(predictions["galaxy"], predictions["fold"]):
        assert fold.setdefault(name, number) == number


def test_pixels_finer_than_the_far_infrared_are_predicted_and_not_learned_from(runs):
    fine = read_table(runs[0] / "predictions/at_6.7arcsec.parquet")
    assert set(fine["galaxy"]) == {"MOCK007", "MOCK008"}
    assert np.isnan(fine["truth"]).all()
    assert np.isfinite(fine["prediction"]).all()
    folds = read_table(runs[0] / "folds.csv")
    fold = dict(zip(folds["galaxy"], folds["fold"]))
    assert all(fold[name] == number for name, number in zip(fine["galaxy"], fine["fold"]))


def test_tables_are_the_same_on_one_core_and_on_two(runs):
    checkout.assert_same_tables(*runs)
