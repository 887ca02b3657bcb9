"""A copy of the repository to run in, so that a test never touches the user's results."""

import os
import shutil
import subprocess
import sys

import house


def copy_repository(folder):
    """Copy what git would commit, tests included, into a folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=house.REPOSITORY,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source = house.REPOSITORY / name
        if source.is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name)
    return folder


def command(*arguments, config):
    """Return the command line of Snakemake; a target after --configfile would be read as one."""
    return [sys.executable, "-m", "snakemake", *arguments, "--configfile", config]


def environment():
    """Return the environment of a user: nothing of the library on the path, one thread a job."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return kept | {"OMP_NUM_THREADS": "1"}


def snakemake(folder, *arguments, config, check=True):
    """Run Snakemake in a folder; return the process, with all output in stdout."""
    done = subprocess.run(
        command(*arguments, config=config),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if check:
        assert done.returncode == 0, done.stdout
    return done
