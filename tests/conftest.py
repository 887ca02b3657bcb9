"""Fixtures that several folders of tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data():
    """Return the folder of real data; skip the test where there is none."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("DUSTCAST_DATA") or root.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set DUSTCAST_DATA to the folder of test data")
    return folder
