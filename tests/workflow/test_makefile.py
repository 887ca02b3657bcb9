"""The commands of the Makefile, with stand-ins for Python: nothing is installed here."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import house
import pytest

# A Python that says what it is asked: {version} and {ensurepip} are exit codes, {pip} too.
FAKE = """#!/bin/sh
echo "$0 $*" >> "{log}"
case "$*" in
  *version_info*) exit {version};;
  *ensurepip*) exit {ensurepip};;
  --version) echo "Python 3.12.0";;
  *"-m venv"*)
    for folder do :; done
    mkdir -p "$folder/bin" && cp "$0" "$folder/bin/python";;
  *"-m pip"*) exit {pip};;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "checkout"
    folder.mkdir()
    shutil.copy(house.REPOSITORY / "Makefile", folder)
    (folder / "requirements.lock").write_text("a==1\n")
    return folder


def fake_python(folder, name="python3.12", *, version=0, ensurepip=0, pip=0):
    folder.mkdir(exist_ok=True)
    path = folder / name
    log = folder / "calls"
    path.write_text(FAKE.format(log=log, version=version, ensurepip=ensurepip, pip=pip))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def make(folder, *arguments, path=None):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    environment |= {"PATH": path} if path else {}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def only(folder):
    """Return a PATH that holds `folder` and, of the system, only what the Makefile calls."""
    tools = folder.parent / "tools"
    tools.mkdir(exist_ok=True)
    for tool in ("make", "sh", "git", "cat", "rm", "mkdir", "cp", "awk"):
        link = tools / tool
        if not link.exists():
            link.symlink_to(shutil.which(tool))
    return f"{folder}{os.pathsep}{tools}"


def test_make_alone_prints_help(checkout):
    done = make(checkout)
    assert done.returncode == 0
    for target in ("demo", "test", "test-science", "lint", "global", "resume", "lock", "clean"):
        assert f"make {target} " in done.stdout
    assert not (checkout / ".venv").exists()


def test_environment_is_made_once_for_a_lock(checkout, tmp_path):
    python = fake_python(tmp_path / "bin")
    calls = python.parent / "calls"
    first = make(checkout, "venv", f"PYTHON={python}")
    assert first.returncode == 0, first.stderr
    assert "Making .venv with Python 3.12.0" in first.stdout
    text = calls.read_text()
    assert "-m pip install --quiet --require-hashes -r requirements.lock" in text
    assert make(checkout, "venv", f"PYTHON={python}").stdout == ""
    assert calls.read_text() == text
    (checkout / "requirements.lock").write_text("a==2\n")
    assert "Making .venv" in make(checkout, "venv", f"PYTHON={python}").stdout


def test_half_made_environment_is_made_anew(checkout, tmp_path):
    python = fake_python(tmp_path / "bin", pip=1)
    done = make(checkout, "venv", f"PYTHON={python}")
    assert done.returncode != 0
    assert "the next make begins anew" in done.stderr
    assert (checkout / ".venv" / "bin" / "python").exists()
    python = fake_python(tmp_path / "bin")
    assert "Making .venv" in make(checkout, "venv", f"PYTHON={python}").stdout
    assert (checkout / ".venv" / "installed").exists()


def test_missing_ensurepip_is_one_sentence(checkout, tmp_path):
    python = fake_python(tmp_path / "bin", ensurepip=1)
    done = make(checkout, "venv", f"PYTHON={python}")
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("dustcast:")]
    assert len(lines) == 1
    assert "python3-venv" in lines[0]
    assert not (checkout / ".venv").exists()


def test_python_is_found(checkout, tmp_path):
    # The first candidate is too old, the second lacks ensurepip, the third will do.
    folder = tmp_path / "bin"
    fake_python(folder, "python3.11", version=1)
    fake_python(folder, "python3.12", ensurepip=1)
    fake_python(folder, "python3.13")
    done = make(checkout, "venv", path=only(folder))
    assert done.returncode == 0, done.stderr
    assert f"{folder}/python3.13 -m venv" in (folder / "calls").read_text()


def test_no_python_is_one_sentence(checkout, tmp_path):
    (tmp_path / "bin").mkdir()
    done = make(checkout, "venv", path=only(tmp_path / "bin"))
    assert done.returncode != 0
    assert "dustcast: no Python 3.11, 3.12 or 3.13 found" in done.stderr
    assert not (checkout / ".venv").exists()


def test_paths_with_spaces(checkout, tmp_path):
    folder = checkout.rename(tmp_path / "my checkout")
    python = fake_python(tmp_path / "my bin")
    refused = make(folder, "venv", f"PYTHON={python}")
    assert refused.returncode != 0
    assert "make VENV=" in refused.stderr
    venv = tmp_path / "venv"
    done = make(folder, "venv", f"PYTHON={python}", f"VENV={venv}")
    assert done.returncode == 0, done.stderr
    assert (venv / "installed").exists()


def test_resume_asks_for_a_configuration(checkout, tmp_path):
    python = fake_python(tmp_path / "bin")
    done = make(checkout, "resume", f"PYTHON={python}")
    assert done.returncode != 0
    assert "make resume CONFIG=config/demo.yaml" in done.stderr


def test_clean_keeps_results(checkout, tmp_path):
    for name in ("results/demo", "data", ".venv/bin", "scripts/__pycache__", "tests"):
        (checkout / name).mkdir(parents=True)
    done = make(checkout, "clean")
    assert done.returncode == 0, done.stderr
    assert "results/" in done.stdout
    assert (checkout / "results" / "demo").is_dir()
    assert (checkout / "data").is_dir()
    assert not (checkout / ".venv").exists()
    assert not (checkout / "scripts" / "__pycache__").exists()


def test_ci_runs_make_and_hides_nothing():
    text = Path(house.REPOSITORY, ".ci", "run").read_text()
    assert text.splitlines()[-2:] == ["make lint", "make test"]
    assert "set -euo pipefail" in text
    assert "|| true" not in text
    # The one failure that is let pass is told.
    assert re.findall(r"^(.*) \|\| (\w+)", text, flags=re.MULTILINE) == [("make slurm", "echo")]
    assert os.access(house.REPOSITORY / ".ci" / "run", os.X_OK)
