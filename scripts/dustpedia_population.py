"""Put the colours and the official dust properties of the DustPedia galaxies into one table."""

from dustcast.archive.catalogue import read_population
from dustcast.bridge import run
from dustcast.tables import write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        files = snakemake.input
        table = read_population(files.photometry[0], files.official[0], snakemake.params.bands)
        write_table(snakemake.output[0], table, meta=origin)
