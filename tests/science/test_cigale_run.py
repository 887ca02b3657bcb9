"""The command line on CIGALE's own input of 715 galaxies, against CIGALE's own results.

    pytest -m science -s tests/science/test_cigale_run.py

prints the table of docs/cigale.md. CIGALE 0.12 made the results with other stellar templates.
"""

import gzip

import numpy as np
import pytest

from dustcast.sed import cli
from dustcast.sed.cigale import read_results

pytestmark = pytest.mark.science

# Largest median difference and half range from 16 to 84 percent, in dex.
LIMITS = {
    "bayes.sfh.sfr": (0.01, 0.04),
    "best.dust.luminosity": (0.01, 0.02),
    "best.dust.mass": (0.01, 0.02),
    "best.stellar.lum": (0.01, 0.02),
    "best.stellar.m_star": (0.05, 0.07),
    "bayes.FUV": (0.01, 0.02),
    "bayes.WISE1": (0.01, 0.01),
    "bayes.PSW_HIPE": (0.01, 0.01),
    "best.chi_square": (0.03, 0.05),
}


def test_results_are_those_of_cigale(data, tmp_path):
    arguments = ["--config", str(data / "cigale/full/pcigale.ini"), "--data", str(data)]
    output = ["--output", str(tmp_path / "out"), "--threads", "2"]
    assert cli.main(["fit", *arguments, *output]) == 0
    packed = (data / "cigale/full/results.txt.gz").read_bytes()
    (tmp_path / "cigale.txt").write_bytes(gzip.decompress(packed))
    own = read_results(tmp_path / "out/results.fits")
    theirs = read_results(tmp_path / "cigale.txt")
    assert list(own["id"]) == list(theirs["id"])
    assert len(list((tmp_path / "out").glob("*_best_model.fits"))) == 715
    for name, (largest, widest) in LIMITS.items():
        good = (own[name] > 0) & (theirs[name] > 0)
        offset = np.log10(own[name][good] / theirs[name][good])
        low, high = np.percentile(offset, [16, 84])
        median, scatter = np.median(offset), (high - low) / 2
        print(f"| `{name}` | {good.sum()} | {median:+.3f} | {scatter:.3f} |")
        assert abs(median) < largest
        assert scatter < widest
        assert good.sum() >= 712
