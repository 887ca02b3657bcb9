"""A stand-in for conda: the commands that Snakemake gives it, answered with venv.

No conda channel can be reached where the tests run. The environments are true ones, of the same
pins as envs/*.yaml, separate from each other and from the driver's; what is not tested is
conda itself: its solver, its channels and its builds. Packages that the driver has in the pinned
version are linked, file by file, and come with the byte code that they have there; pip installs
the others.

`install` writes the command `conda` into a folder. That command runs this file:
python conda_stand_in.py FOLDER ARGUMENTS...
"""

import json
import os
import shutil
import subprocess
import sys
import venv
from importlib import metadata
from itertools import pairwise
from pathlib import Path

import house
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ACTIVATE = """\
# Sourced by Snakemake before each job: source activate ENVIRONMENT
export CONDA_PREFIX="$1"
export PATH="$1/bin:$PATH"
"""


def install(folder):
    """Write ``conda`` and ``activate`` into `folder`/bin; return that folder."""
    bin_folder = folder / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "activate").write_text(ACTIVATE)
    conda = bin_folder / "conda"
    conda.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "{folder}" "$@"\n')
    conda.chmod(0o755)
    # Packages that the pinned ones bring along have the lock's versions too.
    pins = [f"{name}=={version}\n" for name, version in house.lock("3.11").items()]
    (folder / "constraints.txt").write_text("".join(pins))
    return bin_folder


def requirements(file):
    """Return the PyPI requirements of an environment file."""
    by_conda = {row["conda"]: row["pypi"] for row in house.names().values() if row["conda"]}
    found = house.environment(file)
    conda = {name: pin for name, pin in found.conda.items() if name not in ("python", "pip")}
    lines = [f"{by_conda.get(name, name)}=={pin}" for name, pin in conda.items()]
    return lines + [f"{name}=={pin}" for name, pin in found.pip.items()]


def create(folder, file, prefix):
    """Make an environment of its own: nothing of the Python that makes it is visible there."""
    venv.create(prefix)
    (packages,) = prefix.glob("lib/python*/site-packages")
    found, others = installed(requirements(file))
    for distribution in found:
        link(distribution, packages)
    if others:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", prefix]
        constraints = ("--constraint", folder / "constraints.txt")
        subprocess.run([*pip, "install", "--quiet", *constraints, *others], check=True)


def installed(wanted):
    """Return the driver's distributions that requirements name, directly or not, and the others."""
    found, others, todo = {}, [], list(wanted)
    while todo:
        requirement = Requirement(todo.pop())
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            distribution = None
        if distribution is None or not requirement.specifier.contains(distribution.version):
            others.append(str(requirement))
            continue
        found[name] = distribution
        todo += distribution.requires or []
    return found.values(), others


def link(distribution, packages):
    """Give an environment the files of a distribution, commands apart."""
    for file in distribution.files:
        if ".." in file.parts:
            continue
        path = packages / file
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file.locate(), path)
        except (FileNotFoundError, FileExistsError):
            # Byte code that pip lists but did not write; an __init__.py that two have in common.
            continue
        except OSError:  # another file system
            shutil.copy2(file.locate(), path)


def main(folder, arguments):
    """Answer one command of Snakemake."""
    with (folder / "calls").open("a") as calls:
        print(*arguments, file=calls)
    if arguments == ["--version"]:
        print("conda 25.1.0")
    elif arguments == ["info", "--json"]:
        print(json.dumps({"conda_prefix": str(folder), "platform": "linux-64"}))
    elif arguments[:2] == ["config", "--get"]:
        print(json.dumps({"get": {arguments[2]: "strict"}}))
    elif arguments[:2] == ["env", "create"]:
        options = dict(pairwise(arguments))
        (file,) = [value for key, value in options.items() if key in ("-f", "--file")]
        (prefix,) = [value for key, value in options.items() if key in ("-p", "--prefix")]
        create(folder, Path(file), Path(prefix))
    elif arguments[:1] != ["clean"]:
        sys.exit(f"the stand-in for conda does not know: conda {' '.join(arguments)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
