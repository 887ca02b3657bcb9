"""Put the truth of the samples of all galaxies at a scale into one table."""

from dustcast.bridge import run
from dustcast.tables import read_table, stack_tables, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        tables = [read_table(path) for path in snakemake.input]
        scale = snakemake.wildcards.scale
        here = [table.rows(table["scale"] == scale) for table in tables if table]
        write_table(snakemake.output[0], stack_tables(here), meta=origin)
