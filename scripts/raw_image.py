"""Link raw images into the run's folder."""

from dustcast.bridge import run
from dustcast.tables import link

if __name__ == "__main__":
    with run(snakemake):
        for source, target in zip(snakemake.input, snakemake.output):
            link(source, target)
