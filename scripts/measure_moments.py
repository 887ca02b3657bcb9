"""Measure the moments of the DustPedia galaxies, which the mock population is drawn from."""

from pathlib import Path

from dustcast.bridge import run
from dustcast.mock import moments
from dustcast.tables import read_table

if __name__ == "__main__":
    with run(snakemake):
        files = snakemake.input
        measured = moments.measure_moments(
            moments.read_official(files.official),
            moments.read_hyperleda(files.hyperleda),
            read_table(files.photometry),
            moments.stellar_models(),
        )
        sources = [Path(file).name for file in (files.official, files.hyperleda, files.photometry)]
        moments.write_moments(snakemake.output[0], measured, sources)
