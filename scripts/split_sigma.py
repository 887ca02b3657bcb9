"""Divide the sigma of an experiment into a galaxy's and a pixel's part."""

from dustcast.bridge import run
from dustcast.learning.split import split_tables
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        tables = split_tables(read_table(snakemake.input[0]))
        for path, table in zip(snakemake.output, tables):
            write_table(path, table, meta=origin)
