"""Fit the SEDs of a photometry table."""

from dustcast.bridge import progress, run, threads
from dustcast.sed.engine import FitOptions
from dustcast.sed.fit import fit_table
from dustcast.sed.grid import load_grid
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        photometry = read_table(snakemake.input.photometry)
        fits = fit_table(
            photometry,
            load_grid(snakemake.input.grid),
            snakemake.params.bands,
            FitOptions(threads=threads(snakemake), **snakemake.params.options),
            progress=progress(photometry.n_rows, "SEDs fitted").until,
        )
        write_table(snakemake.output[0], fits, meta=origin)
