"""What planning the paper's run costs: jobs by rule, time and memory of a dry run, without data.

``make bench-dag``. It needs DustPedia's catalogues in ``data/`` or in the mirror that
config/paper.yaml names (`snakemake catalogues --configfile config/paper.yaml` fetches them).
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from dustcast import config, sample

REPOSITORY = Path(__file__).resolve().parents[2]
GALAXY = "NGC3031"


def plan(configuration, *targets):
    """Return jobs by rule, CPU and wall seconds and peak MB of a dry run of Snakemake."""
    command = [sys.executable, "-m", "snakemake", *targets, "--dry-run", "--quiet", "reason"]
    begin = time.monotonic()
    with subprocess.Popen(
        [*command, "--configfile", configuration],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        text = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"the dry run failed:\n{text[-4000:]}")
    stats = text.rpartition("Job stats:")[2].partition("\ntotal ")[0]
    jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", stats, re.MULTILINE)}
    return {
        "jobs": jobs,
        "cpu_s": used.ru_utime + used.ru_stime,
        "wall_s": time.monotonic() - begin,
        "peak_rss_mb": used.ru_maxrss / 1024,
    }


def galaxy_targets(configuration, galaxy):
    """Return every fit of one galaxy's pixels, which needs all else that is made of it."""
    settings = config.complete(config.read_yaml(configuration))
    chosen = [one for one in sample.read_galaxies(settings) if one.galaxy == galaxy]
    if not chosen:
        sys.exit(f"{galaxy} is not among the galaxies of {configuration}")
    rows = sample.plan(settings, chosen)
    return [
        f"results/{settings['run']}/sed/{galaxy}/{row['scale']}/{fit}.parquet"
        for row in rows
        if row["included"] and row["scale"] != sample.GLOBAL
        for fit in settings["sed"]["fits"]
    ]


def main():
    """Plan the whole sample, then one galaxy; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="config/paper.yaml")
    parser.add_argument("--galaxy", default=GALAXY)
    options = parser.parse_args()
    os.chdir(REPOSITORY)
    one = plan(options.config, *galaxy_targets(options.config, options.galaxy))
    print(f"{options.galaxy}: {sum(one['jobs'].values())} jobs, {one['cpu_s']:.1f} CPU s")
    everything = plan(options.config)
    for name, count in sorted(everything["jobs"].items(), key=lambda item: -item[1]):
        print(f"{count:>8} {name}")
    result = {"bench": "dag", "jobs": sum(everything["jobs"].values())}
    result |= {key: round(everything[key], 1) for key in ("cpu_s", "wall_s", "peak_rss_mb")}
    print(json.dumps(result | {"one_galaxy_cpu_s": round(one["cpu_s"], 1)}))


if __name__ == "__main__":
    main()
