"""The tiny run under ``--sdm conda``: each job in an environment of its own, nothing borrowed.

conda itself is a stand-in (conda_stand_in.py).
"""

import os
import sys

import checkout
import conda_stand_in
import pytest

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="the pins of envs/ are those of Python 3.11"
)


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """A finished run, and the folder of the stand-in."""
    folder = checkout.copy_compiled(tmp_path_factory.mktemp("conda") / "run", tiny)
    conda = tmp_path_factory.mktemp("conda")
    path = f"{conda_stand_in.install(conda)}{os.pathsep}{os.environ['PATH']}"
    variables = {"PATH": path, "DUSTCAST_STRICT_ENV": "1"}
    arguments = ("--cores", "2", "--sdm", "conda", "--conda-prefix", str(conda / "envs"))
    checkout.snakemake(folder, *arguments, config=checkout.TINY, variables=variables)
    return folder, conda


def test_tables_are_those_of_one_environment(run, tiny):
    folder, _ = run
    assert checkout.differences(folder, tiny) == []


def test_each_environment_is_its_own(run):
    _, conda = run
    made = [line for line in (conda / "calls").read_text().splitlines() if "env create" in line]
    assert len(made) >= 4
    environments = [path for path in (conda / "envs").iterdir() if (path / "pyvenv.cfg").exists()]
    assert len(environments) == len(made)
    for environment in environments:
        assert "include-system-site-packages = false" in (environment / "pyvenv.cfg").read_text()
        assert not list(environment.glob("lib/python*/site-packages/snakemake"))


def test_a_package_that_an_environment_lacks_is_not_borrowed(run, tiny, tmp_path):
    # The driver has scipy; the environment of the stage sample has not.
    _, conda = run
    folder = checkout.copy_compiled(tmp_path / "run", tiny)
    script = folder / "scripts/galaxies.py"
    script.write_text(script.read_text().replace("with run(", "import scipy\n\n    with run(", 1))
    path = f"{conda / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = checkout.snakemake(
        folder,
        "results/tiny/sample/galaxies.csv",
        *("--cores", "1", "--sdm", "conda", "--conda-prefix", str(conda / "envs")),
        config=checkout.TINY,
        check=False,
        variables={"PATH": path, "DUSTCAST_STRICT_ENV": "1"},
    )
    assert done.returncode != 0
    assert "No module named 'scipy'" in done.stdout
