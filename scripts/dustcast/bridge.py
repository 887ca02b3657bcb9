"""What every script in ``scripts/`` shares: log, errors, threads, progress, running record.

A script is a bridge between a rule and the library::

    from dustcast.bridge import run
    from dustcast.sed.fit import fit_table

    if __name__ == "__main__":
        with run(snakemake):
            ...

How Snakemake 9 runs it (tried with 9.27.1, `tests/workflow/test_bridge.py` tries it again):

- It writes a copy with a preamble in front to ``.snakemake/scripts/``, and starts that with the
  rule's Python in the working directory. ``__name__`` is ``"__main__"``, ``__file__`` the
  original path, ``snakemake`` a global of the script alone, not of the modules it imports.
- ``sys.path`` ends with the folder of the original script, so ``from dustcast.x import y`` works
  with nothing installed. It comes after all site-packages: no module here hides a library's.
  The site-packages of the driver's Python come before it, whence `strict_environment`.
- The preamble is the first statement, so ``from __future__ import ...`` in a script is a syntax
  error. Modules of the library may have it.
- The Python's path is not quoted: an environment whose path holds a space starts no job.

Only the standard library is imported, and numba only where the script has loaded it.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import json
import logging
import os
import socket
import sys
import time
import traceback
from pathlib import Path

from dustcast.provenance import config_hash, isolate, strict_environment, versions
from dustcast.tables import DataError, write_text

# Before the script imports the library that it calls.
isolate()


class _WithoutPandas:
    """Hides pandas, which pyarrow else loads to ask of each array whether it is one of pandas'.

    None here is, and loading it takes longer than most tables. It is found, since astropy looks
    whether it is installed, but cannot be imported.
    """

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, cls) if name == "pandas" else None

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        raise ModuleNotFoundError("pandas is hidden from jobs", name=module.__name__)


@contextlib.contextmanager
def _without_pandas():
    """Hide pandas while the body runs."""
    sys.meta_path.insert(0, _WithoutPandas)
    try:
        yield
    finally:
        sys.meta_path.remove(_WithoutPandas)


# Where files lie says nothing of what is in them.
UNTOLD = frozenset({"data_dir", "mirror"})


@contextlib.contextmanager
def run(snakemake):
    """Run the body of a script as a job of its rule.

    What the body prints, logs or warns goes to the rule's log file, output of compiled code and
    of child processes included. While it runs, a record under ``results/{run}/running/`` tells
    `make resume` that the process lives. A `DataError` ends the job with one sentence on the
    terminal and in the log; any other exception leaves its traceback in both.

    Parameters
    ----------
    snakemake : snakemake.iocontainers.Snakemake
        The object that Snakemake puts into the script.

    Yields
    ------
    dict
        Provenance for the metadata of the tables that the body writes.

    Raises
    ------
    SystemExit
        With code 1, after a `DataError`.
    """
    log = snakemake.log[0] if snakemake.log else None
    with _without_pandas(), running_record(snakemake):
        try:
            with _redirected(log):
                try:
                    threads(snakemake)
                    strict_environment()
                    yield {"provenance": origin(snakemake)}
                    # Again, for what was imported inside functions.
                    strict_environment()
                except DataError as fault:
                    print(sentence(snakemake.rule, fault), file=sys.stderr)
                    raise
                except Exception:
                    traceback.print_exc()
                    raise
        except DataError as fault:
            if log:
                print(sentence(snakemake.rule, fault), file=sys.stderr)
            raise SystemExit(1) from None


def origin(snakemake):
    """Return what a table says of the job that made it: no time, host or path.

    The hash of the code is the one that the rule names among its parameters, so that a table
    and Snakemake's decision to rerun speak of the same.
    """
    settings = {key: value for key, value in snakemake.config.items() if key not in UNTOLD}
    return {
        "rule": snakemake.rule,
        "config": config_hash(settings),
        "code": snakemake.params.get("code", ""),
        "versions": versions("numpy", "scipy", "scikit-learn", "xgboost-cpu", "astropy"),
    }


def sentence(rule, fault):
    """Return the one line that tells the user of a fault in the data."""
    return f"dustcast: {rule}: {' '.join(str(fault).split())}"


@contextlib.contextmanager
def _redirected(log):
    """Send standard output, standard error and log records to the file `log`, if there is one."""
    if not log:
        yield
        return
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with open(log, "w", buffering=1, encoding="utf-8", errors="backslashreplace") as out:
        # The descriptors too, for compiled code and child processes, which know no sys.stdout.
        kept = [(number, os.dup(number)) for number in (1, 2)]
        handler = logging.StreamHandler(out)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        root = logging.getLogger()
        level = root.level
        try:
            for number, _ in kept:
                os.dup2(out.fileno(), number)
            root.addHandler(handler)
            root.setLevel(logging.INFO)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                yield
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
            out.flush()
            for number, copy in kept:
                os.dup2(copy, number)
                os.close(copy)


def threads(snakemake):
    """Give numba the threads of the job: Snakemake limits only OpenMP's.

    Parameters
    ----------
    snakemake : snakemake.iocontainers.Snakemake
        The job.

    Returns
    -------
    int
        The number of threads that numba will use, at most the cores of this machine.
    """
    n_threads = max(int(snakemake.threads), 1)
    numba = sys.modules.get("numba")
    if numba:
        n_threads = min(n_threads, numba.config.NUMBA_NUM_THREADS)
        numba.set_num_threads(n_threads)
    else:
        # numba reads this when it is imported.
        n_threads = min(n_threads, int(os.environ.get("NUMBA_NUM_THREADS", os.cpu_count())))
        os.environ["NUMBA_NUM_THREADS"] = str(n_threads)
    return n_threads


class Progress:
    """Lines in the log that say how far a long loop is; made by `progress`."""

    def __init__(self, n, label, *, interval_s, clock):
        self.n, self.label = n, label
        self.done = 0
        self._interval_s, self._clock = interval_s, clock
        self._begin = self._last = clock()

    def __call__(self, step=1):
        """Count `step` more items as done, and write a line if the last is old enough."""
        self.done += step
        now = self._clock()
        if self.done < self.n and now - self._last < self._interval_s:
            return
        self._last = now
        rate = self.done / max(now - self._begin, 1e-9)
        line = f"{self.label}: {self.done} of {self.n}, {rate:.3g} per s"
        if self.done < self.n:
            line += f", {(self.n - self.done) / rate:.0f} s left" if rate else ""
        print(line, flush=True)

    def until(self, done, total):
        """Count up to `done` of `total`: the form in which library functions report."""
        self.n = total
        self(done - self.done)


def progress(n, label, *, interval_s=5.0, clock=time.monotonic):
    """Return a counter for a long loop that writes count, rate and time left to the log.

    Parameters
    ----------
    n : int
        Number of items to come.
    label : str
        What is counted, for instance ``"spectra fitted"``.
    interval_s : float
        Seconds between two lines. The last item always gets one.
    clock : callable
        Returns seconds.

    Returns
    -------
    Progress
        Call it after each item, or with the number of items after each block.
    """
    return Progress(n, label, interval_s=interval_s, clock=clock)


# ---------------------------------------------------------------------------------------------
# Which jobs are alive: read by scripts/resume.py


def running_folder(run_name):
    """Return the folder of a run's running records."""
    return Path("results", run_name, "running")


@contextlib.contextmanager
def running_record(snakemake):
    """Keep a record of this process in the run's folder while the block runs."""
    run_name = snakemake.config.get("run")
    if not run_name:
        yield
        return
    host, pid = socket.gethostname(), os.getpid()
    path = running_folder(run_name) / f"{host}-{pid}.json"
    record = {
        "host": host,
        "pid": pid,
        "start": process_start(pid),
        "rule": snakemake.rule,
        "wildcards": dict(snakemake.wildcards.items()),
    }
    write_text(path, json.dumps(record) + "\n")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def process_start(pid):
    """Return a mark of the moment at which a process began, None if there is no such process.

    The mark is the boot of the machine and the clock tick of the start, so that a process id
    that was used again, or the same one after a reboot, has another mark. It is empty on
    systems without ``/proc``, where only the process id is known.
    """
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return ""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field, the name, is in parentheses and may hold spaces and parentheses itself.
    fields = stat.rpartition(")")[2].split()
    state, ticks = fields[0], fields[19]
    if state in "ZX":  # ended; only its parent has not noticed
        return None
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{boot.read_text().strip() if boot.exists() else ''}:{ticks}"


def is_alive(record):
    """Return whether the process of a record of this host still runs."""
    start = process_start(int(record["pid"]))
    return start is not None and start == record["start"]
