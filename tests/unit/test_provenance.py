import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from dustcast import provenance
from dustcast.tables import DataError


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A copy of the library that the hashes look at, with a fresh cache."""
    copy = tmp_path / "elsewhere" / "dustcast"
    for name in ("sed", "figures"):
        (copy / name / "deep").mkdir(parents=True)
        (copy / name / "__init__.py").write_text("")
        (copy / name / "deep" / "code.py").write_text(f"'{name}'\n")
    (copy / "units.py").write_text("C = 1\n")
    monkeypatch.setattr(provenance, "LIBRARY", copy)
    provenance._folder_hash.cache_clear()
    yield copy
    provenance._folder_hash.cache_clear()


def fresh_hash(*names):
    provenance._folder_hash.cache_clear()
    return provenance.code_hash(*names)


def test_hash_is_short_stable_and_cached(library):
    first = provenance.code_hash("sed")
    assert len(first) == 12
    assert int(first, 16) >= 0
    (library / "sed" / "deep" / "code.py").write_text("changed\n")
    assert provenance.code_hash("sed") == first
    assert fresh_hash("sed") != first


def test_hash_sees_its_subpackage_and_the_vocabulary_only(library):
    sed, figures, none = fresh_hash("sed"), fresh_hash("figures"), fresh_hash()
    assert len({sed, figures, none}) == 3
    (library / "figures" / "deep" / "code.py").write_text("other\n")
    assert fresh_hash("sed") == sed
    assert fresh_hash() == none
    assert fresh_hash("figures") != figures
    (library / "units.py").write_text("C = 2\n")
    assert fresh_hash("sed") != sed
    assert fresh_hash() != none


def test_hash_ignores_order_place_time_and_foreign_files(library, monkeypatch):
    both = fresh_hash("sed", "figures")
    assert fresh_hash("figures", "sed", "sed") == both
    (library / "sed" / "__pycache__").mkdir()
    (library / "sed" / "__pycache__" / "code.cpython-311.pyc").write_text("x")
    (library / "sed" / "notes.txt").write_text("x")
    assert fresh_hash("sed", "figures") == both
    moved = library.parent.parent / "moved"
    shutil.copytree(library, moved, copy_function=shutil.copyfile)
    monkeypatch.setattr(provenance, "LIBRARY", moved)
    assert fresh_hash("sed", "figures") == both


def test_hash_sees_names_of_modules(library):
    before = fresh_hash("sed")
    (library / "sed" / "deep" / "code.py").rename(library / "sed" / "deep" / "code2.py")
    assert fresh_hash("sed") != before


@pytest.mark.parametrize("name", ["nosuch", "../dustcast", "sed/deep", "units"])
def test_hash_refuses_unknown_subpackages(library, name):
    with pytest.raises(ValueError, match="no subpackage"):
        provenance.code_hash(name)


def test_real_subpackages_have_hashes():
    assert provenance.code_hash("sed") != provenance.code_hash("learning")


def test_config_hash_ignores_the_order_of_keys():
    one = {"run": "demo", "sed": {"grid": "small", "bands": ["a", "b"]}}
    two = {"sed": {"bands": ["a", "b"], "grid": "small"}, "run": "demo"}
    assert provenance.config_hash(one) == provenance.config_hash(two)
    two["sed"]["bands"].reverse()
    assert provenance.config_hash(one) != provenance.config_hash(two)


def test_versions():
    found = provenance.versions("numpy", "no-such-distribution")
    import numpy

    assert list(found) == ["python", "no-such-distribution", "numpy"]
    assert found["numpy"] == numpy.__version__
    assert found["no-such-distribution"] == "missing"


def module(name, file):
    made = types.ModuleType(name)
    made.__file__ = str(file)
    return made


def test_foreign_modules(tmp_path):
    import json
    import sysconfig

    outside = tmp_path / "site-packages" / "alien"
    base = sysconfig.get_path("stdlib") + "/site-packages/borrowed/__init__.py"
    modules = [
        pytest,
        json,
        provenance,
        sys,  # without a file
        module("alien.deep", outside / "deep.py"),
        module("alien", outside / "__init__.py"),
        module("snakemake.iocontainers", tmp_path / "snakemake" / "iocontainers.py"),
        module("snakemake_interface_common.x", tmp_path / "x.py"),
    ]
    assert provenance.foreign_modules(modules) == [("alien", str(outside / "deep.py"))]
    if sys.prefix != sys.base_prefix:  # packages of the Python that made this environment
        assert provenance.foreign_modules([module("borrowed", base)])[0][0] == "borrowed"


def test_strict_environment_acts_only_when_asked(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "alien", module("alien", tmp_path / "alien.py"))
    monkeypatch.delenv("DUSTCAST_STRICT_ENV", raising=False)
    provenance.strict_environment()
    monkeypatch.setenv("DUSTCAST_STRICT_ENV", "0")
    provenance.strict_environment()
    monkeypatch.setenv("DUSTCAST_STRICT_ENV", "1")
    with pytest.raises(DataError, match=r"alien.* outside .*add the package to the rule's file"):
        provenance.strict_environment()


def test_packages_of_others_leave_the_path_only_when_asked(tmp_path, monkeypatch):
    own = Path(sys.prefix) / "lib" / "site-packages"
    paths = [str(tmp_path / "site-packages"), str(own), str(tmp_path / "scripts"), ""]
    monkeypatch.setattr(sys, "path", list(paths))
    monkeypatch.delenv("DUSTCAST_STRICT_ENV", raising=False)
    provenance.isolate()
    assert sys.path == paths
    monkeypatch.setenv("DUSTCAST_STRICT_ENV", "1")
    provenance.isolate()
    assert sys.path == paths[1:]


def test_this_process_passes_the_strict_check(monkeypatch):
    monkeypatch.setenv("DUSTCAST_STRICT_ENV", "1")
    code = "from dustcast.provenance import strict_environment; import numpy; strict_environment()"
    path = str(provenance.LIBRARY.parent)
    subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r}); {code}"], check=True
    )
