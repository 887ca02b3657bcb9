"""Give the comparison of the full fit the name that other tools look for."""

from dustcast.bridge import run
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        write_table(snakemake.output[0], read_table(snakemake.input[0]), meta=origin)
