"""Write the photometry of whole galaxies from DustPedia's aperture photometry."""

from dustcast.archive.catalogue import read_photometry
from dustcast.bands import bands_of
from dustcast.bridge import run
from dustcast.photometry import global_photometry
from dustcast.sample import galaxy_table
from dustcast.tables import write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        bands = snakemake.params.bands
        photometry = global_photometry(
            read_photometry(snakemake.input.photometry[0], bands),
            galaxy_table(snakemake.input.galaxies),
            bands,
            input_bands=[band for band in bands_of("input") if band in bands],
        )
        write_table(snakemake.output[0], photometry, meta=origin)
