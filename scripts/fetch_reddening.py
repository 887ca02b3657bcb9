"""Put the Galactic reddening of a galaxy into the data folder."""

from dustcast.archive.download import kept
from dustcast.archive.reddening import fetch_reddening
from dustcast.bridge import run

if __name__ == "__main__":
    with run(snakemake):
        output = snakemake.output[0]
        if not kept(output):
            galaxy = snakemake.params.galaxy
            fetch_reddening(galaxy, output, mirror=snakemake.params.mirror)
