"""The tiny run through profiles/slurm on a real SLURM: requests, a cancelled job, a lost node.

`make slurm` installs what it needs; `make test-slurm` runs this module alone.
"""

import re
import shlex
import subprocess
import time
from collections import Counter

import checkout
import house
import pytest
import slurm_cluster
import yaml

PROFILE = yaml.safe_load((house.REPOSITORY / "profiles/slurm/config.yaml").read_text())

pytestmark = pytest.mark.skipif(
    slurm_cluster.why_not() is not None, reason=str(slurm_cluster.why_not())
)


def rules_of(script):
    """Return the rules of a submission: its script names the jobs, each as rule:wildcards."""
    targets = re.search(r"--target-jobs (.*?) --", script)[1]
    return {target.partition(":")[0] for target in shlex.split(targets)}


def request(job):
    """Return what a job asked for: memory in MB, minutes, cores."""
    days, _, clock = job["limit"].rpartition("-")
    hours, minutes, _ = (["0", "0", *clock.split(":")])[-3:]
    assert job["memory"].endswith("M")
    return {
        "mem_mb": int(job["memory"][:-1]),
        "runtime": (int(days or 0) * 24 + int(hours)) * 60 + int(minutes),
        "threads": int(job["cpus"]),
    }


def profile_request(rule, attempt):
    """Return what the profile and the rule's file say of one job."""
    default = {
        key: eval(str(PROFILE["default-resources"][key]), {"attempt": attempt})
        for key in ("mem_mb", "runtime")
    }
    directives = next(one for one in house.all_rules() if one.name == rule).directives
    own = re.search(r"mem_mb=growing\((\d+)\)", directives.get("resources", ""))
    if own:
        default["mem_mb"] = int(own[1]) * attempt
    if "fit_minutes" in directives.get("resources", ""):
        default["runtime"] = 30 * attempt  # few spectra
    return default | {"threads": 1}


def expected(rules, attempt):
    """Return what a submission should ask for: of a group, the largest job and the sum of times."""
    requests = [profile_request(rule, attempt) for rule in rules]
    return {
        "mem_mb": max(one["mem_mb"] for one in requests),
        "runtime": sum(one["runtime"] for one in requests),
        "threads": max(one["threads"] for one in requests),
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm_cluster.Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


def test_run_on_slurm_survives_a_cancelled_job_and_a_lost_node(cluster, tiny, tmp_path):
    folder = checkout.copy_compiled(tmp_path / "run", tiny)
    profile = ("--workflow-profile", "profiles/slurm")
    # Users wait longer between looks at the queue; nothing else differs from their runs.
    often = ("--slurm-init-seconds-before-status-checks", "1")
    cancelled = lost = None
    rules = {}  # of each submission
    with (folder / "driver.log").open("w") as log:
        driver = subprocess.Popen(
            checkout.command(*profile, *often, config=checkout.TINY),
            cwd=folder,
            env=checkout.environment(),
            stdout=log,
            stderr=log,
        )
        try:
            while driver.poll() is None:
                time.sleep(0.5)
                for number, job in cluster.jobs().items():
                    if number not in rules:
                        rules[number] = rules_of(cluster.script(number))
                    if job["state"] != "RUNNING":
                        continue
                    if not cancelled and rules[number] == {"mock_photometry"}:
                        slurm_cluster.ask("scancel", number)
                        cancelled = number
                    elif not lost and rules[number] == {"fit_sed"}:
                        cluster.kill_node(job["node"])
                        lost = number
        finally:
            driver.kill()
            driver.wait()
    text = (folder / "driver.log").read_text()
    assert driver.returncode == 0, text
    assert cancelled
    assert lost
    assert checkout.differences(folder, tiny) == []

    jobs = cluster.jobs()
    assert 10 < len(jobs) <= 40
    assert len({job["node"] for job in jobs.values()}) > 1
    failed = Counter()
    for number, job in jobs.items():
        group = frozenset(rules[number])
        assert request(job) == expected(group, 1 + failed[group]), job
        failed[group] += job["state"] != "COMPLETED"
    assert failed.total() == 1
    assert jobs[cancelled]["state"] == "CANCELLED"
    # The rules of the group `scores` that this run has went together.
    members = {rule for rule, group in PROFILE["groups"].items() if group == "scores"}
    assert {"predict_folds", "evaluate", "metrics_page"} <= members
    assert members in rules.values()
    # What runs on the login node is no submission.
    assert not {"galaxies", "plan", "download_file"} & set().union(*rules.values())
