"""Tables that a person reads: metrics and seeds as one HTML page each, without scripts."""

from __future__ import annotations

from html import escape

import numpy as np

from dustcast.figures import style
from dustcast.tables import DataError, Table

# Units of RMSE and ME; another target has none here.
_TARGET_NAMES = {
    "sLd": "log sL<sub>d</sub>",
    "sMd": "log sM<sub>d</sub>",
    "Td": "T<sub>d</sub>",
}
_METRICS = {"rmse": "RMSE", "r2": "R²", "me": "ME", "chi2": "χ²"}
_WITH_UNIT = ("rmse", "me")

_CSS = """
body { font: 15px/1.4 system-ui, sans-serif; color: #222; background: #fff; margin: 1.5em; }
h1 { font-size: 1.25em; margin: 0 0 .4em; }
h2 { font-size: 1.1em; margin: 1.4em 0 .4em; }
p { max-width: 60em; margin: .4em 0; color: #444; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .8em 0; font-variant-numeric: tabular-nums; }
dt { font-weight: 600; float: left; clear: left; margin-right: .8em; }
dd { margin: .1em 0; }
th, td { padding: .25em .8em; text-align: right; white-space: nowrap; }
th { border-bottom: 1px solid #222; vertical-align: bottom; font-weight: 600; }
th.group { text-align: center; border-bottom: 1px solid #aaa; }
td.text, th.text { text-align: left; }
tbody tr:nth-child(even) { background: #f4f4f4; }
tbody tr.first td { border-top: 1px solid #aaa; }
table { border-bottom: 1px solid #222; border-top: 1px solid #222; }
"""


def page(title, *sections):
    """Return a standalone HTML page: no script, no file beside it.

    Parameters
    ----------
    title : str
        Plain text.
    *sections : str
        HTML, as `section` returns it.

    Returns
    -------
    str
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{''.join(sections)}</body>\n</html>\n"
    )


def section(table, *, title="", notes=()):
    """Return a table with a heading and paragraphs of plain text above it."""
    heading = f"<h2>{escape(title)}</h2>\n" if title else ""
    paragraphs = "".join(f"<p>{escape(text)}</p>\n" for text in notes)
    return f'{heading}{paragraphs}<div class="wide">\n{table}</div>\n'


def html_table(header, rows, *, n_text, first_of_group=()):
    """Return an HTML table.

    Parameters
    ----------
    header : str
        HTML of the header rows.
    rows : sequence of sequence of str
        HTML of the cells.
    n_text : int
        How many columns at the left hold text.
    first_of_group : container of int
        Rows that get a line above them.

    Returns
    -------
    str
    """
    lines = []
    for i, row in enumerate(rows):
        cells = "".join(
            f'<td class="text">{cell}</td>' if j < n_text else f"<td>{cell}</td>"
            for j, cell in enumerate(row)
        )
        lines.append(
            f'<tr class="first">{cells}</tr>' if i in first_of_group else f"<tr>{cells}</tr>"
        )
    body = "\n".join(lines)
    return f"<table>\n<thead>\n{header}</thead>\n<tbody>\n{body}\n</tbody>\n</table>\n"


def _target(name):
    return _TARGET_NAMES.get(name, escape(name))


def _required(table, columns, what):
    missing = [name for name in columns if name not in table]
    if missing:
        raise DataError(f"the table of {what} lacks the column {', '.join(missing)}")


def metrics_page(metrics, seeds=None, *, descriptions=None, title="Metrics"):
    """Return the page of all metrics: every score with its error, then means over fold seeds.

    Parameters
    ----------
    metrics : Table
        As `metrics_section` takes it, of one or more experiments.
    seeds : Table, optional
        As `seeds_section` takes it; without one (or an empty one) the page has one table.
    descriptions : dict of str to str, optional
        A sentence about each experiment.
    title : str
        Heading.

    Returns
    -------
    str
        HTML.
    """
    sections = []
    if descriptions:
        items = "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>\n"
            for name, text in descriptions.items()
        )
        sections.append(f"<dl>\n{items}</dl>\n")
    sections.append(metrics_section(metrics, "Scores and their errors"))
    if seeds is not None and seeds.n_rows:
        sections.append(seeds_section(seeds, "Means over the seeds of the folds"))
    return page(title, *sections)


def metrics_section(metrics, title=""):
    """Return the metrics table as HTML: a line a target, scale and regressor.

    Parameters
    ----------
    metrics : Table
        experiment, regressor, target, scale, n_galaxies, n_samples and rmse, r2, me, chi2
        with their ``_err``.
    title : str
        Heading.

    Returns
    -------
    str
    """
    columns = ("experiment", "regressor", "target", "scale", "n_galaxies", "n_samples")
    _required(metrics, (*columns, *_METRICS), "metrics")
    rows, groups, previous = [], set(), None
    # Stable, by target and scale: regressors are to be compared line by line.
    keys = [
        (str(metrics["experiment"][i]), _rank(metrics["target"], i), _rank(metrics["scale"], i))
        for i in range(metrics.n_rows)
    ]
    for i in sorted(range(metrics.n_rows), key=keys.__getitem__):
        if keys[i] != previous:
            groups.add(len(rows))
            previous = keys[i]
        target = str(metrics["target"][i])
        unit = style.quantity(target).unit
        row = [escape(str(metrics["experiment"][i])), _target(target)]
        row += [escape(str(metrics["scale"][i])), escape(str(metrics["regressor"][i]))]
        row += [f"{int(metrics[name][i]):,}".replace(",", "&thinsp;") for name in columns[-2:]]
        for name in _METRICS:
            error = metrics[f"{name}_err"][i] if f"{name}_err" in metrics else None
            its_unit = unit if name in _WITH_UNIT else ""
            row.append(style.format_value(metrics[name][i], error, its_unit))
        rows.append(row)
    titles = ["experiment", "target", "scale", "regressor", "galaxies", "samples"]
    titles += _METRICS.values()
    header = "".join(
        f'<th class="text">{name}</th>' if j < 4 else f"<th>{name}</th>"
        for j, name in enumerate(titles)
    )
    notes = [
        "RMSE: root mean square of prediction minus truth. R²: share of the variance of the "
        "truth that is predicted. ME: mean of prediction minus truth. χ²: mean of the squared "
        "error over the squared predicted sigma (1 if the uncertainties are right).",
        "Every sample is weighted by one over the number of samples of its galaxy; errors are "
        "standard deviations over bootstrap samples of galaxies.",
    ]
    if not rows:
        notes.append(f"The table is empty: {metrics.meta.get('reason', 'no row was given')}.")
    table = html_table(f"<tr>{header}</tr>\n", rows, n_text=4, first_of_group=groups)
    return section(table, title=title, notes=notes)


def _rank(column, i):
    """Return where a value first stands in its column: the order of the table's author."""
    return int(np.flatnonzero(np.asarray(column) == column[i])[0])


def summarise_seeds(seeds):
    """Return mean and scatter of each metric over the seeds of the folds.

    Parameters
    ----------
    seeds : Table
        experiment, regressor, target, fold_seed, rmse, r2, me, chi2.

    Returns
    -------
    Table
        experiment, regressor, target, n_seeds, and for each metric its mean over the seeds
        and ``<metric>_std``, the standard deviation (NaN for one seed); in the order in which
        experiments, regressors and targets first appear.
    """
    _required(seeds, ("experiment", "regressor", "target", "fold_seed", *_METRICS), "seeds")
    groups = {}
    for i in range(seeds.n_rows):
        key = tuple(str(seeds[name][i]) for name in ("experiment", "regressor", "target"))
        groups.setdefault(key, []).append(i)
    summary = {name: [] for name in ("experiment", "regressor", "target", "n_seeds")}
    for name in _METRICS:
        summary[name], summary[f"{name}_std"] = [], []
    for key, members in groups.items():
        used = np.asarray(seeds["fold_seed"])[members]
        if len(set(used.tolist())) != len(members):
            raise DataError(f"a fold seed of {', '.join(key)} stands twice in the table of seeds")
        for name, value in zip(("experiment", "regressor", "target"), key):
            summary[name].append(value)
        summary["n_seeds"].append(len(members))
        for name in _METRICS:
            values = np.asarray(seeds[name], dtype=float)[members]
            summary[name].append(values.mean())
            spread = values.std(ddof=1) if len(members) > 1 else np.nan
            summary[f"{name}_std"].append(spread)
    text = ("experiment", "regressor", "target")
    return Table(
        {
            name: np.array(column, dtype=object if name in text else None)
            for name, column in summary.items()
        }
    )


def seeds_section(seeds, title="", *, names=("rmse", "r2", "chi2")):
    """Return the seeds as HTML: a row an experiment and regressor, columns per target.

    Parameters
    ----------
    seeds : Table
        experiment, regressor, target, fold_seed, rmse, r2, me, chi2.
    title : str
        Heading.
    names : sequence of str
        Which metrics.

    Returns
    -------
    str
    """
    summary = summarise_seeds(seeds)
    targets = list(dict.fromkeys(summary["target"]))
    cells = {}
    for i in range(summary.n_rows):
        key = (summary["experiment"][i], summary["regressor"][i])
        cells.setdefault(key, {})[summary["target"][i]] = i
    rows, groups, previous = [], set(), None
    for (experiment, regressor), by_target in cells.items():
        if experiment != previous:
            groups.add(len(rows))
            previous = experiment
        counts = sorted({int(summary["n_seeds"][i]) for i in by_target.values()})
        row = [escape(experiment), escape(regressor), ", ".join(map(str, counts))]
        for target in targets:
            i = by_target.get(target)
            for name in names:
                if i is None:
                    row.append("")
                else:
                    row.append(style.format_value(summary[name][i], summary[f"{name}_std"][i]))
        rows.append(row)
    groups_row = "".join(
        f'<th class="group" colspan="{len(names)}">{_target(target)}</th>' for target in targets
    )
    header = f'<tr><th colspan="3"></th>{groups_row}</tr>\n'
    header += '<tr><th class="text">experiment</th><th class="text">regressor</th><th>seeds</th>'
    for target in targets:
        unit = style.quantity(target).unit
        for name in names:
            shown = f" [{unit}]" if unit and name in _WITH_UNIT else ""
            header += f"<th>{_METRICS[name]}{shown}</th>"
    header += "</tr>\n"
    used = ", ".join(str(seed) for seed in dict.fromkeys(np.asarray(seeds["fold_seed"]).tolist()))
    notes = [
        "Mean over divisions of the galaxies into folds, each drawn with another seed "
        f"({used or 'none'}); behind ± the standard deviation between the seeds."
    ]
    if not rows:
        notes.append(f"The table is empty: {seeds.meta.get('reason', 'no row was given')}.")
    table = html_table(header, rows, n_text=2, first_of_group=groups)
    return section(table, title=title, notes=notes)
