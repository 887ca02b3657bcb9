"""Link a raw image into the run's folder."""

from dustcast.bridge import run
from dustcast.tables import link

if __name__ == "__main__":
    with run(snakemake):
        link(snakemake.input[0], snakemake.output[0])
