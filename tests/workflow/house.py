"""The house read without running it: what rules say, what scripts import, what envs hold.

Rules are read from the text of ``rules/*.smk``, imports from the syntax trees of the scripts and,
through them, of the library. An import counts wherever it stands, in a function too; one that
only type checkers see does not.
"""

from __future__ import annotations

import ast
import csv
import functools
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = REPOSITORY / "scripts"

# ---------------------------------------------------------------------------------------------
# Rules


@dataclass
class Rule:
    """One rule: its name, the file it stands in, the text of each of its directives."""

    name: str
    file: Path
    directives: dict = field(default_factory=dict)

    def path(self, directive):
        """Return the file that a directive such as script or conda names."""
        text = self.directives[directive]
        found = re.fullmatch(r"""(?:f|r)?(['"])(.+?)\1,?""", text.strip())
        assert found, (
            f"{self.file.name}, rule {self.name}: {directive} is not a plain string: {text}"
        )
        return (self.file.parent / found[2]).resolve()

    @property
    def subpackages(self):
        """The subpackages that ``params: code=code_hash(...)`` names, None without it."""
        call = re.search(r"\bcode\s*=\s*code_hash\(([^)]*)\)", self.directives.get("params", ""))
        return set(re.findall(r"""['"](\w+)['"]""", call[1])) if call else None


_RULE = re.compile(r"(?P<indent>\s*)(?:rule|checkpoint)\s+(?P<name>\w+)\s*:")
_USE = re.compile(r"(?P<indent>\s*)use\s+rule\s+(?P<base>\w+)\s+as\s+(?P<name>\w+)\s+with\s*:")
_DIRECTIVE = re.compile(r"(\s+)([a-z_]+)\s*:(.*)")


def parse_rules(text, file, before=()):
    """Return the rules of one Snakefile's text, those made by ``use rule ... with`` too.

    `before` are rules of the files that are included before it, on which its own may build.
    """
    known = {rule.name: rule for rule in before}
    rules = {}
    rule = directive = inner = None
    depth = 0
    for line in text.splitlines():
        bare = re.sub(r"\s#.*$|^\s*#.*$", "", line).rstrip()
        if not bare:
            continue
        indent = len(bare) - len(bare.lstrip())
        begin = _RULE.match(bare) or _USE.match(bare)
        if begin:
            found = begin.groupdict()
            base = (known | rules)[found["base"]].directives if "base" in found else {}
            rule = rules[found["name"]] = Rule(found["name"], Path(file), dict(base))
            depth, inner, directive = len(found["indent"]), None, None
            continue
        if rule is None:
            continue
        if indent <= depth:
            rule = None
            continue
        inner = indent if inner is None else inner
        match = _DIRECTIVE.match(bare)
        if indent == inner and match:
            directive = match[2]
            rule.directives[directive] = match[3].strip()
        elif directive:
            rule.directives[directive] += "\n" + bare.strip()
    return list(rules.values())


@functools.cache
def all_rules():
    """Return every rule of the Snakefile and of rules/."""
    rules = []
    for file in [REPOSITORY / "Snakefile", *sorted((REPOSITORY / "rules").glob("*.smk"))]:
        if file.exists():
            rules += parse_rules(file.read_text(encoding="utf-8"), file, rules)
    return rules


def script_rules():
    """Return the rules that run a script."""
    return [rule for rule in all_rules() if "script" in rule.directives]


# ---------------------------------------------------------------------------------------------
# Imports


def _type_checking(test):
    """Return whether a condition is ``TYPE_CHECKING``."""
    return getattr(test, "id", getattr(test, "attr", None)) == "TYPE_CHECKING"


class _Imports(ast.NodeVisitor):
    """Collect the absolute names that a module imports, ``a.b`` and what it takes from it."""

    def __init__(self, package):
        self.package = package
        self.names = set()

    def visit_If(self, node):
        for child in node.orelse if _type_checking(node.test) else [*node.body, *node.orelse]:
            self.visit(child)

    def visit_Import(self, node):
        self.names.update(alias.name for alias in node.names)

    def visit_ImportFrom(self, node):
        base = node.module or ""
        if node.level:
            parents = self.package.split(".")
            parents = parents[: len(parents) - node.level + 1]
            base = ".".join([*parents, base] if base else parents)
        self.names.add(base)
        self.names.update(f"{base}.{alias.name}" for alias in node.names)

    def visit_Call(self, node):
        name = getattr(node.func, "attr", getattr(node.func, "id", None))
        if name in ("import_module", "find_spec", "__import__") and node.args:
            constant = node.args[0]
            assert isinstance(constant, ast.Constant), (
                f"line {node.lineno}: an import by a computed name cannot be followed"
            )
            self.names.add(constant.value)
        self.generic_visit(node)


def _own_file(name, folder):
    """Return the file of a module under scripts/, None for any other name."""
    path = folder.joinpath(*name.split("."))
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if file.is_file():
            return file
    return None


@functools.cache
def direct_imports(file, folder=SCRIPTS):
    """Return the names that one file under `folder` imports."""
    parts = file.relative_to(folder).with_suffix("").parts
    visitor = _Imports(".".join(parts[:-1]))
    visitor.visit(ast.parse(file.read_text(encoding="utf-8"), filename=str(file)))
    return frozenset(visitor.names)


def follow(file, folder=SCRIPTS):
    """Follow the imports of a file through `folder`.

    Returns
    -------
    own : set of Path
        Every module under `folder` that is reached, packages' ``__init__`` included.
    foreign : dict of str to Path
        Top-level name of each third-party import, and a file that imports it.
    """
    own, foreign, waiting = set(), {}, [file]
    while waiting:
        file = waiting.pop()
        if file in own:
            continue
        own.add(file)
        for name in direct_imports(file, folder):
            parts = name.split(".")
            files = [_own_file(".".join(parts[:n]), folder) for n in range(1, len(parts) + 1)]
            waiting.extend(found for found in files if found)
            if files[0] is None and parts[0] not in sys.stdlib_module_names:
                foreign.setdefault(parts[0], file)
    return own, foreign


def subpackage(file):
    """Return the subpackage of dustcast in which a file lies, None for the vocabulary."""
    parts = file.relative_to(SCRIPTS).parts
    return parts[1] if parts[0] == "dustcast" and len(parts) > 2 else None


# ---------------------------------------------------------------------------------------------
# Environments and the lock


@functools.cache
def names():
    """Return the rows of envs/names.csv by import name."""
    lines = (REPOSITORY / "envs" / "names.csv").read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return {row["import"]: row for row in rows}


def normalise(name):
    """Return a PyPI name in its canonical form."""
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def lock(python="3.11"):
    """Return the pinned version of each package in requirements.lock for one Python."""
    from packaging.requirements import Requirement

    text = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    machine = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
    }
    pins = {}
    for line in re.findall(r"^[A-Za-z0-9].*$", text, flags=re.MULTILINE):
        requirement = Requirement(line.rstrip("\\ "))
        if requirement.marker is None or requirement.marker.evaluate(machine):
            (pin,) = requirement.specifier
            assert pin.operator == "==", line
            pins[normalise(requirement.name)] = pin.version
    return pins


@dataclass
class Environment:
    """One file of envs/: channels, and the pin of each package as text (None without one)."""

    channels: list
    conda: dict
    pip: dict


@functools.cache
def environment(file):
    """Read a conda environment file."""
    import yaml

    stored = yaml.safe_load(file.read_text(encoding="utf-8"))
    conda, pip = {}, {}
    for entry in stored["dependencies"]:
        if isinstance(entry, dict):
            assert set(entry) == {"pip"}, f"{file.name}: {sorted(entry)}"
            for line in entry["pip"]:
                name, _, version = line.partition(" @ ") if " @ " in line else line.partition("==")
                pip[name.strip()] = version.strip() or None
        else:
            name, _, version = entry.partition("=")
            conda[name.strip()] = version.strip() or None
    return Environment(stored["channels"], conda, pip)
