"""The demonstration from raw images to its report, which a browser shows."""

import browser
import checkout
import house
import pytest

from dustcast.tables import read_table

pytestmark = pytest.mark.science

CONFIG, RESULTS = "config/demo.yaml", "results/demo"
SCREENSHOT = house.REPOSITORY / ".cache" / "demo_report.png"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A copy of the repository with a finished demonstration and its report."""
    folder = checkout.copy_repository(tmp_path_factory.mktemp("demo"))
    checkout.snakemake(folder, "--cores", "2", config=CONFIG)
    checkout.snakemake(folder, "--report", f"{RESULTS}/report.html", config=CONFIG)
    return folder / RESULTS


def test_report_shows_every_figure(demo, tmp_path):
    messages, widths = browser.open_report(demo / "report.html", tmp_path, SCREENSHOT)
    # Snakemake's own page says that its style sheets are made in the browser.
    assert [line for line in messages if "cdn.tailwindcss.com" not in line] == []
    figures = {path.name for path in (demo / "figures").rglob("*.png")}
    assert {path.rpartition("/")[2] for path in widths} == figures
    assert min(widths.values()) > 500
    assert SCREENSHOT.stat().st_size > 50_000


def test_every_stage_is_closed(demo):
    table = read_table(demo / "tables/closure.csv")
    lost = (table["stage"] == "convolve") & (table["quantity"] == "flux")
    for scale, limit in (("18arcsec", 0.01), ("3kpc", 0.02)):
        # The PSFs of the images end where the kernels of the narrower target do.
        at = lost & (table["scale"] == scale)
        assert at.sum() >= 10
        assert abs(table["bias"][at]).max() < limit, scale
