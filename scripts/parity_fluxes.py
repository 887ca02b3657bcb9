"""Compare the Bayesian fluxes of the short fit with those of a CIGALE run."""

from dustcast.bridge import run
from dustcast.sed.parity import compare_fluxes
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        statistics = compare_fluxes(read_table(snakemake.input.fit), snakemake.input.results)
        write_table(snakemake.output[0], statistics, meta=origin)
