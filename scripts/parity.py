"""Compare a fit with the official results of the same galaxies."""

from dustcast.bridge import run
from dustcast.sed.parity import compare
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        values, statistics = compare(read_table(snakemake.input.fit), snakemake.input.official[0])
        write_table(snakemake.output.values, values, meta=origin)
        write_table(snakemake.output.table, statistics, meta=origin)
