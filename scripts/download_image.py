"""Put one image of an archive into the data folder."""

from dustcast.archive.download import kept
from dustcast.archive.images import check_fits, fetch_image
from dustcast.bridge import run

if __name__ == "__main__":
    with run(snakemake):
        output = snakemake.output[0]
        if not kept(output, check_fits):
            names, params = snakemake.wildcards, snakemake.params
            fetch_image(
                names.galaxy, names.band, output, product=params.product, mirror=params.mirror
            )
