"""The template of a galaxy's configuration, filled in as a user would."""

import re
import runpy

import pytest
import yaml

from dustcast.config import REPOSITORY, complete
from dustcast.sample import plan, read_galaxies

TEMPLATE = runpy.run_path(str(REPOSITORY / "scripts/new_galaxy.py"))["template"]


@pytest.mark.parametrize("name", ["NGC628", "2MASX+J1.5"])
def test_a_filled_template_is_a_configuration(name):
    text = TEMPLATE(name, "x.yaml")
    # What is to be filled in does not pass for a value.
    assert text.count("<degrees>") == 2
    text = text.replace("<degrees>", "10").replace("<Mpc>", "9.8").replace("<arcsec>", "600")
    text = re.sub(r"# (WISE_12|SPIRE_250): <path>", r"\1: a", text)
    config = complete(yaml.safe_load(text))
    assert config["survey"]["images"] == {name: {"WISE_12": "a.fits", "SPIRE_250": "a.fits"}}
    assert config["scales"] == ["6.5arcsec"]
    (galaxy,) = read_galaxies(config)
    assert galaxy.d25_arcsec == 600
    assert plan(config, [galaxy])[0]["bands_short"].split(";")[-1] == "Spitzer_8.0"


def test_every_band_with_images_is_offered():
    text = TEMPLATE("a", "x.yaml")
    for band in ("GALEX_FUV", "Spitzer_8.0", "SPIRE_500"):
        assert f"# {band}: <path>.fits" in text
    assert "Planck" not in text
