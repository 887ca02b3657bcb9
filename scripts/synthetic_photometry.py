"""Write the photometry of a user's synthetic observations."""

from dustcast.bridge import run
from dustcast.photometry import synthetic_photometry
from dustcast.sed.cigale import read_input
from dustcast.tables import read_csv, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        objects = {row["id"]: row for row in read_csv(snakemake.input.truth, required=("id",))}
        fluxes = read_input(snakemake.input.table, key="synthetic.table")
        photometry = synthetic_photometry(fluxes, objects, snakemake.params.bands)
        write_table(snakemake.output[0], photometry, meta=origin)
