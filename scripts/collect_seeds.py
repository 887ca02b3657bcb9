"""Average the metrics of an experiment over the seeds of its folds."""

from dustcast.bridge import run
from dustcast.learning.metrics import seeds_table
from dustcast.tables import read_table, write_table

if __name__ == "__main__":
    with run(snakemake) as origin:
        by_seed = {int(path.rpartition("_")[2][: -len(".csv")]): path for path in snakemake.input}
        table = seeds_table({seed: read_table(path) for seed, path in by_seed.items()})
        write_table(snakemake.output[0], table, meta=origin)
