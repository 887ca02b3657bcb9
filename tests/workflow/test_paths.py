"""Names and paths of users: none reaches a shell, none leaves its folder."""

import ast

import checkout
import house
import numpy as np
import pytest
import yaml
from astropy.io import fits

from dustcast import config, sample
from dustcast.sample import GALAXY_COLUMNS
from dustcast.tables import DataError, write_rows

# A shell that read this would make files, and break where a quote does not end.
ODD = 'it\'s $(touch made) `touch made`; touch made; "größe" 星 & x'
NAMES = ["../x", "..", "a/b", "/x", "a b", "it's", 'x"y', "Größe", "$(touch made)", "a;b", "a\nb"]


def test_no_rule_is_a_shell_command():
    for rule in house.all_rules():
        assert not {"shell", "run"} & set(rule.directives), rule.name


def test_no_script_calls_a_shell_or_reads_a_pickle():
    for file in house.SCRIPTS.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                where = f"{file.name}, line {node.lineno}"
                assert name not in ("os.system", "os.popen", "eval", "exec"), where
                assert "pickle.load" not in name, where
                assert not name.endswith("extractall"), where
                assert not name.startswith("joblib."), where
                for keyword in node.keywords:
                    allowed = keyword.arg not in ("shell", "allow_pickle")
                    assert allowed or ast.unparse(keyword.value) == "False", where
                if name.startswith("subprocess.") and node.args:
                    # A list, or a name for one: never a text that a shell takes apart.
                    assert not isinstance(node.args[0], ast.Constant | ast.JoinedStr), where


@pytest.mark.parametrize("name", NAMES)
def test_name_of_an_own_galaxy_cannot_leave_its_folder(name):
    survey = {"source": "local", "images": {name: {"SDSS_r": "r.fits"}}}

    def read():
        return sample.read_galaxies(config.complete({"run": "own", "survey": survey}))

    with pytest.raises(DataError):
        read()


@pytest.mark.parametrize("name", [name for name in NAMES if "\n" not in name])
def test_name_in_a_table_cannot_leave_its_folder(name, tmp_path):
    row = dict.fromkeys(GALAXY_COLUMNS, 1) | {"galaxy": name}
    write_rows(tmp_path / "galaxies.csv", [row], GALAXY_COLUMNS)
    with pytest.raises(DataError, match="cannot name a galaxy"):
        sample.rows_by_hand(tmp_path / "galaxies.csv")


@pytest.mark.parametrize("run", ["../x", "a/b", "a b", "it's", "größe", "$(touch made)", ".."])
def test_name_of_a_run_cannot_leave_results(run):
    with pytest.raises(DataError, match="run is"):
        config.complete({"run": run})


@pytest.mark.parametrize("path", ["{galaxy}", "a{b", "}"])
def test_path_with_braces_is_refused(path):
    with pytest.raises(DataError, match=r"data_dir is .* braces are Snakemake's wildcards"):
        config.complete({"run": "own", "data_dir": path})


def test_odd_paths_go_through_the_workflow(tmp_path):
    # The checkout, the images, the mirror and the table all have a name that a shell would act on.
    folder = checkout.copy_repository(tmp_path / "my 'checkout' $(touch made)")
    odd = folder / ODD
    odd.mkdir()
    image = np.ones((90, 90), "f4")
    header = fits.Header({"BUNIT": "MJy/sr", "CRPIX1": 45.5, "CRPIX2": 45.5})
    header.update({"CTYPE1": "RA---TAN", "CRVAL1": 150.0, "CDELT1": -1 / 3600})
    header.update({"CTYPE2": "DEC--TAN", "CRVAL2": 20.0, "CDELT2": 1 / 3600})
    fits.PrimaryHDU(image, header).writeto(odd / "r é.fits")
    row = {"galaxy": "mine", "ra": 150, "dec": 20, "distance": 10, "redshift": 0}
    row |= {"d25_arcsec": 60, "axis_ratio": 1, "pa": 0, "source": "x", "ebv": 0, "ebv_err": 0.01}
    line = ",".join(str(row.get(column, "")) for column in GALAXY_COLUMNS)
    (odd / "galaxies.csv").write_text(f"{','.join(GALAXY_COLUMNS)}\n{line}\n")
    settings = {
        "run": "own",
        "data_dir": f"{ODD}/data",
        "mirror": ODD,
        "survey": {"source": "local", "images": {"mine": {"SDSS_r": f"{ODD}/r é.fits"}}},
        "sample": {"by_hand": f"{ODD}/galaxies.csv"},
    }
    (folder / "own.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    raw = "results/own/images/mine/raw/SDSS_r.fits"
    plan = "results/own/sample/plan.csv"
    checkout.snakemake(folder, raw, plan, "--cores", "1", config="own.yaml")
    np.testing.assert_array_equal(fits.getdata(folder / raw), image)
    assert not list(tmp_path.rglob("made"))
