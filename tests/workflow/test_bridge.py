import importlib
import importlib.util
import json
import logging
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from dustcast import bridge
from dustcast.tables import DataError

REPOSITORY = Path(__file__).parents[2]


def job(tmp_path, *, log=True, config=None, threads=1):
    """A stand-in for the object that Snakemake puts into a script."""
    return types.SimpleNamespace(
        log=[str(tmp_path / "logs" / "job.log")] if log else [],
        rule="fit_sed",
        threads=threads,
        config=config or {},
        wildcards={"galaxy": "NGC3031"},
        params={"code": "0123456789ab"},
    )


def test_pandas_is_found_but_not_loaded_while_a_job_runs(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "pandas", raising=False)
    finders = list(sys.meta_path)
    with bridge.run(job(tmp_path)):
        assert importlib.util.find_spec("pandas") is not None
        with pytest.raises(ImportError, match="pandas is hidden"):
            importlib.import_module("pandas")
    assert sys.meta_path == finders


def test_tables_learn_where_they_come_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = {"run": "demo", "mirror": "/a", "data_dir": "/b"}
    with bridge.run(job(tmp_path, config={"run": "demo"})) as origin:
        pass
    with bridge.run(job(tmp_path, config=told)) as elsewhere:
        pass
    assert origin == elsewhere  # no path
    assert set(origin["provenance"]) == {"rule", "config", "code", "versions"}
    assert origin["provenance"]["code"] == "0123456789ab"


def read(snakemake):
    return Path(snakemake.log[0]).read_text()


def test_everything_goes_to_the_log(tmp_path, capfd):
    snakemake = job(tmp_path)
    with bridge.run(snakemake):
        print("printed")
        logging.getLogger("sed").info("logged")
        os.write(1, b"by the descriptor\n")
        subprocess.run([sys.executable, "-c", "print('by a child')"], check=True)
    text = read(snakemake)
    for words in ("printed", "INFO sed: logged", "by the descriptor", "by a child"):
        assert words in text
    print("after")
    assert capfd.readouterr() == ("after\n", "")


def test_without_a_log_the_terminal_stays(tmp_path, capfd):
    with bridge.run(job(tmp_path, log=False)):
        print("printed")
    assert capfd.readouterr().out == "printed\n"


def test_data_error_is_one_sentence(tmp_path, capfd):
    snakemake = job(tmp_path)
    with pytest.raises(SystemExit) as stop, bridge.run(snakemake):
        raise DataError("galaxies.csv lacks\n the column ra: add it")
    assert stop.value.code == 1
    line = "dustcast: fit_sed: galaxies.csv lacks the column ra: add it\n"
    assert capfd.readouterr().err == line
    assert read(snakemake) == line
    with pytest.raises(SystemExit), bridge.run(job(tmp_path, log=False)):
        raise DataError("no")
    assert capfd.readouterr().err == "dustcast: fit_sed: no\n"


def test_other_errors_leave_their_traceback(tmp_path, capfd):
    snakemake = job(tmp_path)
    with pytest.raises(ZeroDivisionError), bridge.run(snakemake):
        raise ZeroDivisionError("surprise")
    assert "Traceback" in read(snakemake)
    assert "ZeroDivisionError: surprise" in read(snakemake)


def test_threads_reach_numba(tmp_path, monkeypatch):
    # In processes of their own: numba keeps its number of threads.
    code = (
        "import os, types; from dustcast.bridge import threads\n"
        "{first}\n"
        "assert threads(types.SimpleNamespace(threads=1)) == 1\n"
        "import numba; assert numba.get_num_threads() == 1\n"
        "many = threads(types.SimpleNamespace(threads=999))\n"
        "assert many <= (os.cpu_count() or 1), many\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "scripts"))
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    for first in ("", "import numba"):
        subprocess.run([sys.executable, "-c", code.format(first=first)], check=True)


def test_progress_writes_now_and_then(capsys):
    seconds = iter([0.0, 1.0, 6.0, 7.0, 10.0])
    step = bridge.progress(100, "spectra fitted", clock=lambda: next(seconds))
    for count in (10, 20, 30, 40):
        step(count)
    assert capsys.readouterr().out.splitlines() == [
        "spectra fitted: 30 of 100, 5 per s, 14 s left",
        "spectra fitted: 100 of 100, 10 per s",
    ]


def test_record_lives_as_long_as_the_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    snakemake = job(tmp_path, config={"run": "demo"})
    with bridge.run(snakemake):
        (path,) = Path("results/demo/running").iterdir()
        record = json.loads(path.read_text())
        assert record["pid"] == os.getpid()
        assert record["rule"] == "fit_sed"
        assert record["wildcards"] == {"galaxy": "NGC3031"}
        assert bridge.is_alive(record)
    assert not path.exists()
    with pytest.raises(SystemExit), bridge.run(snakemake):
        raise DataError("no")
    assert not path.exists()


WORKFLOW = """
rule all:
    default_target: True
    input: "good.json"

rule good:
    output: "good.json"
    log: "logs/good.log"
    script: "../scripts/good.py"

rule bad:
    output: "bad.txt"
    log: "logs/bad.log"
    script: "../scripts/bad.py"

rule strict:
    output: "strict.txt"
    log: "logs/strict.log"
    script: "../scripts/strict.py"

rule future:
    output: "future.txt"
    script: "../scripts/future.py"
"""

GOOD = '''
"""What does a script see?"""
import json
import sys
import warnings
from dustcast.bridge import run
from dustcast import provenance

if __name__ == "__main__":
    with run(snakemake):
        print("into the log")
        warnings.warn("take care")
        seen = {"name": __name__, "file": __file__, "path": sys.path, "from": provenance.__file__}
        open(snakemake.output[0], "w").write(json.dumps(seen))
'''

BAD = """
from dustcast.bridge import run
from dustcast.tables import DataError

if __name__ == "__main__":
    with run(snakemake):
        open(snakemake.output[0], "w").write("half")
        raise DataError("the table is cut short: fetch it anew")
"""


STRICT = """
import sys
from dustcast.bridge import run

if __name__ == "__main__":
    with run(snakemake):
        sys.path.append("borrowed")
        import alien
        open(snakemake.output[0], "w").write("done")
"""


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    """A small workflow in a folder with a space, its scripts beside a copy of the library."""
    folder = tmp_path_factory.mktemp("a workflow")
    (folder / "rules").mkdir()
    library = folder / "scripts" / "dustcast"
    library.mkdir(parents=True)
    for name in ("__init__.py", "bridge.py", "provenance.py", "tables.py"):
        (library / name).write_bytes((REPOSITORY / "scripts" / "dustcast" / name).read_bytes())
    (folder / "Snakefile").write_text('include: "rules/all.smk"\n')
    (folder / "rules" / "all.smk").write_text(WORKFLOW)
    (folder / "scripts" / "good.py").write_text(GOOD)
    (folder / "scripts" / "bad.py").write_text(BAD)
    (folder / "scripts" / "strict.py").write_text(STRICT)
    (folder / "borrowed").mkdir()
    (folder / "borrowed" / "alien.py").write_text("")
    (folder / "scripts" / "future.py").write_text("from __future__ import annotations\n")
    return folder


def snakemake(folder, *arguments):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_script_finds_the_library(workflow):
    done = snakemake(workflow, "good.json")
    assert done.returncode == 0, done.stderr
    seen = json.loads((workflow / "good.json").read_text())
    assert seen["name"] == "__main__"
    assert seen["file"] == str(workflow / "scripts" / "good.py")
    assert Path(seen["from"]).resolve() == workflow / "scripts" / "dustcast" / "provenance.py"
    # The folder of the script comes after every site-packages.
    scripts = [Path(entry).resolve() for entry in seen["path"]].index(workflow / "scripts")
    assert all("site-packages" not in entry for entry in seen["path"][scripts:])
    log = (workflow / "logs" / "good.log").read_text()
    assert log.startswith("into the log\n")
    assert "UserWarning: take care" in log


def test_data_error_in_a_real_job(workflow):
    done = snakemake(workflow, "bad.txt")
    assert done.returncode == 1
    assert "dustcast: bad: the table is cut short: fetch it anew" in done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    assert not (workflow / "bad.txt").exists()


def test_strict_environment_sees_lazy_imports(workflow, monkeypatch):
    monkeypatch.delenv("DUSTCAST_STRICT_ENV", raising=False)
    assert snakemake(workflow, "strict.txt").returncode == 0
    monkeypatch.setenv("DUSTCAST_STRICT_ENV", "1")
    assert snakemake(workflow, "good.json", "--force").returncode == 0
    done = snakemake(workflow, "strict.txt", "--force")
    assert done.returncode == 1
    assert "the module alien was borrowed from" in done.stderr


def test_scripts_cannot_import_from_the_future(workflow):
    # If this passes one day, the note in bridge.py can go.
    done = snakemake(workflow, "future.txt")
    assert "from __future__ imports must occur at the beginning" in done.stderr
