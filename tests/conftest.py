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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Keep a file's tests, and all that share the finished run, in one process of xdist.

    What runs the workflow comes first: it takes longest.
    """

    def order(item):
        workflow = item.path.parent.name == "workflow"
        return not (workflow and "tiny" in item.fixturenames), not workflow

    for item in items:
        item.add_marker(pytest.mark.xdist_group(str(item.path) if order(item)[0] else "tiny"))
    items.sort(key=order)
