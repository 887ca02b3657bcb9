"""Put one file of config/downloads.csv into the data folder."""

from dustcast.archive.download import fetch
from dustcast.bridge import run

if __name__ == "__main__":
    with run(snakemake):
        row = snakemake.params.row
        fetch(
            row["file"],
            snakemake.output[0],
            url=row["url"],
            sha256=row["sha256"],
            mirror=snakemake.params.mirror,
        )
