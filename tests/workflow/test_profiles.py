import re
import subprocess
import sys

import house
import pytest
import yaml

PROFILES = {name: house.REPOSITORY / "profiles" / name for name in ("default", "slurm")}
SHARED = ("rerun-incomplete", "scheduler", "keep-going")


# Functions of rules/common.smk whose requests grow with the attempt.
GROWING = ("growing(", "fit_minutes", "clean_memory", "star_memory")


def load(name):
    return yaml.safe_load((PROFILES[name] / "config.yaml").read_text())


def test_shared_keys_are_equal():
    default, slurm = load("default"), load("slurm")
    for key in SHARED:
        assert default[key] == slurm[key]
    # Limits too, to which slurm adds one of its own.
    assert default["resources"].items() < slurm["resources"].items()
    # Whatever stands in default must be thought of for slurm, which replaces it.
    assert set(default) == {*SHARED, "resources"}
    assert default["rerun-incomplete"] is True


@pytest.mark.parametrize("name", PROFILES)
def test_every_line_is_commented(name):
    lines = (PROFILES[name] / "config.yaml").read_text().splitlines()
    for before, line in zip(["", *lines], lines):
        is_shared = line.split(":")[0] in SHARED
        if line and not line.lstrip().startswith("#"):
            assert before.lstrip().startswith("#"), line
        assert not is_shared or before.startswith("#")


def test_groups_name_rules_and_run_one_job_at_a_time():
    slurm = load("slurm")
    assert set(slurm["groups"]) <= {rule.name for rule in house.all_rules()}
    # Else a group would request the sum of what can run at once.
    assert slurm["default-resources"]["one_at_a_time"] == 1
    assert slurm["resources"]["one_at_a_time"] == 1
    assert slurm["set-resource-scopes"] == {"one_at_a_time": "local"}


def test_requests_of_rules_grow_with_the_attempt():
    for rule in house.all_rules():
        for amount in re.findall(
            r"(?:mem_mb|runtime)\s*=\s*([^,]+)", rule.directives.get("resources", "")
        ):
            assert amount.startswith(GROWING), rule.name


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


@pytest.mark.parametrize(
    ("options", "limited"), [((), False), (("--max-jobs-per-timespan", "50/1s"), True)]
)
def test_only_a_limit_that_is_asked_for_makes_snakemake_look_again_and_again(
    tmp_path, options, limited
):
    common = (house.REPOSITORY / "rules" / "common.smk").read_text()
    (hook,) = re.findall(r"^onstart:\n(?:    .*\n)+", common, re.MULTILINE)
    (tmp_path / "Snakefile").write_text(
        hook
        + 'onsuccess:\n    print("limited:", workflow.scheduler.job_rate_limiter is not None)\n'
        + 'rule all:\n    output: "x"\n    shell: "touch {output}"\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"limited: {limited}" in done.stdout + done.stderr
