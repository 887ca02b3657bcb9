"""Clean the images of a galaxy, and list what became of each."""

from dustcast.bridge import run
from dustcast.imaging.clean import clean_bands
from dustcast.imaging.stars import read_apertures
from dustcast.sample import galaxy_table, with_reddening
from dustcast.tables import write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        inputs, params = snakemake.input, snakemake.params
        galaxy = galaxy_table(inputs.galaxies)[snakemake.wildcards.galaxy]
        if inputs.get("reddening"):
            galaxy = with_reddening(galaxy, inputs.reddening)
        table = clean_bands(
            dict(zip(params.raw, inputs.raw)),
            dict(zip(params.bands, snakemake.output.images)),
            galaxy,
            read_apertures(inputs.stars),
            sky=params.sky,
            missing_unit=params.missing_unit,
            least_cover=params.least_cover,
            n_threads=snakemake.threads,
            origin=origin,
        )
        write_table(snakemake.output.table, table, meta=origin)
