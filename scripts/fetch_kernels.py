"""Put the published kernels between PSFs into the data folder."""

from dustcast.archive.kernels import fetch_kernels
from dustcast.bridge import run

if __name__ == "__main__":
    with run(snakemake):
        params = snakemake.params
        fetch_kernels(params.pairs, snakemake.output[0], mirror=params.mirror)
