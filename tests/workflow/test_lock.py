"""requirements.lock: complete, hashed, for all Pythons, without GPU libraries."""

import re
import tomllib

import house
import pytest
from packaging.requirements import Requirement

TEXT = (house.REPOSITORY / "requirements.lock").read_text()
PROJECT = tomllib.loads((house.REPOSITORY / "pyproject.toml").read_text())
PYTHONS = ("3.11", "3.12", "3.13")


def direct():
    groups = PROJECT["dependency-groups"]
    lines = [*PROJECT["project"]["dependencies"], *groups["dev"], *groups["slurm"]]
    return [Requirement(line) for line in lines]


def test_no_gpu_libraries():
    assert not re.search(r"nvidia|cuda|nccl|cupy", TEXT, re.IGNORECASE)
    assert not re.search(r"^xgboost==", TEXT, re.MULTILINE)


def test_every_package_has_hashes():
    entries = re.split(r"\n(?=[A-Za-z0-9])", TEXT)[1:]
    assert len(entries) > 50
    for entry in entries:
        assert "--hash=sha256:" in entry, entry.splitlines()[0]
        assert "==" in entry.splitlines()[0]


def test_no_index_or_place_of_one_machine():
    assert "index-url" not in TEXT
    assert "find-links" not in TEXT
    assert "file:" not in TEXT
    assert "@" not in TEXT


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("requirement", direct(), ids=lambda requirement: requirement.name)
def test_direct_dependencies_are_pinned(python, requirement):
    pins = house.lock(python)
    name = house.normalise(requirement.name)
    assert name in pins, "run make lock"
    assert requirement.specifier.contains(pins[name]), "run make lock"


def test_installed_versions_are_the_locks():
    import sys
    from importlib.metadata import version

    pins = house.lock(f"{sys.version_info[0]}.{sys.version_info[1]}")
    for requirement in direct():
        assert version(requirement.name) == pins[house.normalise(requirement.name)]
