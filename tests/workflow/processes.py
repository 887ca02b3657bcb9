"""Processes of this machine, from /proc."""

import contextlib
from pathlib import Path


def descendants(pid):
    """Return the processes that a process has started, and those started by them."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = []
    for above in (waiting := [pid]):
        children = [child for child, parent in parents.items() if parent == above]
        found += children
        waiting += children
    return found


def command(pid):
    """Return the arguments of a process, none if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
