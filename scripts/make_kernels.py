"""Find the kernels between the PSFs of a run, for all its galaxies."""

from dustcast.bridge import progress, run
from dustcast.imaging.matching import write_kernels

if __name__ == "__main__":
    with run(snakemake):
        params = snakemake.params
        done = progress(len(params.pairs), "kernels found")
        write_kernels(snakemake.output[0], params.pairs, folder=params.folder, progress=done)
