"""Fixtures of the tests that run the workflow."""

import checkout
import pytest


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A copy of the repository with a finished run of tiny.yaml; tests must leave it whole."""
    folder = checkout.copy_repository(tmp_path_factory.mktemp("tiny"))
    checkout.snakemake(folder, "--cores", "2", config=checkout.TINY)
    return folder
