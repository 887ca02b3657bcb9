"""Find the kernels between the PSFs of a run, for all its galaxies."""

from dustcast.bridge import progress, run
from dustcast.imaging.layers import kernel_pairs
from dustcast.imaging.matching import write_kernels

if __name__ == "__main__":
    with run(snakemake):
        pairs = kernel_pairs(snakemake.params.rows)
        done = progress(len(pairs), "kernels found")
        write_kernels(snakemake.output[0], pairs, folder=snakemake.params.folder, progress=done)
