"""Compile the fit engine into numba's cache by fitting a grid of a few models."""

from dustcast.bridge import run
from dustcast.sed.fit import warm_up

if __name__ == "__main__":
    with run(snakemake):
        warm_up()
