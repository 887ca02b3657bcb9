"""Compare all experiments with the fiducial on the samples that both predict."""

from dustcast.bridge import run
from dustcast.learning.comparison import compare
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        params = snakemake.params
        table = compare(
            dict(zip(params.experiments, map(read_table, snakemake.input.experiments))),
            read_table(snakemake.input.fiducial),
            params.regressor,
            n_bootstrap=params.n_bootstrap,
            seed=params.seed,
        )
        write_table(snakemake.output[0], table, meta=origin)
