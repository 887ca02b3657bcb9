"""Continue a run that was killed: ``make resume CONFIG=config/demo.yaml``.

When Snakemake is killed, its lock stays and the jobs that it had started go on alone. This
command refuses while one of them, or a Snakemake in this folder, is alive; else it removes the
lock and starts the run again, jobs with incomplete output first of all.

It is no rule's script: it starts Snakemake.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from dustcast.bridge import is_alive, running_folder
from dustcast.tables import DataError


def run_name(config_path):
    """Return the key ``run`` of a configuration file."""
    import yaml

    try:
        config = yaml.safe_load(Path(config_path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        reason = " ".join(str(fault).split())
        raise DataError(f"the configuration {config_path} cannot be read ({reason})") from None
    name = config.get("run") if isinstance(config, dict) else None
    if not isinstance(name, str):
        raise DataError(f"{config_path} lacks the key run, the name of the run to resume")
    return name


def check_jobs(folder):
    """Refuse while a job that is recorded in `folder` may be alive; drop records of dead ones.

    Raises
    ------
    DataError
        If a process of this host is alive, or if one of another host cannot be looked at.
    """
    alive, elsewhere = [], []
    for path in sorted(Path(folder).glob("[!.]*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            wildcards = ", ".join(f"{k}={v}" for k, v in record["wildcards"].items())
            name = f"{record['rule']}{f' ({wildcards})' if wildcards else ''}"
            if record["host"] != socket.gethostname():
                elsewhere.append(f"{name}, process {record['pid']} on {record['host']}")
            elif is_alive(record):
                alive.append(f"{name}, process {record['pid']}")
            else:
                path.unlink()
        except (ValueError, KeyError, TypeError, AttributeError) as fault:
            raise DataError(
                f"{path} is not a record of a job ({fault!r}): delete it if no job runs"
            ) from None
    if alive:
        raise DataError(
            f"{len(alive)} job(s) of the killed run are still alive: {'; '.join(alive)}: wait "
            "for them, or end them with kill and the number"
        )
    if elsewhere:
        raise DataError(
            f"{len(elsewhere)} job(s) ran on another machine: {'; '.join(elsewhere)}: make sure "
            f"there (or with squeue) that they have ended, then delete their files in {folder}"
        )


def check_driver(folder):
    """Refuse while a Snakemake runs in `folder`: removing the lock would take it from that one.

    Snakemake's lock does not say who holds it, so the processes are looked at. Nothing is
    found on systems without ``/proc``.

    Raises
    ------
    DataError
        If there is one.
    """
    folder = Path(folder).resolve()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            # The program and its first arguments: `snakemake ...`, `python -m snakemake ...`.
            names = [os.path.basename(argument) for argument in arguments[:4]]
            if b"snakemake" in names and (process / "cwd").resolve() == folder:
                raise DataError(
                    f"a Snakemake still runs in this folder, process {process.name}: wait for "
                    f"it, or end it with kill {process.name}"
                )
        except OSError:
            continue  # it has ended meanwhile, or belongs to someone else


def main(arguments=None):
    """Check, unlock, run. Return Snakemake's exit code."""
    parser = argparse.ArgumentParser(description="Continue a run that was killed.")
    parser.add_argument("config", help="configuration file of the run")
    parser.add_argument("--cores", default="all", help="cores that the run may use")
    options, more = parser.parse_known_args(arguments)
    try:
        check_driver(".")
        check_jobs(running_folder(run_name(options.config)))
    except DataError as fault:
        print(f"dustcast: resume: {fault}", file=sys.stderr)
        return 1
    snakemake = [sys.executable, "-m", "snakemake", "--configfile", options.config]
    unlocked = subprocess.run([*snakemake, "--unlock"])
    if unlocked.returncode:
        return unlocked.returncode
    return subprocess.run(
        [*snakemake, "--rerun-incomplete", "--cores", options.cores, *more]
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
