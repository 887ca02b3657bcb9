"""Whole runs: every stage on something small, what a second run does, kills, faulty files."""

import csv
from pathlib import Path

import browser
import checkout
import numpy as np
import pytest
import yaml
from checkout import TINY

from dustcast.tables import read_table

REAL = "tests/workflow/real.yaml"
RESULTS = "results/tiny"


def rows(path):
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_metrics_have_the_agreed_columns(tiny):
    metrics = rows(tiny / RESULTS / "metrics/fiducial.csv")
    assert list(metrics[0]) == [
        "experiment",
        "regressor",
        "target",
        "scale",
        "n_galaxies",
        "n_samples",
        *(name + end for name in ("rmse", "r2", "me", "chi2") for end in ("", "_err")),
    ]
    assert [row["target"] for row in metrics] == ["sLd", "sMd", "Td"]
    assert all(row["n_galaxies"] == "16" for row in metrics)
    assert all(float(row["rmse"]) > 0 and float(row["chi2"]) > 0 for row in metrics)


def test_each_galaxy_is_predicted_once_by_its_own_fold(tiny):
    predictions = read_table(tiny / RESULTS / "predictions/fiducial.parquet")
    fold = {row["galaxy"]: int(row["fold"]) for row in rows(tiny / RESULTS / "folds.csv")}
    for target in ("sLd", "sMd", "Td"):
        part = predictions.rows(predictions["target"] == target)
        assert sorted(part["galaxy"]) == sorted(fold)
        assert [fold[name] for name in part["galaxy"]] == part["fold"].tolist()
    assert np.all(np.isfinite(predictions["prediction"]))
    assert np.all(predictions["sigma"] > 0)


def test_metrics_are_those_of_the_predictions(tiny):
    predictions = read_table(tiny / RESULTS / "predictions/fiducial.parquet")
    for row in rows(tiny / RESULTS / "metrics/fiducial.csv"):
        part = predictions.rows(predictions["target"] == row["target"])
        residual = part["prediction"] - part["truth"]
        assert float(row["rmse"]) == pytest.approx(np.sqrt(np.mean(residual**2)), rel=1e-12)
        assert float(row["chi2"]) == pytest.approx(
            np.mean((residual / part["sigma"]) ** 2), rel=1e-12
        )


def test_figures_and_logs_are_there(tiny):
    for kind in ("predicted_vs_true", "calibration"):
        for suffix in ("png", "pdf"):
            path = tiny / RESULTS / f"figures/{kind}/fiducial_random_forest_global.{suffix}"
            assert path.stat().st_size > 10_000
    assert (tiny / RESULTS / "logs/fit_sed/global_full.log").read_text().count("16 of 16") == 1
    assert not list((tiny / RESULTS).rglob("*.tmp*"))
    assert not list((tiny / RESULTS / "running").iterdir())


def test_report_is_made_and_shown(tiny, tmp_path):
    report = tiny / "report.html"
    checkout.snakemake(tiny, "--report", "report.html", config=TINY)
    assert "predicted against true" in report.read_text(encoding="utf-8")
    messages, widths = browser.open_report(report, tmp_path, tmp_path / "page.png")
    # Snakemake's own page says that its style sheets are made in the browser.
    assert [line for line in messages if "cdn.tailwindcss.com" not in line] == []
    assert len(widths) >= 2
    assert min(widths.values()) > 500


def test_second_run_has_nothing_to_do(tiny):
    assert "Nothing to be done" in checkout.snakemake(tiny, "-n", config=TINY).stdout


@pytest.fixture(scope="module")
def real(tmp_path_factory, data):
    """A copy of the repository with a finished run on real galaxies."""
    folder = checkout.copy_repository(tmp_path_factory.mktemp("real"))
    mirror = ("--config", f"mirror={data}")
    checkout.snakemake(folder, "catalogues", "--cores", "2", *mirror, config=REAL)
    checkout.snakemake(folder, "--cores", "2", *mirror, config=REAL)
    return folder


def test_real_galaxies_agree_with_the_official_results(real):
    parity = {
        (row["quantity"], row["subset"]): row
        for row in rows(real / "results/real/tables/parity_full.csv")
    }
    # The small grid is coarse; the paper's grid is held to the official table in make test-science.
    assert int(parity["log_Ldust", "all"]["n"]) >= 10
    assert float(parity["log_Ldust", "all"]["rms"]) < 0.1
    assert float(parity["log_Mstar", "all"]["rms"]) < 0.2


def test_what_is_left_out_is_listed(real):
    listed = rows(real / "results/real/sample/exclusions.csv")
    assert list(listed[0]) == ["galaxy", "band", "scale", "stage", "reason"]
    # The photometry has 715 galaxies, the run names a few.
    assert any(row["reason"] == "not in the catalogue of the run" for row in listed)


# --- What a user types wrong ---------------------------------------------------------------------


def dry_run(folder, content):
    """Return what a dry run says of a configuration."""
    path = folder / "wrong.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    done = checkout.snakemake(folder, "-n", config="wrong.yaml", check=False)
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return checkout.copy_repository(tmp_path_factory.mktemp("clone"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"sed": {"grit": "small"}}, "sed has the unknown key grit: did you mean grid?"),
        ({"sed": {"grid": "none"}}, "none.yaml does not exist: there are demo, dustpedia, small"),
        ({"learning": {"experiments": ["nowise"]}}, "nowise.yaml does not exist"),
        ({"bands": {"leave_out": ["W1"]}}, "bands.leave_out: the band W1 is not known"),
        ({"sample": {"galaxies": ["MOCK999"]}}, "names MOCK999, which is not in the catalogue"),
        ({"run": "My Run"}, "run is 'My Run': it must match"),
        ({"scales": ["18"]}, "scales.0 is '18'"),
        ({"learning": {"regressors": ["forest"]}}, "forest"),
    ],
)
def test_mistakes_end_in_one_sentence_before_any_job(clone, change, sentence):
    content = yaml.safe_load(Path(clone / TINY).read_text(encoding="utf-8"))
    for key, value in change.items():
        content[key] = {**content[key], **value} if isinstance(content.get(key), dict) else value
    assert sentence in dry_run(clone, content)


def test_missing_catalogues_leave_two_targets(clone):
    config = clone / "no_catalogue.yaml"
    config.write_text("run: none\nmirror: /nonexistent\n", encoding="utf-8")
    done = checkout.snakemake(clone, "-n", config="no_catalogue.yaml")
    assert "so only the targets `catalogues` and `download` exist" in done.stdout
    assert "download_file" in done.stdout
    assert "fit_sed" not in done.stdout
    missing = checkout.snakemake(clone, "fig1", "-n", config="no_catalogue.yaml", check=False)
    assert missing.returncode != 0
