"""The reader of rules and imports, on small examples: test_envs.py relies on it."""

from pathlib import Path

import house
import pytest

TEXT = """
FILES = ["a"]

rule all:
    input:
        "x",


rule fit_sed:  # fits
    message: "Fitting {wildcards.galaxy}: {wildcards.fit}"
    input:
        table="a.parquet",  # conda: "../envs/no.yaml"
        rule_like=lambda w: {"rule x:": 1},
    output:
        "b.parquet",
    params:
        grid=1,
        code=code_hash("sed", "mock"),
    conda: "../envs/sed.yaml"
    script:
        "../scripts/fit_sed.py"


if True:
    use rule fit_sed as fit_global with:
        output:
            "c.parquet"

    rule inner:
        output: "d"
        shell: "touch {output}"

def helper():
    return 1
"""


def test_rules_are_read():
    rules = {rule.name: rule for rule in house.parse_rules(TEXT, "/r/rules/sed.smk")}
    assert list(rules) == ["all", "fit_sed", "fit_global", "inner"]
    fit = rules["fit_sed"]
    assert list(fit.directives) == [
        "message", "input", "output", "params", "conda", "script"
    ]  # fmt: skip
    assert fit.path("script") == Path("/r/scripts/fit_sed.py")
    assert fit.path("conda") == Path("/r/envs/sed.yaml")
    assert fit.subpackages == {"sed", "mock"}
    copy = rules["fit_global"]
    assert copy.path("script") == fit.path("script")
    assert copy.directives["output"].strip() == '"c.parquet"'
    assert rules["inner"].directives == {"output": '"d"', "shell": '"touch {output}"'}
    assert rules["inner"].subpackages is None


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_imports_are_followed(tmp_path):
    write(
        tmp_path,
        {
            "job.py": "from dustcast.sed import grid\nimport os.path\n",
            "dustcast/__init__.py": "",
            "dustcast/units.py": "def f():\n    import scipy.constants\n",
            "dustcast/sed/__init__.py": "",
            "dustcast/sed/grid.py": (
                "from typing import TYPE_CHECKING\n"
                "from ..units import f\n"
                "from . import kernels as k, VALUE\n"
                "if TYPE_CHECKING:\n    import pandas\nelse:\n    import numpy as np\n"
            ),
            "dustcast/sed/kernels.py": "import importlib\nimportlib.import_module('numba')\n",
            "dustcast/figures/style.py": "import matplotlib\n",
        },
    )
    own, foreign = house.follow(tmp_path / "job.py", tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in own} == {
        "job.py",
        "dustcast/__init__.py",
        "dustcast/units.py",
        "dustcast/sed/__init__.py",
        "dustcast/sed/grid.py",
        "dustcast/sed/kernels.py",
    }
    assert set(foreign) == {"scipy", "numpy", "numba"}


def test_computed_imports_are_refused(tmp_path):
    write(tmp_path, {"job.py": "import importlib\nimportlib.import_module('a' + 'b')\n"})
    with pytest.raises(AssertionError, match="cannot be followed"):
        house.follow(tmp_path / "job.py", tmp_path)


def test_environment_files_are_read(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(
        "channels: [conda-forge, nodefaults]\n"
        "dependencies:\n  - numpy=2.4.6\n  - pip\n"
        "  - pip:\n    - astro-sedpy==0.4.1\n    - pcigale @ git+https://x/y.git@v1\n"
    )
    found = house.environment(file)
    assert found.conda == {"numpy": "2.4.6", "pip": None}
    assert found.pip == {"astro-sedpy": "0.4.1", "pcigale": "git+https://x/y.git@v1"}


def test_lock_follows_the_markers():
    assert house.lock("3.11")["numpy"] != ""
    assert set(house.lock("3.13")) >= {"numpy", "snakemake"}
