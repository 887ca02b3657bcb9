"""Band dropout: the training galaxies once more, as if fewer bands had been observed.

A model that only saw galaxies with all their bands trusts the Bayesian fluxes of unobserved bands
as much as those of observed ones. Here each galaxy also enters with bands removed before the
short fit, so that the errors of the Bayesian fluxes tell the model what few bands leave open.
"""

from __future__ import annotations

import numpy as np

from dustcast.learning.metrics import metrics_table
from dustcast.sample import GLOBAL
from dustcast.tables import Table, places, stack_tables

RANDOM = "random"
"""Subset of the samples with randomly chosen bands; they are numbered from 1."""

OBSERVED = "observed"
"""Subset of the samples with every band that was observed."""

# Range of the probability that a band is kept: from a band or two to nearly all.
KEPT = (0.15, 1.0)


def drop_bands(photometry, bands, subsets, *, n_random, every, seed):
    """Return photometry of whole galaxies in which bands are missing.

    Parameters
    ----------
    photometry : Table
        Photometry of whole galaxies, ids ``{galaxy}/global``.
    bands : list of str
        Input bands; all others become missing.
    subsets : dict of str to list of str
        Bands that are kept, by the name of the subset.
    n_random : int
        Number of random subsets of each galaxy. The probability q to keep a band is drawn first,
        uniform in `KEPT`; then all bands of an instrument go together with probability
        1 - sqrt(q), and each band by itself with the same, for surveys lack both.
    every : dict of str to int
        By subset, `RANDOM` for the random ones: only every so many galaxies take part, from the
        first. A fit to two bands takes a hundred times as long as one to all. All galaxies where
        a subset is not named.
    seed : int
        Seed of the random subsets.

    Returns
    -------
    Table
        Rows by subset, those of `subsets` first, with ids ``{galaxy}/global/{subset}``. A galaxy
        that a subset leaves no band has no row; random subsets keep one at least.

    """
    observed = np.array([np.isfinite(photometry[band]) for band in bands]).T

    def chosen(name):
        return np.arange(photometry.n_rows)[:, None] % every.get(name, 1) == 0

    rng = np.random.default_rng(seed)
    parts = [
        _subset(photometry, bands, name, chosen(name) & observed & np.isin(bands, kept))
        for name, kept in subsets.items()
    ]
    for number in range(n_random):
        keep = np.array([_random_subset(row, bands, rng) for row in observed], dtype=bool)
        keep = keep.reshape(observed.shape)
        parts.append(_subset(photometry, bands, f"{RANDOM}{number + 1}", chosen(RANDOM) & keep))
    return stack_tables(parts)


def subset_of(sample_id):
    """Return the subset of bands of each sample: `OBSERVED`, a name, or `RANDOM`."""
    names = []
    for text in sample_id:
        name = _split(text)[1]
        names.append(RANDOM if name.startswith(RANDOM) else name)
    return np.array(names, dtype=object)


def repeat_truth(truth, sample_id):
    """Return what is true of each sample, whatever bands are removed from it.

    Parameters
    ----------
    truth : Table
        Targets, or a full fit, by id; those of galaxies with all their bands.
    sample_id : sequence of str
        Samples, those with bands removed among them.

    Returns
    -------
    Table
        Columns of `truth`, with the ids of the samples; those that it lacks are left out.
    """
    row = places(truth["id"], [_split(text)[0] for text in sample_id])
    repeated = truth.rows(row[row >= 0])
    repeated["id"] = np.asarray(sample_id, dtype=object)[row >= 0]
    return repeated


def subset_metrics(predictions, *, experiment="", n_bootstrap=1000, seed=123):
    """Return the metrics of an experiment by subset of bands.

    Parameters
    ----------
    predictions : Table
        Predictions of whole galaxies, with bands removed or not.
    experiment, n_bootstrap, seed
        See `metrics.metrics_table`.

    Returns
    -------
    Table
        As from `metrics.metrics_table`, with the column subset in place of scale; ``all`` pools
        the subsets.
    """
    labelled = Table(predictions)
    labelled["scale"] = subset_of(predictions["id"])
    table = metrics_table(labelled, experiment=experiment, n_bootstrap=n_bootstrap, seed=seed)
    return Table({"subset" if name == "scale" else name: table[name] for name in table})


def _split(sample_id):
    """Return the id of the sample with all bands, and the subset."""
    whole, mark, subset = str(sample_id).partition(f"/{GLOBAL}/")
    return (f"{whole}/{GLOBAL}", subset) if mark else (whole, OBSERVED)


def _random_subset(observed, bands, rng):
    """Return which of the observed bands (bool, by band) one draw keeps."""
    chance = np.sqrt(rng.uniform(*KEPT))
    instruments = sorted({band.split("_")[0] for band in bands})
    present = {
        name for name, draw in zip(instruments, rng.random(len(instruments))) if draw < chance
    }
    keep = observed & np.array([band.split("_")[0] in present for band in bands])
    keep &= rng.random(len(bands)) < chance
    if not keep.any() and observed.any():
        keep[rng.choice(np.flatnonzero(observed))] = True
    return keep


def _subset(photometry, bands, name, keep):
    """Return the rows of one subset, without those that it leaves no band."""
    table = Table(photometry, units=photometry.units)
    table["id"] = np.array([f"{text}/{name}" for text in photometry["id"]], dtype=object)
    for band in (column.removesuffix("_err") for column in photometry if column.endswith("_err")):
        kept = keep[:, bands.index(band)] if band in bands else np.zeros(len(keep), dtype=bool)
        for column in (band, f"{band}_err"):
            table[column] = np.where(kept, photometry[column], np.nan)
    return table.rows(keep.any(axis=1))
