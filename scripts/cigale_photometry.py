"""Write the photometry of whole galaxies from an input table of CIGALE."""

from dustcast.bands import bands_of
from dustcast.bridge import run
from dustcast.photometry import global_photometry
from dustcast.sample import galaxy_table
from dustcast.sed.cigale import read_input
from dustcast.tables import write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        bands = snakemake.params.bands
        fluxes = read_input(snakemake.input.table)
        fluxes["galaxy"] = fluxes["id"]
        photometry = global_photometry(
            fluxes,
            galaxy_table(snakemake.input.galaxies),
            bands,
            input_bands=[band for band in bands_of("input") if band in bands],
        )
        write_table(snakemake.output[0], photometry, meta=origin)
