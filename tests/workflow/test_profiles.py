import subprocess
import sys

import house
import pytest
import yaml

PROFILES = {name: house.REPOSITORY / "profiles" / name for name in ("default", "slurm")}
SHARED = ("rerun-incomplete", "scheduler", "keep-going")


def load(name):
    return yaml.safe_load((PROFILES[name] / "config.yaml").read_text())


def test_shared_keys_are_equal():
    default, slurm = load("default"), load("slurm")
    for key in SHARED:
        assert default[key] == slurm[key]
    # Whatever stands in default must be thought of for slurm, which replaces it.
    assert set(default) == set(SHARED)
    assert default["rerun-incomplete"] is True


@pytest.mark.parametrize("name", PROFILES)
def test_every_line_is_commented(name):
    lines = (PROFILES[name] / "config.yaml").read_text().splitlines()
    for before, line in zip(["", *lines], lines):
        is_shared = line.split(":")[0] in SHARED
        if line and not line.lstrip().startswith("#") and not line.endswith("default-resources:"):
            assert before.lstrip().startswith("#"), line
        assert not is_shared or before.startswith("#")


@pytest.mark.parametrize("name", PROFILES)
def test_snakemake_accepts_the_profile(name, tmp_path):
    (tmp_path / "Snakefile").write_text('rule all:\n    output: "x"\n    shell: "touch {output}"\n')
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--workflow-profile", PROFILES[name]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    if name == "slurm":
        assert "mem_mb=2000" in done.stdout + done.stderr
        assert "runtime=60" in done.stdout + done.stderr
