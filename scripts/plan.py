"""Write sample/plan.csv: the plan that the Snakefile was read with."""

from dustcast.bridge import run
from dustcast.sample import PLAN_COLUMNS, plan, read_galaxies
from dustcast.tables import write_rows

if __name__ == "__main__":
    with run(snakemake):
        rows = plan(snakemake.config, read_galaxies(snakemake.config))
        write_rows(snakemake.output[0], rows, PLAN_COLUMNS)
