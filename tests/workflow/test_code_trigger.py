"""A change of the library reruns the stage that it touches and what follows, nothing else.

In a copy of the repository every script is replaced by one that only makes its outputs, so that
Snakemake knows a finished run after seconds. Then a library file is edited and a dry run asked.
"""

import os
import re
import subprocess
import sys

import checkout
import house
import pytest

STAND_IN = '''"""Make the outputs of the rule, empty."""
from pathlib import Path

for output in map(Path, snakemake.output):
    if {directory}:
        output.mkdir(parents=True)
    else:
        output.write_text(" ")
'''


SURVEY = "tests/workflow/survey.yaml"


def snakemake(folder, *arguments):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--configfile", SURVEY, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def planned(folder):
    """Return the rules that a dry run would run, those that only gather targets left out."""
    text = snakemake(folder, "-n")
    stats = re.search(
        r"^Job stats:\njob +count\n[- ]+\n(.*?)^total ", text, re.DOTALL | re.MULTILINE
    )
    if stats is None:
        assert "Nothing to be done" in text, text
        return set()
    jobs = {line.split()[0] for line in stats[1].splitlines()}
    return jobs & {rule.name for rule in house.script_rules()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A copy of the repository with a finished run of a simulated survey."""
    folder = tmp_path_factory.mktemp("checkout")
    checkout.copy_repository(folder)
    for rule in house.script_rules():
        script = folder / rule.path("script").relative_to(house.REPOSITORY)
        directory = "directory(" in rule.directives["output"]
        script.write_text(STAND_IN.format(directory=directory))
    assert planned(folder)
    snakemake(folder, "--cores", "8")
    return folder


@pytest.fixture
def edited(finished):
    """Return a function that appends a line to a library file; the file is restored."""
    kept = {}

    def edit(name):
        path = finished / "scripts" / name
        kept[path] = path.read_bytes(), path.stat()
        path.write_bytes(kept[path][0] + b"# edited\n")
        return planned(finished)

    yield edit
    for path, (content, stat) in kept.items():
        path.write_bytes(content)
        # Snakemake compares the time stamp of a script with that of its outputs.
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def using(*subpackages):
    """Return the rules whose scripts use one of the subpackages."""
    return {rule.name for rule in house.script_rules() if rule.subpackages & set(subpackages)}


def first_module(subpackage):
    folder = house.SCRIPTS / "dustcast" / subpackage
    return sorted(folder.glob("[a-z]*.py"))[0].relative_to(house.SCRIPTS).as_posix()


def test_finished_run_has_nothing_to_do(finished):
    assert planned(finished) == set()


def test_figures_rerun_alone(finished, edited):
    rerun = edited(first_module("figures"))
    assert rerun
    assert rerun <= using("figures")


def test_learning_reruns_models_and_what_follows(finished, edited):
    rerun = edited(first_module("learning"))
    assert {"train", "predict_folds", "evaluate"} <= rerun
    assert rerun & using("figures")
    assert "fit_sed" not in rerun


def test_sed_reruns_fits_and_what_follows(finished, edited):
    rerun = edited(first_module("sed"))
    assert {"fit_sed", "build_features", "train", "predict_folds", "evaluate"} <= rerun
    assert rerun & using("figures")
    assert not rerun & {"galaxies", "plan"}


def test_vocabulary_reruns_everything(finished, edited):
    rerun = edited("dustcast/units.py")
    assert {"galaxies", "plan", "fit_sed", "train"} <= rerun


def test_script_reruns_its_rule(finished, edited):
    rerun = edited("evaluate.py")
    assert "evaluate" in rerun
    assert "train" not in rerun


def test_other_files_rerun_nothing(finished):
    (finished / "README.md").write_text("changed")
    (finished / "scripts" / "dustcast" / "sed" / "notes.txt").write_text("x")
    (finished / "scripts" / "resume.py").write_text("# edited\n")
    assert planned(finished) == set()
