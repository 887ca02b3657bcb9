"""A simulated survey of images from its galaxies to the closure table, on one core and on two."""

import checkout
import numpy as np
import pytest
from astropy.io import fits

from dustcast.tables import read_table

CONFIG = "tests/workflow/sky.yaml"
RESULTS = "results/sky"
# Two whole runs: some minutes of computing.
pytestmark = pytest.mark.science


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two copies of the repository with the same run: one core, two cores."""
    folders = []
    for cores in ("1", "2"):
        folder = checkout.copy_repository(tmp_path_factory.mktemp(f"cores{cores}"))
        checkout.snakemake(folder, f"{RESULTS}/tables/closure.csv", "--cores", cores, config=CONFIG)
        folders.append(folder / RESULTS)
    return folders


def test_every_stage_is_closed(runs):
    table = read_table(runs[0] / "tables/closure.csv")
    assert set(table["stage"]) == {
        "stars", "sky", "convolve", "fit_full", "fit_short", "predict_fit", "predict_truth"
    }  # fmt: skip
    # Nothing but the kernels' limits is lost in convolution and resampling.
    lost = table["stage"] == "convolve"
    assert lost.sum() >= 5
    assert np.abs(table["bias"][lost]).max() < 0.01


def test_every_pixel_has_a_truth(runs):
    truth = set(read_table(runs[0] / "mock/truth/18arcsec.parquet")["id"])
    for path in (runs[0] / "photometry").rglob("18arcsec.parquet"):
        table = read_table(path)
        assert table.n_rows >= 10
        assert set(table["id"]) <= truth


def test_same_bytes_on_one_core_and_on_two(runs):
    checkout.assert_same_tables(*runs)
    for path in runs[0].glob("images/*/raw/*.fits"):
        one, two = (fits.getdata(folder / path.relative_to(runs[0])) for folder in runs)
        np.testing.assert_array_equal(one, two)
