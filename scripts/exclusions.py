"""Collect what the tables of a run say they left out."""

from dustcast.bridge import run
from dustcast.tables import collect_exclusions, write_rows

if __name__ == "__main__":
    with run(snakemake):
        columns = ("galaxy", "band", "scale", "stage", "reason")
        write_rows(snakemake.output[0], collect_exclusions(snakemake.input), columns)
