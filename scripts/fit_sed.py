"""Fit the SEDs of a photometry table."""

from dustcast.bridge import progress, run, threads
from dustcast.sed.engine import FitOptions
from dustcast.sed.fit import fit_file
from dustcast.sed.grid import load_grid

if __name__ == "__main__":
    with run(snakemake) as origin:
        fit_file(
            snakemake.input.photometry,
            snakemake.output[0],
            load_grid(snakemake.input.grid),
            snakemake.params.bands,
            FitOptions(threads=threads(snakemake), **snakemake.params.options),
            logs=snakemake.params.logs,
            marginals=snakemake.params.marginals,
            meta=origin,
            progress=progress(0, "SEDs fitted").until,
        )
