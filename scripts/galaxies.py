"""Write sample/galaxies.csv: who takes part."""

from dataclasses import asdict

from dustcast.bridge import run
from dustcast.sample import GALAXY_COLUMNS, read_galaxies
from dustcast.tables import write_rows

if __name__ == "__main__":
    with run(snakemake):
        rows = [asdict(galaxy) for galaxy in read_galaxies(snakemake.config)]
        write_rows(snakemake.output[0], rows, GALAXY_COLUMNS)
