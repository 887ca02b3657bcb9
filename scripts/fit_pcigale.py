"""Fit the SEDs of a photometry table with CIGALE."""

from dustcast.bridge import run, threads
from dustcast.sed.pcigale import fit
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        fits = fit(
            read_table(snakemake.input[0]),
            snakemake.params.bands,
            snakemake.params.fluxes,
            snakemake.params.spec,
            snakemake.params.folder,
            options=snakemake.params.options,
            settings=snakemake.params.settings,
            threads=threads(snakemake),
        )
        write_table(snakemake.output[0], fits, meta=origin)
