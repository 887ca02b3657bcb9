"""Put the Gaia DR2 sources around a galaxy into the data folder."""

from dustcast.archive.download import kept
from dustcast.archive.gaia import fetch_gaia
from dustcast.bridge import run

if __name__ == "__main__":
    with run(snakemake):
        output = snakemake.output[0]
        if not kept(output):
            galaxy = snakemake.params.galaxy
            fetch_gaia(galaxy, output, mirror=snakemake.params.mirror)
