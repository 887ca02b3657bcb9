import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import resume
from dustcast import bridge
from dustcast.tables import DataError

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@pytest.fixture
def sleeper():
    """A process that lives for the length of a test."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def dead():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def write_record(folder, pid, *, start=None, host=None, rule="fit_sed"):
    host = host or socket.gethostname()
    record = {
        "host": host,
        "pid": pid,
        "start": start or bridge.process_start(pid) or "gone",
        "rule": rule,
        "wildcards": {"galaxy": "NGC3031"},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{host}-{pid}.json"
    path.write_text(json.dumps(record))
    return path


def test_live_job_is_named(tmp_path, sleeper):
    path = write_record(tmp_path, sleeper.pid)
    with pytest.raises(DataError, match=rf"alive: fit_sed \(galaxy=NGC3031\).* {sleeper.pid}"):
        resume.check_jobs(tmp_path)
    assert path.exists()


def test_record_of_a_dead_job_is_dropped(tmp_path, dead):
    path = write_record(tmp_path, dead)
    resume.check_jobs(tmp_path)
    assert not path.exists()


@needs_proc
def test_reused_process_id_is_not_the_job(tmp_path, sleeper):
    write_record(tmp_path, sleeper.pid, start="another boot:12345")
    resume.check_jobs(tmp_path)


@needs_proc
def test_zombie_is_dead(sleeper):
    assert bridge.process_start(sleeper.pid)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert bridge.process_start(sleeper.pid) is None


def test_job_of_another_machine_cannot_be_checked(tmp_path, dead):
    path = write_record(tmp_path, dead, host="node17")
    with pytest.raises(DataError, match=r"on node17.*delete their files"):
        resume.check_jobs(tmp_path)
    assert path.exists()


@pytest.mark.parametrize("text", ["", "[]", '{"pid": 1}', '{"host": "h", "wildcards": 3}'])
def test_broken_record_is_named(tmp_path, text):
    (tmp_path / "x-1.json").write_text(text)
    with pytest.raises(DataError, match=r"x-1\.json is not a record"):
        resume.check_jobs(tmp_path)


def test_no_folder_is_no_job(tmp_path):
    resume.check_jobs(tmp_path / "nothing")


@needs_proc
def test_live_driver_is_named(tmp_path):
    (tmp_path / "snakemake").write_text("import time\nprint('up', flush=True)\ntime.sleep(60)\n")
    driver = subprocess.Popen(
        [sys.executable, "snakemake"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        driver.stdout.readline()
        with pytest.raises(DataError, match=f"kill {driver.pid}"):
            resume.check_driver(tmp_path)
        (tmp_path / "other").mkdir()
        resume.check_driver(tmp_path / "other")
    finally:
        driver.kill()
        driver.wait()
        driver.stdout.close()
    resume.check_driver(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "cannot be read"), ("a: [", "cannot be read"), ("a: 1", "lacks the key run")],
)
def test_bad_configuration_is_one_sentence(tmp_path, monkeypatch, capsys, text, words):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("c.yaml").write_text(text)
    assert resume.main(["c.yaml"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dustcast: resume: ")
    assert words in line


SNAKEFILE = """
rule all:
    input: "results/demo/done.txt"

rule slow:
    output: "results/demo/done.txt"
    script: "scripts/slow.py"
"""

# Waits for the file `go`, so that the test decides when the job may end.
SLOW = """
import time
from pathlib import Path
from dustcast.bridge import run

if __name__ == "__main__":
    with run(snakemake):
        Path(snakemake.output[0]).write_text("half")
        while not Path("go").exists():
            time.sleep(0.05)
        Path(snakemake.output[0]).write_text("whole")
"""


@needs_proc
def test_killed_run_is_resumed(tmp_path):
    scripts = Path(bridge.__file__).parents[1]
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "dustcast").symlink_to(scripts / "dustcast")
    (tmp_path / "scripts" / "slow.py").write_text(SLOW)
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "config.yaml").write_text("run: demo\n")
    snakemake = [sys.executable, "-m", "snakemake", "--configfile", "config.yaml", "--cores", "1"]
    again = [sys.executable, scripts / "resume.py", "config.yaml", "--cores", "1"]

    def run(command):
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    log = (tmp_path / "driver.log").open("w")
    driver = subprocess.Popen(snakemake, cwd=tmp_path, stdout=log, stderr=log)
    job = None
    try:
        result = tmp_path / "results" / "demo" / "done.txt"
        while not result.exists():
            assert driver.poll() is None, (tmp_path / "driver.log").read_text()
        (path,) = (tmp_path / "results" / "demo" / "running").glob("*.json")
        job = json.loads(path.read_text())["pid"]

        refused = run(again)
        assert refused.returncode == 1
        assert f"a Snakemake still runs in this folder, process {driver.pid}" in refused.stderr

        driver.kill()
        driver.wait()
        assert "LockException" in run(snakemake).stderr or (tmp_path / ".snakemake/locks").exists()
        refused = run(again)
        assert refused.returncode == 1
        assert f"still alive: slow, process {job}" in refused.stderr

        os.kill(job, 9)
        while bridge.process_start(job) is not None:
            pass
        (tmp_path / "go").touch()
        done = run(again)
        assert done.returncode == 0, done.stderr
        assert result.read_text() == "whole"
        assert not list((tmp_path / "results" / "demo" / "running").iterdir())
    finally:
        log.close()
        driver.kill()
        driver.wait()
        if job and bridge.process_start(job):
            os.kill(job, 9)
