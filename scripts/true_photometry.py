"""Give the samples of a simulated survey their true fluxes, with the errors of observed ones."""

from dustcast.bridge import run
from dustcast.mock.table import true_photometry
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        table = true_photometry(
            read_table(snakemake.input.photometry), read_table(snakemake.input.truth)
        )
        write_table(snakemake.output[0], table, meta=origin)
