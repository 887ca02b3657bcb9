"""Fits only: ``python scripts/dustcast/sed/cli.py fit --config pcigale.ini``.

Reads what CIGALE reads and writes what CIGALE writes; docs/cigale.md is the user's page.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    # Started as a file, Python looks for modules in this folder, not in that of the library.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from dustcast.bridge import progress
from dustcast.tables import DataError

BAR_WIDTH = 30


def main(arguments=None):
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except DataError as fault:
        print(f"dustcast: {' '.join(str(fault).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndustcast: interrupted; the same command continues", file=sys.stderr)
        return 130


def fit(options):
    """Fit the objects of a pcigale.ini."""
    configuration = _read(options)
    from dustcast.sed.engine import FitOptions
    from dustcast.sed.pdf_analysis import run

    output = Path(options.output or options.config.parent / "out")
    data = Path(options.data)
    folders = {"filters": options.filters or data / "filters", "themis": data / "themis"}
    folders = {name: folder for name, folder in folders.items() if Path(folder).is_dir()}
    if options.filters and "filters" not in folders:
        raise DataError(f"{options.filters} is no folder: give that of CIGALE's curves")
    begin = time.monotonic()
    lost = run(
        configuration,
        output,
        options=FitOptions(
            method=options.method, tolerance=options.tolerance, threads=options.threads
        ),
        marginals=options.marginals,
        progress=Bar if sys.stdout.isatty() else _lines,
        **folders,
    )
    for sentence in lost:
        print(f"not fitted: {sentence}")
    print(f"{output}/results.fits and .txt, after {time.monotonic() - begin:.0f} s")
    return 0


def convert(options):
    """Write the grid of a pcigale.ini as a grid file of dustcast."""
    import yaml

    configuration = _read(options)
    content = {
        name: {key: _plain(values) for key, values in parameters.items()}
        for name, parameters in configuration.content.items()
        if parameters
    }
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=10_000)
    if options.output:
        from dustcast.tables import write_text

        write_text(options.output, text)
    else:
        print(text, end="")
    return 0


def _read(options):
    """Return the configuration, after a word on what is done otherwise."""
    from dustcast.sed.configuration import read_configuration

    configuration = read_configuration(options.config)
    stellar, dust = configuration.spec.n_models()
    print(f"{options.config}: {stellar * dust} models, {len(configuration.names)} bands",
          file=sys.stderr)  # fmt: skip
    for note in configuration.notes:
        print(f"note: {note}", file=sys.stderr)
    return configuration


def _plain(values):
    """Return a parameter as it stands in a grid file: one value, or a list."""
    return values[0] if isinstance(values, list) and len(values) == 1 else values


class Bar:
    """A bar on the terminal with the time left; made for a number of SEDs and a label."""

    def __init__(self, n, label, *, clock=time.monotonic, width=BAR_WIDTH):
        self.label, self._clock, self._width = label, clock, width
        self._begin, self._last = clock(), -1.0

    def __call__(self, done, total):
        """Draw the bar: `done` of `total` are finished."""
        now = self._clock()
        if done < total and now - self._last < 0.1:
            return
        self._last = now
        rate = done / max(now - self._begin, 1e-9)
        filled = self._width * done // max(total, 1)
        line = f"[{'#' * filled}{' ' * (self._width - filled)}] {done} of {total} {self.label}"
        line += f", {rate:.3g} per s"
        if 0 < done < total:
            minutes, seconds = divmod(round((total - done) / rate), 60)
            line += f", {minutes}:{seconds:02d} left"
        print(f"\r{line:<79}", end="\n" if done == total else "", flush=True)


def _lines(n, label):
    """Return a counter that prints a line now and then, for logs."""
    return progress(n, label).until


def _parser():
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="dustcast", description="CIGALE's fits by the engine of dustcast (docs/cigale.md)."
    )
    commands = parser.add_subparsers(required=True, metavar="fit|convert")
    for name, command, text in (
        ("fit", fit, "fit the objects of a pcigale.ini"),
        ("convert", convert, "print the grid of a pcigale.ini as a grid file of dustcast"),
    ):
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(command=command)
        one.add_argument(
            "--config", type=Path, default=Path("pcigale.ini"), help="default: pcigale.ini"
        )
    one.add_argument("--output", type=Path, help="the grid file; default: the terminal")
    one = commands.choices["fit"]
    one.add_argument("--output", type=Path, help="folder; default: out beside the pcigale.ini")
    one.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    one.add_argument(
        "--data", type=Path, default=Path("data"),
        help="folder with themis/ and filters/; default: data",
    )  # fmt: skip
    one.add_argument("--filters", type=Path, help="folder of CIGALE's curves")
    one.add_argument("--method", choices=("pruned", "screen", "brute"), default="pruned")
    one.add_argument(
        "--marginals", nargs="+", default=[], metavar="PARAMETER",
        help="parameters whose whole posterior is wanted, such as dust.umin",
    )  # fmt: skip
    one.add_argument("--tolerance", type=float, default=50.0, help="of pruned; default: 50")
    return parser


if __name__ == "__main__":
    sys.exit(main())
