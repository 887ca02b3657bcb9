"""Draw own fits against the official results."""

from dustcast.bridge import run
from dustcast.figures import style
from dustcast.figures.parity import parity
from dustcast.tables import read_table

if __name__ == "__main__":
    with run(snakemake):
        figure = parity(read_table(snakemake.input.values), read_table(snakemake.input.table))
        style.save(figure, snakemake.output.pdf, snakemake.output.png)
