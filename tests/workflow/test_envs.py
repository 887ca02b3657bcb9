"""Every rule's environment holds what its script imports, no less and no more."""

import re

import house
import pytest

ENVIRONMENTS = sorted((house.REPOSITORY / "envs").glob("*.yaml"))

# Packages that stand in an environment without being imported.
NOT_IMPORTED = {
    "python": "runs the scripts",
    "pip": "installs what conda-forge lacks",
    "git": "fetches the source of pcigale",
    "pcigale": "is run as a command",
}

# Pins that differ from the lock's on purpose.
OTHER_PINS = {
    ("cigale.yaml", "numpy"): "the release of pcigale predates numpy 2",
    ("cigale.yaml", "astropy"): "the last before numpy 2 became its least",
}


def scripts_of(file):
    return [rule.path("script") for rule in house.script_rules() if rule.path("conda") == file]


def packages(file):
    """Return the PyPI names that an environment holds, with their pins."""
    by_conda = {row["conda"]: row["pypi"] for row in house.names().values() if row["conda"]}
    found = house.environment(file)
    conda = {by_conda.get(name, name): pin for name, pin in found.conda.items()}
    return {house.normalise(name): pin for name, pin in {**conda, **found.pip}.items()}


@pytest.mark.parametrize("file", ENVIRONMENTS, ids=lambda file: file.name)
def test_environment_is_well_formed(file):
    found = house.environment(file)
    assert found.channels == ["conda-forge", "nodefaults"]
    assert found.conda["python"] == "3.11"
    assert ("pip" in found.conda) == bool(found.pip)
    known = {row["conda"] for row in house.names().values()} | set(NOT_IMPORTED)
    assert set(found.conda) <= known, "write the package's names into envs/names.csv"
    only_pip = {row["pypi"] for row in house.names().values() if not row["conda"]}
    assert set(found.pip) <= only_pip, "this package has a conda name in envs/names.csv"


@pytest.mark.parametrize("file", ENVIRONMENTS, ids=lambda file: file.name)
def test_pins_are_the_locks(file):
    for name, pin in packages(file).items():
        if name in NOT_IMPORTED or (file.name, name) in OTHER_PINS:
            continue
        if name == "pcigale":
            assert re.fullmatch(r"git\+https://gitlab\.lam\.fr/cigale/cigale\.git@v20\d\d\.\d", pin)
        else:
            assert pin == house.lock("3.11")[name], f"{file.name}: {name}"


def test_names_are_true():
    for name, row in house.names().items():
        assert name.isidentifier()
        assert row["pypi"] == house.normalise(row["pypi"])
        if name != "pcigale":
            assert row["pypi"] in house.lock(), row


def test_names_of_installed_packages():
    from importlib.metadata import packages_distributions

    installed = packages_distributions()
    for name, row in house.names().items():
        if name in installed:
            assert row["pypi"] in {house.normalise(found) for found in installed[name]}


def test_every_environment_is_used():
    used = {rule.path("conda").name for rule in house.script_rules()}
    assert used == {file.name for file in ENVIRONMENTS}


@pytest.mark.parametrize("file", ENVIRONMENTS, ids=lambda file: file.name)
def test_environment_covers_its_scripts(file):
    held = packages(file)
    for script in scripts_of(file):
        _, foreign = house.follow(script)
        for name, importer in foreign.items():
            where = importer.relative_to(house.REPOSITORY)
            assert name in house.names(), f"{where} imports {name}: write it into envs/names.csv"
            package = house.names()[name]["pypi"]
            assert package in held, (
                f"envs/{file.name} lacks {package}={house.lock().get(package)}: "
                f"{script.name} imports it through {where}"
            )


@pytest.mark.parametrize("file", ENVIRONMENTS, ids=lambda file: file.name)
def test_environment_holds_nothing_idle(file):
    imported = {name for script in scripts_of(file) for name in house.follow(script)[1]}
    needed = {house.names()[name]["pypi"] for name in imported if name in house.names()}
    assert set(packages(file)) - set(NOT_IMPORTED) - needed == set()


# ---------------------------------------------------------------------------------------------
# What every rule must say


def rules_with_output():
    return [rule for rule in house.all_rules() if "output" in rule.directives]


def test_there_are_rules():
    assert len(house.script_rules()) > 5


def test_rules_are_contracts():
    lacking = {}
    for rule in rules_with_output():
        missing = {"message", "log", "benchmark", "conda", "script"} - set(rule.directives)
        if rule.subpackages is None:
            missing.add("params: code=code_hash(...)")
        if missing:
            lacking[rule.name] = missing
    assert not lacking


def test_script_has_the_name_of_its_rule():
    for rule in house.script_rules():
        assert rule.path("script").is_file(), rule.name
    named = {rule.path("script").stem for rule in house.script_rules()}
    # resume starts Snakemake, new_galaxy writes what it reads: neither is started by it.
    commands = {"resume", "new_galaxy"}
    assert {file.stem for file in house.SCRIPTS.glob("*.py")} - commands == named


@pytest.mark.parametrize("rule", house.script_rules(), ids=lambda rule: rule.name)
def test_code_hash_names_what_the_script_uses(rule):
    own, _ = house.follow(rule.path("script"))
    assert rule.subpackages == {house.subpackage(file) for file in own} - {None}


# ---------------------------------------------------------------------------------------------
# One direction


def test_stages_import_themselves_and_the_vocabulary_only():
    # A mock galaxy needs model spectra, and its truth goes through the code of the images.
    allowed = {"mock": {"mock", "sed", "imaging"}}
    for file in (house.SCRIPTS / "dustcast").rglob("*.py"):
        stage = house.subpackage(file)
        reached = {house.subpackage(other) for other in house.follow(file)[0]} - {None}
        assert reached <= allowed.get(stage, {stage} - {None}), file.name


def test_vocabulary_imports_nothing_heavy():
    import subprocess
    import sys

    modules = [f"dustcast.{f.stem}" for f in (house.SCRIPTS / "dustcast").glob("[a-z]*.py")]
    code = (
        f"import sys; sys.path.insert(0, {str(house.SCRIPTS)!r})\n"
        f"import {', '.join(modules)}\n"
        "heavy = {'numpy', 'scipy', 'astropy', 'pyarrow', 'numba', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_scripts_do_not_import_from_the_future():
    # Snakemake puts a preamble in front of a script, and such an import must come first.
    for file in house.SCRIPTS.glob("*.py"):
        if file.stem != "resume":
            assert "__future__" not in house.direct_imports(file), file.name
